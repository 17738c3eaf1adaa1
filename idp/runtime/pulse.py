"""Whether the database does its work, found out by writing to it: on a connection of its own, in a thread of its own.

So neither a request nor the pool has to be free for the answer. It is kept for a second: strangers may ask as often as they
like. While an outage is known it is looked again and again, so that what works is used as soon as it does.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from idp.runtime import audit
from idp.runtime.availability import Availability
from idp.runtime.database import Database, Transaction
from idp.runtime.limits import PROBING
from idp.runtime.outage import DatabaseUnavailableError, Effect, Outage
from idp.runtime.supervision import SLACK, Supervised

#: Seconds for which an answer is kept.
KEPT = 1.0
#: Seconds after which a look that has not ended is an answer by itself.
PATIENCE = 3.0
#: Seconds between two looks while there is an outage.
_AGAIN = 0.5
#: Seconds after which it shows that it is there, where nobody asks.
_IDLE = 10.0
_NO_ANSWER = f"The database has not answered for {PATIENCE:.0f} seconds."
_UNUSABLE = "The database cannot be used: `idp doctor` says why."
#: Anybody may ask: why it is so is for the log and for `idp doctor`.
_FOR_STRANGERS = {
    Effect.AWAY: "The database cannot be reached.",
    Effect.NO_WRITES: "The database takes no writes.",
    Effect.BUSY: "The database takes too long.",
}


class _Finder(Availability):
    """For the one who finds out: refused by nothing, and heard by nobody."""

    def check(self, *, writing: bool) -> None:
        """Try it in any case."""

    def failed(self, outage: Outage) -> None:
        """The pulse tells of it."""

    def worked(self, *, writing: bool, proven: bool = False) -> None:
        """The pulse tells of it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a look found out, and when it had ended, by the monotonic clock."""

    at: float
    problem: str | None


class Pulse:
    """Of one database, for one process. `prove` writes something, and leaves no more behind than it found."""

    def __init__(self, database: Database, prove: Callable[[Transaction], None]) -> None:
        self._told = database.availability
        self._prove = prove
        self._own = Database(database.url, database.clock, PROBING, pool_size=1)
        self._own.availability = _Finder()
        self._asked = threading.Event()
        self._looking = threading.Lock()
        self._changed = threading.Condition()
        self._answer = _Answer(float("-inf"), None)
        self.thread = Supervised("idp-pulse", self._run, _IDLE + SLACK)

    def start(self) -> None:
        """Look when somebody asks, and for as long as there is an outage, in a thread of this process."""
        self._told.watched = self._asked
        self.thread.start()

    def stop(self) -> None:
        """Look no more, and close the connection."""
        self.thread.stop()
        self._told.watched = None
        self._asked.set()
        self.thread.join(PATIENCE)
        self._own.dispose()

    def problem(self) -> str | None:
        """Why the database does not do its work, as a sentence, or None: at most a second old, after 3 seconds at the most."""
        if not self.thread.is_started:
            self._look_once()
            self._own.dispose()  # nobody will: there is no start, and so no stop
            return self._answer.problem
        until = time.monotonic() + PATIENCE
        with self._changed:
            while not self._is_fresh():
                self._asked.set()
                if not self._changed.wait(until - time.monotonic()):
                    return _NO_ANSWER
            return self._answer.problem

    def _is_fresh(self) -> bool:
        return time.monotonic() < self._answer.at + KEPT

    def _run(self) -> None:
        while not self.thread.is_stopping:
            is_asked = self._asked.wait(_IDLE if self._told.outage is None else _AGAIN)
            self._asked.clear()
            self.thread.beat()
            if (is_asked or self._told.outage is not None) and not self.thread.is_stopping:
                self._look_once()

    def _look_once(self) -> None:
        with self._looking:
            if self._told.outage is None and self._is_fresh():
                return
            problem = self._look()
            with self._changed:
                self._answer = _Answer(time.monotonic(), problem)
                self._changed.notify_all()

    def _look(self) -> str | None:
        try:
            with self._own.writing() as tx:
                self._prove(tx)
        except DatabaseUnavailableError as error:
            # Somebody who writes for long is waited for longer than we do: whoever has done that in vain has told of it.
            if self._told.outage is not None or error.outage.cause != "SQLITE_BUSY":
                self._told.failed(error.outage)
            return _FOR_STRANGERS[error.outage.effect]
        except Exception as error:  # noqa: BLE001 - whatever it was, somebody asks again
            audit.warn("database.unusable", error=type(error).__name__)
            return _UNUSABLE
        self._told.worked(writing=True, proven=True)
        return None
