"""One thread in each process that looks at the log: numbers what was committed, remembers it, and wakes who waits.

What an empty answer to a follower proves rests on a *look* that began after its question came: see `Look`.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from idp.protocol.events import KEY_REVOKED
from idp.runtime import audit
from idp.runtime.availability import is_told
from idp.runtime.database import Database, Glance, Transaction
from idp.runtime.figures import Gauge, Histogram
from idp.runtime.listeners import Listeners
from idp.runtime.supervision import SLACK, Supervised
from idp.signals.rules import BATCH, Signal, Stream
from idp.signals.service import SignalService

#: Seconds between two looks: while somebody follows here, and otherwise. What this process commits is looked at at once.
FOLLOWED, UNFOLLOWED = 0.02, 0.25
#: Another process numbers just now, or there is more than one batch: look again after so many seconds.
_AGAIN = 0.004
#: The database does not answer.
_FAILURE_PAUSE = 0.25
#: So many events are remembered; whoever is further behind reads the database.
REMEMBERED = 20_000

_NUMBERED = Histogram(
    "idp_signals_numbering_seconds",
    "From the transaction of what happened to its number",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
_STREAMS = Gauge("idp_signals_streams", "Streams of security events that are enabled", multiprocess_mode="livemostrecent")
_BEHIND = Gauge(
    "idp_signals_behind", "Events that the stream furthest behind has not acknowledged", multiprocess_mode="livemostrecent"
)
_MEASURE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """What is known. All that was committed before the monotonic instant `as_of` has a number, and is up to `last`."""

    as_of: float
    last: int


class Sequencer:
    """Looks at the log. With the numbers, what is to be pushed is written down.

    `refresh_keys` is called when a key was revoked, before anybody is told of it in a signature.
    """

    def __init__(
        self, database: Database, signals: SignalService, refresh_keys: Callable[[], None], owing: Sequence[Glance] = ()
    ) -> None:
        """`owing` asks what `SignalService.is_owing` does, for next to nothing."""
        self._database = database
        self._owing = owing
        self._signals = signals
        self._any_news = signals.any_news()
        self._looked_at = self._measured_at = float("-inf")
        self._refresh_keys = refresh_keys
        self._woken = threading.Event()
        self.thread = Supervised("idp-signals", self.run_forever, SLACK)
        self._listeners = Listeners()
        # Followers read while the thread appends. The list is replaced where it would have to be cut.
        self._recent: list[Signal] = []
        self._forgotten = 0
        self._started = False
        self.look = Look(float("-inf"), 0)
        self.followers = 0
        signals.when_woken(self.wake)

    def start(self) -> None:
        """Look in a thread of this process."""
        self.thread.start()

    def stop(self, timeout: float | None = None) -> None:
        """Look no more."""
        self.thread.stop()
        self.wake()
        self.thread.join(timeout)

    def wake(self) -> None:
        """Look now. Any thread may say so."""
        self._woken.set()

    def when_looked(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each look that found out all there is, or something new."""
        self._listeners.add(listener)

    def remembered(self, stream: Stream, most: int) -> tuple[list[Signal], bool] | None:
        """The next events that a stream is owed, at most `most`, and whether there are more; None when it is too far behind."""
        following = self.after(stream.cursor)
        if following is None:
            return None
        found: list[Signal] = []
        for signal in following:
            if stream.owes(signal):
                if len(found) == most:
                    return found, True
                found.append(signal)
        return found, False

    def after(self, place: int) -> list[Signal] | None:
        """What is remembered beyond a number, all that there is; None when that is not remembered."""
        recent, forgotten = self._recent, self._forgotten
        if place < forgotten or not self._started:
            return None
        return recent[bisect_right(recent, place, key=lambda one: one.place) :]

    # -- the thread -----------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Look until `stop` is called."""
        while not self.thread.is_stopping:
            self.thread.beat()
            self._woken.clear()  # before looking: what is committed after the look sets it again
            try:
                complete = self.once()
            except Exception as error:  # noqa: BLE001 - a database that is away comes back, and the hub must be there
                if not is_told(error):
                    audit.warn("signals.stalled", error=type(error).__name__)
                pause = _FAILURE_PAUSE
            else:
                pause = _AGAIN if not complete else FOLLOWED if self.followers else UNFOLLOWED
            self._woken.wait(pause)

    def once(self) -> bool:
        """One look; whether it found out all that was committed before it began."""
        began = time.monotonic()
        # Asked before the log is read: what is owed no more by then stands in it.
        is_owing = any(ask() for ask in self._owing)
        # Most looks find nothing. They are to cost next to nothing: whoever uses this process meanwhile would notice.
        if began - self._looked_at < UNFOLLOWED and not self._any_news(after=self.look.last):
            return self._seen(began, [], complete=not is_owing)
        with self._database.reading() as tx:
            if not self._started:
                self._begin(tx)
            self._measure(tx, began)
            found = self._signals.news(tx, self.look.last)
            # A receiver that was away may have made room for more.
            is_numbered = all(signal.seq is not None for signal in found) and not self._signals.is_push_behind(tx)
        complete = len(found) < BATCH
        if not is_numbered:
            with self._database.writing() as tx:
                numbered = self._signals.number(tx)
                found = self._signals.after(tx, self.look.last)
            complete = numbered is not None and numbered < BATCH and len(found) < BATCH
        self._looked_at = began
        return self._seen(began, found, complete=complete and not is_owing)

    def _seen(self, began: float, found: list[Signal], *, complete: bool) -> bool:
        if any(signal.event == KEY_REVOKED for signal in found):
            self._refresh_keys()
        self._remember(found)
        last = found[-1].place if found else self.look.last
        self.look = Look(began if complete else self.look.as_of, last)
        if found or complete:
            self._listeners.tell()
        return complete

    def _begin(self, tx: Transaction) -> None:
        self._forgotten = self._signals.last(tx)
        self.look = Look(self.look.as_of, self._forgotten)
        self._started = True

    def _measure(self, tx: Transaction, began: float) -> None:
        if began - self._measured_at < _MEASURE_SECONDS:
            return
        self._measured_at = began
        reach = self._signals.reach(tx)
        _STREAMS.set(reach.streams)
        _BEHIND.set(reach.behind)

    def _remember(self, found: list[Signal]) -> None:
        if not found:
            return
        now = self._database.clock()
        for signal in found:
            _NUMBERED.observe(max(0.0, now - signal.occurred_at))
        self._recent.extend(found)
        dropped = len(self._recent) - REMEMBERED // 2
        if dropped > REMEMBERED // 2:
            # First what is forgotten, then the list: a follower in between reads the database, and misses nothing.
            self._forgotten = self._recent[dropped - 1].place
            self._recent = self._recent[dropped:]
