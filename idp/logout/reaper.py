"""Expiry is an ending: sessions that are idle or too old end as if somebody had signed out, and relying parties hear of it.

So do clients that registered themselves and that nobody uses. And what was decided to end and is too much for one transaction
is carried out here, also where whoever decided it died. Any number of instances may reap at once: each takes rows that nobody
else holds.
"""

import time
from collections.abc import Callable

from idp.logout.service import AT_ONCE, LogoutService
from idp.runtime import audit
from idp.runtime.availability import is_told
from idp.runtime.batches import in_batches
from idp.runtime.database import Database, Transaction
from idp.runtime.periodic import Periodic

#: How long after its time a session may wait for its end, in seconds. It is refused everywhere from the very second.
INTERVAL_SECONDS = 10.0
#: How many sessions one transaction ends.
BATCH = 100
#: Who waits for what another process carries out looks again after so many seconds.
_LOOK_SECONDS = 0.1


class Reaper:
    """Ends what has run out, and what is closed, now and then, beside the requests."""

    def __init__(self, database: Database, logout: LogoutService) -> None:
        self._database = database
        self._logout = logout
        self.rounds = Periodic("idp-reaper", INTERVAL_SECONDS, self.reap, _failed)
        self.stop = self.rounds.stop
        logout.when_closed(self.rounds.wake)

    def start(self) -> None:
        """Reap beside the requests, at once for the first time: whoever was at it before may have died."""
        self.rounds.start()
        self.rounds.wake()

    def reap(self) -> int:
        """End every session and every client that has run out, and what is closed, batch by batch; returns their number."""
        steps = (self._end_closed, self._of(self._logout.end_stale_sessions), self._of(self._logout.end_unused_clients))
        return sum(sum(in_batches(self._database, step, self.rounds.rest)) for step in (*steps, self._end_closed))

    def _of(self, end: Callable[[Transaction, int], int]) -> Callable[[Transaction], int]:
        return lambda tx: end(tx, BATCH)

    def _end_closed(self, tx: Transaction) -> int:
        return self._logout.end_closed(tx, AT_ONCE)

    def finish(self, tell: Callable[[int], None] = lambda _left: None, rest: Callable[[float], object] = time.sleep) -> None:
        """Carry out everything that is closed, for a command that waits for it; `tell` hears how much is left.

        The processes of a server do the same at the same time, and go on where this one is stopped.
        """
        is_large = False
        while left := self._left():
            is_large = True
            tell(left)
            for _ in in_batches(self._database, self._end_closed, rest):
                tell(self._left())
            if rest(_LOOK_SECONDS):
                return
        if is_large:
            tell(0)

    def _left(self) -> int:
        with self._database.reading() as tx:
            return self._logout.left(tx)


def _failed(error: Exception) -> None:
    if not is_told(error):
        audit.warn("reaper.failed", error=type(error).__name__)
