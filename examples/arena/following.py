"""Hearing of the session's end a second way: the provider's feed of security events, which also proves that nothing else ended.

The guard closes the sockets by itself; what is ours to end is our own session behind the cookie.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from examples.journal import tell
from examples.sessions import Sessions
from examples.settings import Settings
from idp.verifier import AsyncVerifier, Ending, Guard, Poll, Staleness

PATIENCE = 5  # seconds that a handshake waits for the feed while the app starts


def verifier_of(settings: Settings) -> AsyncVerifier:
    """Follows the provider. When it cannot for 30 seconds, every socket is closed, and none is opened."""
    return AsyncVerifier(settings.issuer, settings.base, follow=Poll(settings.client_id, settings.client_secret))


class Following:
    """What the feed says, and the guard that every socket is bound to."""

    def __init__(self, settings: Settings, sessions: Sessions, verifier: AsyncVerifier) -> None:
        self._settings, self._sessions, self._verifier = settings, sessions, verifier
        verifier.on_ended(self._ended)  # before the guard hears: who asks why a socket closed is told the truth
        verifier.on_stale(self._stale)
        self.guard = Guard(verifier)

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Follow for as long as the app serves."""
        async with self._verifier:
            yield
        self.guard.close()

    async def is_heard(self) -> bool:
        """Whether the provider can be heard; waits a little while the app starts."""
        return await self._verifier.wait(PATIENCE)

    def _ended(self, ending: Ending) -> None:
        if ending.kind == "sid":
            for session in self._sessions.end(self._settings.issuer, sid=ending.value):
                tell("session_ended", app="arena", sid=session.sid, by="provider", through="feed")

    def _stale(self, staleness: Staleness) -> None:
        if staleness.is_stale:
            tell("feed_lost", app="arena", problem=staleness.problem)
        else:
            tell("feed_followed", app="arena")
