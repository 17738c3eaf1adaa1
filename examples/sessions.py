"""An app's own sessions, kept on the server, and findable by the provider's `sid`: what back-channel logout needs.

A session that lives in a signed cookie alone cannot be ended from outside; here the cookie holds only a random key.
In memory, for one process; with several processes this is a table or a Redis hash with the same three ways in.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LIFETIME = 8 * 3600  # seconds after which a session ends by itself
ENDED_LATELY = 3600  # seconds; must outlive the provider's ID tokens, so that none can revive a session that ended


class SessionEndedError(Exception):
    """The provider ended this session before its sign-in was finished here."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, by which session at the provider. `key` is the cookie's value, and a secret."""

    key: str
    iss: str
    sid: str
    sub: str
    name: str
    id_token: str
    csrf_token: str
    expires_at: float


class Sessions:
    """The sessions of one app. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._by_key: dict[str, Session] = {}
        self._by_sid: dict[tuple[str, str], set[str]] = {}
        self._ended_at: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def start(self, claims: Mapping[str, str], id_token: str) -> Session:
        """A new session from a validated ID token, under a key never used before. Raises SessionEndedError.

        A logout token may overtake the sign-in that it is about: while we redeemed the code, the session ended.
        """
        session = Session(
            key=secrets.token_urlsafe(32),
            iss=claims["iss"],
            sid=claims["sid"],
            sub=claims["sub"],
            name=claims.get("name") or claims.get("preferred_username") or claims["sub"],
            id_token=id_token,
            csrf_token=secrets.token_urlsafe(32),
            expires_at=self._clock() + LIFETIME,
        )
        with self._lock:
            self._forget_the_old()
            if (session.iss, session.sid) in self._ended_at:
                raise SessionEndedError(session.sid)
            self._by_key[session.key] = session
            self._by_sid.setdefault((session.iss, session.sid), set()).add(session.key)
        return session

    def find(self, key: str | None) -> Session | None:
        """The living session behind a cookie."""
        session = self._by_key.get(key or "")
        return session if session and self._clock() < session.expires_at else None

    def end(self, iss: str, *, sid: str | None = None, sub: str | None = None) -> list[Session]:
        """End what a logout token names: the session `sid`, or without one all of `sub` (Back-Channel Logout §2.7)."""
        with self._lock:
            if sid is not None:
                self._ended_at[iss, sid] = self._clock()
                named = [self._by_key[key] for key in self._by_sid.get((iss, sid), ())]
            else:
                named = [session for session in self._by_key.values() if session.iss == iss]
            ended = [session for session in named if sub is None or session.sub == sub]
            for session in ended:
                self._drop(session)
            return ended

    def end_one(self, session: Session) -> None:
        """End a single session of this app: its person signed out here."""
        with self._lock:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        self._by_key.pop(session.key, None)
        keys = self._by_sid.get((session.iss, session.sid), set())
        keys.discard(session.key)
        if not keys:
            self._by_sid.pop((session.iss, session.sid), None)

    def _forget_the_old(self) -> None:
        now = self._clock()
        for session in [session for session in self._by_key.values() if session.expires_at <= now]:
            self._drop(session)
        for sid in [sid for sid, instant in self._ended_at.items() if instant + ENDED_LATELY <= now]:
            del self._ended_at[sid]
