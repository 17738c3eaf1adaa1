"""JWTs that relying parties sign: client assertions, request objects. Only the algorithms that we name, only their own keys."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet
from joserfc.jws import JWSRegistry

from idp.protocol import jws
from idp.protocol.jws import JwsError

#: A longer one is refused before any of it is parsed. It came in a form or from a `request_uri`, both bounded.
MAXIMUM_LENGTH = 32_768
#: Header members that would have us take a key from the token itself, or read it differently (RFC 8725 §3.10, RFC 7797).
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"})
#: How many keys are tried for a token that names none of several.
_MAXIMUM_TRIED = 4


class BadClientSignatureError(ValueError):
    """A JWT that is not what the client signed. Its text says why, for the client's developer, without the token."""


@dataclass(frozen=True, slots=True, repr=False)
class Unverified:
    """A JWT taken apart. Nothing in it is believed yet. `typ` is what kind it says that it is, as `CompactJws.typ`."""

    header: Mapping[str, Any]
    claims: dict[str, Any]
    message: bytes
    signature: bytes
    typ: str | None = None

    @property
    def alg(self) -> str:
        """The algorithm that it names."""
        return str(self.header.get("alg"))

    @property
    def kid(self) -> str | None:
        """The key that it names."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else None


def take_apart(token: str) -> Unverified:
    """The parts of a JWT in compact form. Raises BadClientSignatureError for what is none, or is written ambiguously."""
    try:
        parts = jws.take_apart(token, MAXIMUM_LENGTH)
        header, claims = parts.header, parts.claims()
    except JwsError as error:
        raise BadClientSignatureError(str(error)) from None
    tempting = sorted(_REFUSED_HEADERS & set(header))
    if tempting:
        raise BadClientSignatureError(f"its header must not hold {tempting[0]}: only registered keys count")
    return Unverified(header, claims, parts.signed, parts.signature, parts.typ)


def verify(
    token: Unverified, keys_for: Callable[[str | None], KeySet], algorithms: Collection[str], *, is_secret: bool = False
) -> None:
    """Raise BadClientSignatureError unless one of the keys signed it, by one of `algorithms`.

    `keys_for` is asked with its `kid`.
    `is_secret` says that the key is a shared secret: never is a public key taken for one, whatever the token says.
    """
    if token.alg == "none" or token.alg not in algorithms:
        raise BadClientSignatureError(f"its alg must be {' or '.join(algorithms)}")
    model = JWSRegistry.algorithms[token.alg]
    suitable = [key for key in keys_for(token.kid).keys if _may_verify(key, token, is_secret=is_secret)]
    for key in suitable[:_MAXIMUM_TRIED]:
        try:
            if model.verify(token.message, token.signature, key):
                return
        except (JoseError, ValueError, TypeError):
            continue
    if not suitable:
        raise BadClientSignatureError("none of the client's keys has its kid and suits its alg")
    raise BadClientSignatureError("its signature does not fit the client's keys")


def _may_verify(key: Key, token: Unverified, *, is_secret: bool) -> bool:
    if (key.key_type == "oct") != is_secret or (token.kid is not None and key.kid not in {token.kid, None}):
        return False
    if key.get("use", "sig") != "sig" or key.alg not in {None, token.alg}:
        return False
    try:
        JWSRegistry.algorithms[token.alg].check_key(key)
    except (JoseError, ValueError):
        return False
    return True
