"""The database's side of delivering: lanes are leased, what waits in them is read, what came of attempts is written down.

Outcomes that came in together are written together, with the next leases, in one commit.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import ceil, floor
from typing import NamedTuple

from idp.delivery import lane_store, rules, store
from idp.delivery.rules import Delivery, Outcome, Party, Result, Verdict
from idp.runtime import audit, secrets
from idp.runtime.bounded import Bounded
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.figures import Gauge, Histogram

#: What one worker reads at once, of all lanes together.
READ = 1600
#: And where nothing has been under way.
FIRST_READ = 120
#: Something is due in a lane that is another worker's, which may hold on to it or not: who has little to do looks again this
#: soon, and less and less often as long as there is nothing to be had: sooner so where it is a single lane.
_CONTENTION_PAUSE = 0.02
_MOST_DOUBLINGS = 5
_PATIENCE = 4
#: Who has less than its share, and finds no lane free, asks for it, for so long. Whoever has more then leaves a lane that has
#: just ended to others: for a moment, since none of them may come.
_CLAIM_SECONDS = 5.0
_LEFT_SECONDS = 0.06
_MEASURE_SECONDS = 5.0
_SWEEP_SECONDS, _EXPIRED_AT_ONCE = 30.0, 1000
_GIVEN_UP_AT_ONCE = 1000

_SECONDS = Histogram(
    "idp_delivery_seconds",
    "From the commit of what happened to its arrival at the relying party",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 86400),
)
_seconds = cache(_SECONDS.labels)
_DEPTH = Gauge("idp_delivery_queue_depth", "Deliveries that wait or are in flight", multiprocess_mode="livemostrecent")
_OLDEST = Gauge(
    "idp_delivery_queue_oldest_seconds", "The age of the oldest of them in seconds", multiprocess_mode="livemostrecent"
)


class Finished(NamedTuple):
    """An attempt, and until when its lane was ours for certain."""

    delivery: Delivery
    result: Result
    at: Instant
    until: Instant


@dataclass(frozen=True, slots=True)
class Underway:
    """What goes on while the database is looked at: in which lanes, and which of them run out soon, with what is left there.

    `slow` are attempts that take long and are not noted yet. `is_idle`: there is little to attempt in any lane. `is_woken`:
    something may be due that was not a moment ago. `is_stopping`: nothing new is taken, in no lane.
    """

    lanes: Collection[str] = frozenset()
    low: Mapping[str, Collection[str]] = field(default_factory=dict)
    slow: Sequence[Delivery] = ()
    is_idle: bool = True
    is_woken: bool = True
    is_stopping: bool = False


class Round(NamedTuple):
    """What follows from a look at the database: what to attempt, lane by lane, and for how many seconds that is all.

    `leases` are the lanes that are ours, and until when: empty where nothing was written. `spent` is the processor time that
    the look took, in seconds.
    """

    batches: Mapping[str, Sequence[Delivery]]
    leases: Mapping[str, Instant]
    pause: float
    spent: float


class OutboxSession:
    """One worker's. `lease` is in seconds; at most `concurrency` lanes are held at once."""

    def __init__(
        self,
        database: Database,
        *,
        concurrency: int,
        poll_seconds: float,
        lease: float,
        queue_limit: int,
        jitter: Callable[[], float],
    ) -> None:
        self._database = database
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._lease = lease
        self._queue_limit = queue_limit
        self._jitter = jitter
        self._name = secrets.token(16)
        self._is_pending, self._asking = database.glance(store.IS_PENDING), threading.Lock()
        # What is not written down yet, and each lane that is ours with the end of its lease.
        self._unwritten: list[Finished] = []
        self._lanes: dict[str, Instant] = {}
        #: Of clients that answered 400: whether they ever took anything.
        self._takes: Bounded[str, bool] = Bounded()
        self._measured_at = self._swept_at = float("-inf")
        # When what waits is asked for again, and the lanes of ours in which more waits than was read.
        self._ask_at = float("-inf")
        self._longer: set[str] = set()
        self._spare = self._in_vain = 0
        # Lanes that ended with us and are left to others, and until when; and the end of our claim to a share.
        self._left: dict[str, float] = {}
        self._claimed_until: Instant = float("-inf")
        self._is_short = False

    @property
    def unwritten(self) -> int:
        """How many outcomes are not written down yet."""
        return len(self._unwritten)

    @property
    def in_flight(self) -> int:
        """How many lanes are ours."""
        return len(self._lanes)

    def take_in(self, news: Sequence[Finished]) -> None:
        """What attempts came to. It is kept until it is written down, or until another worker answers for it."""
        now = self._database.clock()
        self._unwritten = [
            done
            for done in (*self._unwritten, *news)
            # An arrival is worth writing down at any time; the rest would be refused by `store.settle` from then on.
            if done.result.verdict is Verdict.DELIVERED or done.until > now
        ]

    def look(self, underway: Underway) -> Round:
        """Write down what came of attempts, and lease and read what is due: one commit for all."""
        began = time.thread_time()
        self._explain()
        if underway.is_woken or self._lanes.keys() - underway.lanes:
            self._ask_at = float("-inf")
        asks = self._ask_at <= time.monotonic()
        if not underway.is_stopping:
            self._measure()
            self._sweep()
        if not self._has_to_write(underway):
            # Nothing to write, most of the time: the writer's lock is not taken to find that out.
            with self._database.reading() as tx:
                wanted, pause = self._due(tx, underway, asks=asks)
            if not wanted:
                if self._is_short and not self._has_claimed:
                    with self._database.writing() as tx:
                        self._claim(tx)
                if asks:
                    self._ask_at = time.monotonic() + pause
                return Round({}, {}, pause, time.thread_time() - began)
        with self._database.writing() as tx:
            until = tx.now + self._lease  # by our clock, and begun before the lease itself: never longer than that is
            self._settle(tx)
            store.note(tx, underway.slow, until)
            wanted, pause = self._due(tx, underway, asks=asks)
            held = self._hold(tx, underway, wanted, until)
            if (self._is_short or (wanted and not held)) and not self._has_claimed:
                self._claim(tx)
            batches = {lane: self._read(tx, underway, lane, len(held)) for lane in wanted if lane in held}
            empty = [lane for lane, batch in batches.items() if not batch and lane not in underway.lanes]
            lane_store.give_back(tx, self._name, [*empty, lane_store.claim(self._name)] if underway.is_stopping else empty)
        self._unwritten = []
        self._lanes = {lane: until for lane, until in held.items() if lane not in empty}
        self._longer.intersection_update(self._lanes)
        batches = {lane: batch for lane, batch in batches.items() if batch}
        if not batches.keys() | underway.lanes >= set(wanted):  # another worker took what we saw
            pause = min(pause, _CONTENTION_PAUSE)
        if asks:
            self._ask_at = time.monotonic() + pause
        return Round(batches, dict(self._lanes), pause, time.thread_time() - began)

    def is_pending(self, delivery: Delivery) -> bool:
        """Whether what was read ahead is still to be delivered. Any thread may ask."""
        with self._asking:
            return self._is_pending(**store.which(delivery))

    def _explain(self) -> None:
        """Add the hint of its message where a party answered 400 that never took anything."""
        for place, done in enumerate(self._unwritten):
            name, result = done.delivery.client_id, done.result
            if result.verdict is Verdict.DELIVERED and name in self._takes:
                self._takes[name] = True
            if result.hint is None:
                continue
            takes = self._takes.get(name)
            if takes is None:
                with self._database.reading() as tx:
                    takes = self._takes[name] = store.has_taken(tx, name)
            error = result.error if takes else f"{result.error}; {result.hint}"
            self._unwritten[place] = done._replace(result=replace(result, error=error, hint=None))

    def write_down(self) -> None:
        """Write down what came of attempts, and hold no lane any more."""
        self._explain()
        with self._database.writing() as tx:
            self._settle(tx)
            lane_store.give_back(tx, self._name, [*self._lanes, lane_store.claim(self._name)])
        self._unwritten, self._lanes = [], {}

    def _has_to_write(self, underway: Underway) -> bool:
        now = self._database.clock()
        has_ended = len(self._lanes.keys() & underway.lanes) < len(self._lanes)
        return bool(self._unwritten or underway.slow or has_ended or any(self._lapses(lane, now) for lane in self._lanes))

    def _lapses(self, lane: str, now: Instant) -> bool:
        """Half of its lease is over."""
        return self._lanes[lane] - now < self._lease / 2

    def _due(self, tx: Transaction, underway: Underway, *, asks: bool) -> tuple[list[str], float]:
        """The lanes of which to read, and for how long there will be nothing else. `asks`: what waits elsewhere, too."""
        if underway.is_stopping:
            self._is_short = False
            return [], self._poll_seconds
        if not asks:
            more = [lane for lane in self._longer if self._is_read_more(lane, underway.low)][self._spare :]
            return more, max(0.0, self._ask_at - time.monotonic())
        found, next_due, others, claims = lane_store.waiting(tx, self._name)
        fair, own = len(found) / (1 + others), sum(head.lane in underway.lanes for head in found)
        share = ceil(fair) if claims else len(found)
        self._spare = max(0, own - share)
        more = [head.lane for head in found if self._is_read_more(head.lane, underway.low)][self._spare :]
        heads = [head for head in found if head.lane not in underway.lanes]
        free = self._taken([head.lane for head in heads if head.holder in {None, self._name}], share - own)
        wanted = free[: max(0, self._concurrency - len(underway.lanes))]
        self._is_short = not wanted and own < floor(fair) and underway.is_idle
        pause = self._poll_seconds if next_due is None else min(self._poll_seconds, next_due - tx.now)
        self._in_vain = 0 if wanted or not heads else self._in_vain + 1
        if len(wanted) < len(heads) and underway.is_idle:
            doublings = self._in_vain if len(heads) == 1 else self._in_vain // _PATIENCE
            pause = min(pause, _CONTENTION_PAUSE * 2 ** min(doublings, _MOST_DOUBLINGS))
        return wanted + more, min(pause, _LEFT_SECONDS) if self._left else pause

    def _taken(self, free: Sequence[str], missing: int) -> list[str]:
        """Which lanes are taken of those that are free: of ours that have just ended, no more than are missing to our share."""
        now = time.monotonic()
        ended = [lane for lane in free if lane in self._lanes or self._left.get(lane, now) > now]
        new = [lane for lane in free if lane not in ended]
        again = max(0, missing - len(new))
        self._left = {lane: self._left.get(lane, now + _LEFT_SECONDS) for lane in ended[again:]}
        return [lane for lane in free if lane not in self._left]

    @property
    def _has_claimed(self) -> bool:
        return _CLAIM_SECONDS / 2 < self._claimed_until - self._database.clock() <= _CLAIM_SECONDS

    def _claim(self, tx: Transaction) -> None:
        """Ask the others for our share."""
        self._claimed_until = tx.now + _CLAIM_SECONDS
        lane_store.take(tx, self._name, [lane_store.claim(self._name)], _CLAIM_SECONDS)

    def _is_read_more(self, lane: str, low: Collection[str]) -> bool:
        """Whether more is read of a lane under way. What has places would overtake what a failure gives back just then."""
        return lane in low and not rules.is_in_order(lane)

    def _hold(self, tx: Transaction, underway: Underway, wanted: Collection[str], until: Instant) -> dict[str, Instant]:
        """Lease what is wanted, hold on to what goes on, give back what has ended; the lanes that are ours then."""
        needed = {*wanted, *underway.lanes}
        renewed = [lane for lane in self._lanes if lane in wanted or (lane in needed and self._lapses(lane, tx.now))]
        kept = [lane for lane in self._lanes if lane in needed and lane not in renewed]
        lane_store.give_back(tx, self._name, self._lanes.keys() - needed)
        longer = lane_store.renew(tx, self._name, renewed, self._lease)
        longer |= lane_store.take(tx, self._name, [lane for lane in wanted if lane not in self._lanes], self._lease)
        return {lane: self._lanes[lane] for lane in kept} | dict.fromkeys(longer, until)

    def _read(self, tx: Transaction, underway: Underway, lane: str, among: int) -> list[Delivery]:
        """What is to go out next in a lane that is ours.

        Little at first: every worker looks then, and the one that takes everybody's lanes may not have them for long. And were
        it always the same, all lanes would end at once.
        """
        known = underway.low.get(lane, ())
        share = READ * (0.5 + self._jitter() / 2) if self._lanes else FIRST_READ
        most = max(1, int(share / max(1, among))) + len(known)
        found = lane_store.next_of(tx, lane, most)
        (self._longer.add if len(found) == most else self._longer.discard)(lane)
        return [delivery for delivery in found if delivery.delivery_id not in known]

    def _settle(self, tx: Transaction) -> None:
        if not self._unwritten:
            return
        self._judge_parties(tx)
        outcomes = [(done, self._outcome(done)) for done in self._unwritten]
        settled = store.settle(tx, self._database.dialect, self._name, [(done.delivery, outcome) for done, outcome in outcomes])
        written = [(done, outcome) for done, outcome in outcomes if done.delivery.delivery_id in settled]
        tx.after_commit(lambda: _tell(written))

    def _outcome(self, done: Finished) -> Outcome:
        jitter = self._jitter() if done.result.verdict is Verdict.RETRY else 0.0
        return rules.outcome(done.delivery, done.result, done.at, jitter)

    def _judge_parties(self, tx: Transaction) -> None:
        """What a party makes of an attempt closes its circuit; attempts that have to be repeated open it."""
        judged = [done for done in self._unwritten if not done.result.ours]
        fine = {done.delivery.party for done in judged if done.result.verdict is not Verdict.RETRY}
        if fine:
            store.answered(tx, fine)
        bad = [done for done in judged if done.delivery.party not in fine]
        if not bad:
            return
        found = store.parties_of(tx, {done.delivery.party for done in bad})
        for done in bad:
            name, before = done.delivery.party, found.get(done.delivery.party)
            failures = 1 if before is None else before.failures + 1
            since = done.at if before is None else before.failing_since
            error = (done.result.error or "")[: rules.ERROR_LENGTH]
            found[name] = Party(name, failures, since, done.at + rules.open_for(failures, self._jitter()), error)
            if failures == rules.CIRCUIT_FAILURES:
                tx.after_commit(partial(audit.warn, "delivery.circuit_opened", client_id=name, error=error))
        store.failed(tx, self._database.dialect, found.values())

    def _sweep(self) -> None:
        """Let die what has expired, now and then: nothing is attempted while a circuit is open."""
        now = self._database.clock()
        if abs(now - self._swept_at) < _SWEEP_SECONDS:
            return
        with self._database.reading() as tx:
            first = store.first_expiry(tx)
        expired: Sequence[Delivery] = ()
        if first is not None and first <= now:
            with self._database.writing() as tx:
                tx.take_time()
                expired = store.expire(tx, _EXPIRED_AT_ONCE)
        for one in expired:
            audit.warn("delivery.died", **_what(one, one.last_status), error=one.last_error)
        if len(expired) < _EXPIRED_AT_ONCE:  # else the next look goes on with it
            self._swept_at = now

    def _measure(self) -> None:
        """Count what waits, now and then, and give up what is too much: a party that is away may not fill the disk."""
        now = self._database.clock()
        if abs(now - self._measured_at) < _MEASURE_SECONDS:
            return
        self._measured_at = now
        with self._database.reading() as tx:
            queue = store.queue(tx)
        if queue.depth > self._queue_limit:
            with self._database.writing() as tx:
                tx.take_time()
                count = store.give_up(tx, self._database.dialect, self._queue_limit, _GIVEN_UP_AT_ONCE, "the queue was full")
            if count == _GIVEN_UP_AT_ONCE:  # the next look goes on with it
                self._measured_at = float("-inf")
            if count:
                audit.warn("delivery.queue_full", limit=self._queue_limit, given_up=count)
        _DEPTH.set(queue.depth)
        _OLDEST.set(0.0 if queue.oldest_at is None else max(0.0, now - queue.oldest_at))


def _tell(written: Sequence[tuple[Finished, Outcome]]) -> None:
    delivered: list[Mapping[str, audit.Field]] = []
    for (delivery, _, at, _), outcome in written:
        what = _what(delivery, outcome.last_status)
        if outcome.delivered_at is not None:
            seconds = max(0.0, outcome.delivered_at - delivery.created_at)
            _seconds(delivery.kind).observe(seconds)
            delivered.append({**what, "ms": round(seconds * 1000)})
        elif outcome.dead_at is not None:
            audit.warn("delivery.died", **what, error=outcome.last_error)
        else:
            again_in = round(outcome.next_attempt_at - at, 1)
            audit.record("delivery.retried", **what, error=outcome.last_error, again_in=again_in)
    audit.record_each("delivery.delivered", delivered)


def _what(delivery: Delivery, status: int | None) -> dict[str, audit.Field]:
    return {
        "delivery_id": delivery.delivery_id,
        "kind": delivery.kind,
        "client_id": delivery.client_id,
        "sid": delivery.sid,
        "status": status,
        "attempts": delivery.attempts,
    }
