"""What only the client may read: JWTs encrypted to one of its own keys (RFC 7516; OIDC Core §10.2).

This provider encrypts and never decrypts: no stranger's ciphertext is opened here, so none can make us work, unpack a
compressed bomb, or answer differently for a good padding and a bad one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from authlib.oauth2.rfc6749.errors import UnauthorizedClientError
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from idp.clients.keys import ClientKeysError
from idp.clients.rules import CONTENT_ENCRYPTIONS, ENCRYPTION_ALGORITHMS, Client
from idp.clients.service import ClientService
from idp.protocol import errors

#: By the algorithm: which keys it goes with, and on which curves.
_KEY_TYPES = {"RSA-OAEP-256": ("RSA",), "ECDH-ES": ("EC", "OKP")}
_CURVES = frozenset({"P-256", "P-384", "P-521", "X25519"})
#: What a key must be good for, if it says so (RFC 7517 §4.3).
_OPERATIONS = frozenset({"wrapKey", "encrypt", "deriveKey", "deriveBits"})
_REGISTRY = jwe.JWERegistry(algorithms=[*ENCRYPTION_ALGORITHMS, *CONTENT_ENCRYPTIONS])


@dataclass(frozen=True, slots=True)
class Recipient:
    """A client's key, chosen. Encrypting with it asks nobody, so that it may be done anywhere. `what` is what is encrypted.

    It raises UnauthorizedClientError where the key cannot be used after all.
    """

    key: Key
    alg: str
    enc: str
    what: str = "id_token"

    def seal(self, jwt: str) -> str:
        """A signed JWT, nested in an encrypted one (RFC 7519 §5.2)."""
        return self._encrypted(jwt, {"cty": "JWT"})

    def seal_claims(self, claims: Mapping[str, object]) -> str:
        """Claims that nobody signed, as an encrypted JWT."""
        return self._encrypted(json.dumps(claims), {"typ": "JWT"})

    def _encrypted(self, text: str, header: Mapping[str, str]) -> str:
        named = {"kid": self.key.kid} if self.key.kid is not None else {}
        protected = {"alg": self.alg, "enc": self.enc, **named, **header}
        try:
            return jwe.encrypt_compact(protected, text, self.key, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError) as error:  # what no look at the key has shown
            raise _refused(self.what, self.alg, f"a key of the client cannot be used ({type(error).__name__}).") from None


def recipient(clients: ClientService, client: Client, what: Literal["id_token", "userinfo"]) -> Recipient | None:
    """To whom `what` is encrypted; None for a client that did not ask for that.

    Call it outside of any transaction: the client's keys may have to be fetched. Raises UnauthorizedClientError when the
    client has no key for it: what was to be secret is never sent in the open instead.
    """
    id_token = what == "id_token"
    alg = client.id_token_encrypted_response_alg if id_token else client.userinfo_encrypted_response_alg
    enc = client.id_token_encrypted_response_enc if id_token else client.userinfo_encrypted_response_enc
    if alg is None:
        return None
    try:
        key = _chosen(clients.keys_of(client), alg)
    except ClientKeysError as error:
        raise _refused(what, alg, str(error)) from None
    if key is None:
        raise _refused(what, alg, f"the client's keys hold none of the type {' or '.join(_KEY_TYPES[alg])} for encryption.")
    return Recipient(key, alg, enc or CONTENT_ENCRYPTIONS[0], what)


def _refused(what: str, alg: str, problem: str) -> UnauthorizedClientError:
    return UnauthorizedClientError(errors.description(f"{what}_encrypted_response_alg {alg}: {problem}"))


def _chosen(keys: KeySet, alg: str) -> Key | None:
    """The first key that fits, one that is meant for encryption before one that does not say what it is for."""
    fitting = [key for key in keys.keys if _fits(key, alg)]
    meant = [key for key in fitting if key.get("use") == "enc" or key.get("alg") == alg]
    return next(iter(meant or fitting), None)


def _fits(key: Key, alg: str) -> bool:
    try:
        operations = key.get("key_ops")
        return (
            key.key_type in _KEY_TYPES[alg]
            and key.get("use", "enc") == "enc"
            and key.get("alg", alg) == alg
            and (key.key_type == "RSA" or key.get("crv") in _CURVES)
            and (operations is None or bool(_OPERATIONS & set(operations)))
        )
    except (JoseError, TypeError):
        return False
