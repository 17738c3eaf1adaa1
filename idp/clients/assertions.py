"""Client assertions: `private_key_jwt` and `client_secret_jwt` (RFC 7523 §3, OIDC Core §9).

What is wrong with an assertion as such is said to whoever sent it. Whatever depends on the client - whether there is
one, its method, its keys, its signature - is refused like a wrong secret: no oracle on which clients exist.
"""

from collections.abc import Collection, Mapping

from idp.runtime.clock import Instant

#: What an assertion may say that it is: nothing, `JWT`, or what it is (RFC 7523bis). A request object, an ID token or any
#: other JWT that the same key signed says something else (RFC 8725 §3.11).
TYPES = frozenset({None, "jwt", "client-authentication+jwt"})
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: How far ahead an `exp` may be, in seconds: for so long each `jti` is remembered. Authlib's own client says an hour.
MAXIMUM_LIFETIME = 3600
#: By how many seconds a client's clock may differ from ours.
SKEW = 30
_MAXIMUM_JTI = 256


def problem(claims: Mapping[str, object], audiences: Collection[str], now: Instant) -> str | None:
    """What is wrong with the claims, whoever signed them, as the end of a sentence; None for nothing."""
    subject, jti = claims.get("sub"), claims.get("jti")
    if not isinstance(subject, str) or not subject or claims.get("iss") != subject:
        return "iss and sub must both be the client_id"
    if not _is_for(claims.get("aud"), audiences):
        return f"aud must be {' or '.join(audiences)}, and nobody else"
    expiry = claims.get("exp")
    if not _is_instant(expiry) or not now - SKEW < float(expiry) <= now + MAXIMUM_LIFETIME + SKEW:  # type: ignore[arg-type]
        return f"exp must be in the future, by at most {MAXIMUM_LIFETIME} s"
    for name in ("iat", "nbf"):
        begin = claims.get(name)
        if begin is not None and (not _is_instant(begin) or float(begin) > now + SKEW):  # type: ignore[arg-type]
            return f"{name} must not be in the future"
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAXIMUM_JTI:
        return f"jti must be a string of 1 to {_MAXIMUM_JTI} characters, another one each time"
    return None


def _is_for(audience: object, audiences: Collection[str]) -> bool:
    """A list of one is as good as a string. More than one would let one server use the assertion at another."""
    one = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
    return isinstance(one, str) and one in audiences


def _is_instant(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
