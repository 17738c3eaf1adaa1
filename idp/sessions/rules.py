"""What a session is, and when it is alive."""

import hmac
import math
from dataclasses import dataclass
from hashlib import sha256

from idp.runtime.clock import Instant
from idp.runtime.secrets import b64url

#: A use is written down at most this often: a session is touched on hot paths. Where it may be idle for a short time only,
#: it is this part of that time.
TOUCH_SECONDS = 60
TOUCH_PART = 20
SID_BYTES = 24
COOKIE_BYTES = 32
CLOSING_BYTES = 16
#: One factor (a password) was shown: the only level this provider knows so far.
ACR = "1"


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Timeouts in seconds (OWASP ASVS 5 V7.3). The absolute one counts from the sign-in that began the session.

    `refresh_counts` is whether an app that refreshes, or asks for claims at `/userinfo`, uses the session by that.
    """

    idle_timeout: int
    absolute_timeout: int
    refresh_counts: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's session. `sid` is public to relying parties; the cookie's secret is kept as a hash only."""

    sid: str
    cookie_hash: str
    subject: str
    started_at: Instant
    auth_time: Instant
    last_used_at: Instant
    expires_at: Instant
    amr: str
    address: str
    user_agent: str
    ended_at: Instant | None
    end_reason: str | None

    @property
    def acr(self) -> str:
        """The authentication context class that its sign-in reached (OIDC Core §2)."""
        return ACR


@dataclass(frozen=True, slots=True)
class Participation:
    """A client in a session. One that left and comes again takes part anew, and is told of the end anew.

    A client with pairwise subjects knows the session as `sector_sid`: what it was told is written down, so that it is
    told the very same at the end, whatever became of its metadata and of the provider's secret meanwhile.
    """

    sid: str
    client_id: str
    first_used_at: Instant
    sector: str | None = None
    sector_sid: str | None = None

    @property
    def told_sid(self) -> str:
        """The `sid` as the client knows it."""
        return self.sector_sid or self.sid


@dataclass(frozen=True, slots=True)
class SessionClosing:
    """The end of very many sessions of a person, decided at once: all that began until `before`, save `keep`.

    They are over for everybody who asks from that commit on; those who must be told are told batch by batch.
    """

    closing_id: str
    subject: str
    keep: str | None
    before: Instant
    reason: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """What is written down about a sign-in: who, how (`amr`, RFC 8176) and from where."""

    subject: str
    amr: str
    address: str
    user_agent: str


def sector_sid(key: bytes, sector: str, sid: str) -> str:
    """A session's name in a sector. Nobody without the key can tell that it is that session's, or another's name of it."""
    return b64url(hmac.digest(key, f"{sector}\n{sid}".encode(), sha256)[:SID_BYTES])


def begins(now: Instant, closed_until: Instant | None) -> Instant:
    """When a session begins: after what was closed, also where another instance's clock is ahead of this one's."""
    return now if closed_until is None else max(now, math.nextafter(closed_until, math.inf))


def runs_out(session: Session, policy: SessionPolicy) -> Instant:
    """When its time is over if nobody uses it until then."""
    return min(session.expires_at, session.last_used_at + policy.idle_timeout)


def noted_before(policy: SessionPolicy, now: Instant) -> Instant:
    """A last use that was written down at this instant, or earlier, is old enough to be written down again."""
    return now - min(TOUCH_SECONDS, policy.idle_timeout / TOUCH_PART)
