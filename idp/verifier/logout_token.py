"""Logout tokens read as a relying party must (OpenID Connect Back-Channel Logout 1.0 §2.6)."""

from collections.abc import Mapping
from threading import Lock
from urllib.parse import parse_qs

from joserfc.jwk import RSAKey

from idp.verifier import compact
from idp.verifier.claims import instant, is_for
from idp.verifier.errors import EventError, TokenError, UnknownKeyError
from idp.verifier.events import Addressee, Ended
from idp.verifier.rules import Ending

_TYP = "logout+jwt"
_EVENT = "http://schemas.openid.net/event/backchannel-logout"
#: For clocks that differ, in seconds.
_SKEW = 60.0
_REMEMBERED = 10_000


def posted(body: bytes) -> str:
    """The one field of the form (§2.5). Raises EventError."""
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=4)
        [token] = fields["logout_token"]
    except (ValueError, KeyError):
        code, message = "invalid_request", "the body is no form with one logout_token"
        raise EventError(code, message) from None
    return token


class LogoutTokens:
    """Reads them, each once."""

    def __init__(self, to: Addressee, token_lifetime: float) -> None:
        """`token_lifetime` is for how many seconds a token may live: an ended session is remembered for so long."""
        self._to = to
        self._token_lifetime = token_lifetime
        self._seen: dict[str, float] = {}
        self._looking = Lock()

    def read(self, text: str, keys: Mapping[str, RSAKey], now: float) -> Ended:
        """The session that it ends. Raises UnknownKeyError, and EventError for what is not to be believed."""
        try:
            claims, _ = compact.read(text, keys, _TYP)
        except UnknownKeyError:
            raise
        except TokenError as error:
            raise _refused(str(error)) from None
        problem = self._problem(claims, now)
        if problem is not None:
            raise _refused(problem)
        sid, jti = str(claims["sid"]), str(claims["jti"])
        if self._is_replay(jti, now):
            raise _refused("it was received before")
        issued = instant(claims["iat"]) or now
        return Ended(Ending("sid", sid, "back-channel logout", issued), now + self._token_lifetime)

    def _problem(self, claims: Mapping[str, object], now: float) -> str | None:
        issued, expires, said = instant(claims.get("iat")), instant(claims.get("exp")), claims.get("events")
        if claims.get("iss") != self._to.issuer:
            return "of another issuer"
        if not is_for(claims.get("aud"), frozenset({self._to.client_id})):
            return "for another audience"
        if issued is None or issued - _SKEW > now or expires is None or expires + _SKEW <= now:
            return "its time is over, or has not come"
        if not isinstance(said, dict) or not isinstance(said.get(_EVENT), dict):
            return "it is not about a logout"
        if "nonce" in claims:
            return "a logout token has no nonce"
        if not isinstance(claims.get("jti"), str):
            return "it has no jti"
        if not isinstance(claims.get("sid"), str):
            return "it names no session (register backchannel_logout_session_required)"
        return None

    def _is_replay(self, jti: str, now: float) -> bool:
        """A logout token lives two minutes, so not many are remembered. Any thread may ask."""
        with self._looking:
            for old in [old for old, until in self._seen.items() if until <= now]:
                del self._seen[old]
            if jti in self._seen:
                return True
            if len(self._seen) >= _REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self._seen[jti] = now + 2 * _SKEW + 120
            return False


def _refused(message: str) -> EventError:
    return EventError("invalid_request", message)
