"""Expiry is an ending: sessions that are idle or too old end as if somebody had signed out, and relying parties hear of it.

So do clients that registered themselves and that nobody uses.
Any number of instances may reap at once: each takes rows that nobody else holds.
"""

from collections.abc import Callable

from idp.logout.service import LogoutService
from idp.runtime import audit
from idp.runtime.availability import is_told
from idp.runtime.database import Database, Transaction
from idp.runtime.periodic import Periodic

#: How long after its time a session may wait for its end, in seconds. It is refused everywhere from the very second.
INTERVAL_SECONDS = 10.0
#: How many sessions one transaction ends.
BATCH = 50


class Reaper:
    """Ends what has run out, now and then, beside the requests."""

    def __init__(self, database: Database, logout: LogoutService) -> None:
        self._database = database
        self._logout = logout
        self.rounds = Periodic("idp-reaper", INTERVAL_SECONDS, self.reap, _failed)
        self.start, self.stop = self.rounds.start, self.rounds.stop

    def reap(self) -> int:
        """End every session and every client that has run out, batch by batch; returns their number."""
        return self._all(self._logout.end_stale_sessions) + self._all(self._logout.end_unused_clients)

    def _all(self, end: Callable[[Transaction, int], int]) -> int:
        total = 0
        while not self.rounds.is_stopping:
            self.rounds.beat()
            with self._database.writing() as tx:
                ended = end(tx, BATCH)
            total += ended
            if ended == 0:
                break
        return total


def _failed(error: Exception) -> None:
    if not is_told(error):
        audit.warn("reaper.failed", error=type(error).__name__)
