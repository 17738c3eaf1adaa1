"""Whether the database does its work, as this process knows it: told to the log once, and spared those who would only wait.

A database that is silent lets each transaction wait until its time is over, and requests run one at a time. So what one of
them found out holds for the next ones, for a moment: they are refused at once, and whoever asked comes again.
"""

import threading
import time

from idp.runtime import audit
from idp.runtime.figures import Counter
from idp.runtime.outage import DatabaseUnavailableError, Effect, Outage

#: For so many seconds nobody tries anew, where nobody looks after it (`pulse`): a command, a test.
_PAUSE = 1.0
#: And where somebody does. Should that one be stuck, requests find out for themselves when this has passed.
_WATCHED_PAUSE = 10.0
#: As long as it lasts, the log hears of it again after so many seconds.
_REMINDER = 60.0

_REFUSED = Counter(
    "idp_database_refused", "Transactions that did not happen because the database did not do its work", ["effect"]
)


class Availability:
    """Of one database. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outage: Outage | None = None
        self._since = self._until = self._told_at = 0.0
        self._busy_told_at = float("-inf")
        self._refused = self._busy = 0
        #: How many outages are over. A connection from before may see for ever what was: that the server was a standby.
        self.recoveries = 0
        #: Somebody asks again and again while there is an outage, and is woken by this.
        self.watched: threading.Event | None = None

    @property
    def outage(self) -> Outage | None:
        """What is known to be wrong."""
        return self._outage

    def check(self, *, writing: bool) -> None:
        """Raise DatabaseUnavailableError where it is known that this cannot be done."""
        outage = self._outage
        if outage is None or (outage.effect is Effect.NO_WRITES and not writing):
            return
        with self._lock:
            if time.monotonic() < self._until:
                self._count(outage)
                raise DatabaseUnavailableError(outage)

    def failed(self, outage: Outage) -> None:
        """A transaction failed for this reason."""
        with self._lock:
            self._count(outage)
            if outage.effect is Effect.BUSY:
                self._tell_of_busy(outage)
                return
            now = time.monotonic()
            self._until = now + (_PAUSE if self.watched is None else _WATCHED_PAUSE)
            is_new, self._outage = self._outage is None, outage
            if is_new:
                self._since = self._told_at = now
            watched = self.watched
            if watched is None:
                return  # a command says by itself why it failed: only who lives on writes a log of it
            if is_new:
                audit.warn("database.away", effect=outage.effect.value, cause=outage.cause, note=outage.sentence)
            elif now - self._told_at >= _REMINDER:
                self._told_at = now
                seconds = round(now - self._since)
                audit.warn(
                    "database.still_away",
                    effect=outage.effect.value,
                    cause=outage.cause,
                    seconds=seconds,
                    refused=self._refused,
                )
        watched.set()

    def worked(self, *, writing: bool, proven: bool = False) -> None:
        """A transaction came to its end. `proven`: it certainly wrote something."""
        outage = self._outage
        if outage is None:
            return
        # Where somebody looks after it, that one alone says that it is over: a read tells nothing of writes.
        if not proven and (self.watched is not None or (outage.effect is Effect.NO_WRITES and not writing)):
            return
        with self._lock:
            if self._outage is None:
                return
            self._outage = None
            self.recoveries += 1
            seconds, refused, self._refused = round(time.monotonic() - self._since, 1), self._refused, 0
            if self.watched is not None:
                audit.record("database.back", seconds=seconds, refused=refused)

    def _count(self, outage: Outage) -> None:
        _REFUSED.labels(outage.effect.value).inc()
        if outage.effect is not Effect.BUSY:
            self._refused += 1

    def _tell_of_busy(self, outage: Outage) -> None:
        self._busy += 1
        now = time.monotonic()
        if self.watched is not None and now - self._busy_told_at >= _REMINDER:
            self._busy_told_at = now
            audit.warn("database.busy", cause=outage.cause, note=outage.sentence, count=self._busy)
            self._busy = 0


def is_told(error: BaseException) -> bool:
    """Whether the log knows already why this failed: an outage is told once, not by everybody who meets it."""
    return isinstance(error, DatabaseUnavailableError)
