"""What an access token has to say (RFC 9068 §4, RFC 7519 §4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from idp.verifier.errors import ClaimError, ExpiredTokenError

#: The type of an ID token, too, and of signed userinfo: only the `client_id` (RFC 9068 §2.2) tells an access token from those.
_UNTYPED = "jwt"


@dataclass(frozen=True, slots=True)
class Expected:
    """`typ` is in lower case. `leeway` is in seconds, for clocks that differ."""

    issuer: str
    audiences: frozenset[str]
    typ: str
    leeway: float
    maximum_length: int


def check(claims: Mapping[str, object], expected: Expected, now: float) -> None:
    """Raise ClaimError or ExpiredTokenError for claims that are not for us, or not now."""
    if claims.get("iss") != expected.issuer:
        message = f"of another issuer than {expected.issuer}"
        raise ClaimError(message, "issuer")
    if not is_for(claims.get("aud"), expected.audiences):
        wanted = " or ".join(sorted(expected.audiences))
        message = f"for another audience than {wanted}, which must be among the resources of the client that asked for it"
        raise ClaimError(message, "audience")
    if expected.typ == _UNTYPED and not isinstance(claims.get("client_id"), str):
        message = "no access token: it names no client"
        raise ClaimError(message, "type")
    expires = instant(claims.get("exp"))
    if expires is None:
        message = "it does not say when it expires"
        raise ClaimError(message, "exp")
    if expires + expected.leeway <= now:
        message = f"its time was over {now - expires:.0f} s ago"
        raise ExpiredTokenError(message)
    if "nbf" in claims and (begins := instant(claims["nbf"])) is not None and begins - expected.leeway > now:
        message = "not valid yet"
        raise ClaimError(message, "nbf")


def is_for(aud: object, audiences: frozenset[str]) -> bool:
    """Whether one of `audiences` is among those that a token names (RFC 7519 §4.1.3)."""
    if isinstance(aud, str):
        return aud in audiences
    return isinstance(aud, list) and any(isinstance(each, str) and each in audiences for each in aud)


#: Beyond any date (the year 36812), and exactly a float: a number of a thousand digits would overflow one.
_END_OF_TIME = 2**40


def instant(value: object) -> float | None:
    """A NumericDate (RFC 7519 §2) as seconds since the epoch, or None for anything else: `true`, NaN, 1e400."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END_OF_TIME:
        return None
    return float(value)
