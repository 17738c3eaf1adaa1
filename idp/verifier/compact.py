"""A JWT of the provider read with its published keys: signature and type, and nothing taken from the JWT but its `kid`."""

import json
from collections.abc import Mapping

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry, extract_compact
from joserfc.util import urlsafe_b64decode

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
        return _read(token, keys, typ)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        message = f"not a JWT of the provider ({type(error).__name__})"
        raise MalformedTokenError(message) from None


def _read(token: str, keys: Mapping[str, RSAKey], typ: str) -> tuple[dict[str, object], str]:
    parts = extract_compact(token.encode())
    header = parts.protected
    if not isinstance(header, dict) or header.keys() != _HEADER or header["alg"] != DEFAULT_ALG:
        message = f"its header is not alg {DEFAULT_ALG}, kid and typ"
        raise MalformedTokenError(message)
    if str(header["typ"]).lower().removeprefix("application/") != typ:
        message = f"not of the type {typ}"
        raise ClaimError(message)
    kid = header["kid"]
    key = keys.get(kid)
    if key is None:
        raise _unknown(kid)
    signed, _, signature = token.rpartition(".")
    if not _RS256.verify(signed.encode(), urlsafe_b64decode(signature.encode()), key):
        message = "its signature is wrong"
        raise BadSignatureError(message)
    claims = json.loads(parts.payload)
    if not isinstance(claims, dict):
        message = "its claims are no object"
        raise MalformedTokenError(message)
    return claims, kid


def _unknown(kid: object) -> TokenError:
    return UnknownKeyError(kid) if isinstance(kid, str) and kid else MalformedTokenError("its kid is no text")
