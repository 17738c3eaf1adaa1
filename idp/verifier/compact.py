"""A JWT of the provider read with its published keys: signature and type, and nothing taken from the JWT but its `kid`."""

from collections.abc import Mapping

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from idp.protocol import jws
from idp.protocol.jws import CompactJws, JwsError
from idp.protocol.signatures import DEFAULT_ALG
from idp.verifier.errors import BadSignatureError, ClaimError, MalformedTokenError, TokenError, UnknownKeyError

#: Longer tokens are refused before any of them is parsed.
MAXIMUM_LENGTH = 16_384
#: What the provider puts into a header. `jku`, `jwk`, `x5c`, `crit` and the like are refused, never followed (RFC 8725 §3.10).
_HEADER = {"alg", "kid", "typ"}
_RS256 = JWSRegistry.algorithms[DEFAULT_ALG]


def read(token: str, keys: Mapping[str, RSAKey], typ: str, maximum: int = MAXIMUM_LENGTH) -> tuple[dict[str, object], str]:
    """The claims and the `kid` of a JWT of the type `typ` (lower case) that one of `keys` signed by RS256.

    Raises MalformedTokenError, ClaimError for another type, UnknownKeyError and BadSignatureError.
    """
    if not isinstance(token, str) or len(token) > maximum:
        message = f"longer than {maximum} characters, or no text"
        raise MalformedTokenError(message)
    try:
        return _read(jws.take_apart(token, maximum), keys, typ)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        message = f"not a JWT of the provider ({type(error).__name__})"
        raise MalformedTokenError(message) from None


def _read(parts: CompactJws, keys: Mapping[str, RSAKey], typ: str) -> tuple[dict[str, object], str]:
    header = parts.header
    if header.keys() != _HEADER or header["alg"] != DEFAULT_ALG:
        message = f"its header is not alg {DEFAULT_ALG}, kid and typ"
        raise MalformedTokenError(message)
    if parts.typ != typ:
        message = f"not of the type {typ}"
        raise ClaimError(message, "type")
    kid = header["kid"]
    key = keys.get(kid)
    if key is None:
        raise _unknown(kid)
    if not _RS256.verify(parts.signed, parts.signature, key):
        message = "its signature is wrong"
        raise BadSignatureError(message)
    try:
        return parts.claims(), kid
    except JwsError as error:
        if error.where:  # it is JSON, and a claim is none
            raise ClaimError(str(error)) from None
        raise


def _unknown(kid: object) -> TokenError:
    return UnknownKeyError(kid) if isinstance(kid, str) and kid else MalformedTokenError("its kid is no text")
