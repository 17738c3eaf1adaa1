"""The database's side of delivering: what is due is claimed, what came of attempts is written down.

Outcomes that came in together are written together, with the next claims, in one commit.
"""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

from prometheus_client import Gauge, Histogram

from idp.delivery import rules, store
from idp.delivery.rules import Delivery, Outcome, Party, Result, Verdict
from idp.runtime import audit
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction

#: What one worker claims at once, of all lanes together: so much may arrive a second time when it is killed.
CLAIMED = 1600
#: And as long as nothing is under way.
FIRST_CLAIMED = 160
#: Something is due in a lane that was not taken, or not to be had: look again soon.
_CONTENTION_PAUSE = 0.02
#: How often a lane that has just ended is left to whoever comes first, so that other workers have their turn.
_LEFT = 0.25
_MEASURE_SECONDS = 5.0

_SECONDS = Histogram(
    "idp_delivery_seconds",
    "From the commit of what happened to its arrival at the relying party",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 86400),
)
_DEPTH = Gauge("idp_delivery_queue_depth", "Deliveries that wait or are in flight", multiprocess_mode="livemostrecent")
_OLDEST = Gauge(
    "idp_delivery_queue_oldest_seconds", "The age of the oldest of them in seconds", multiprocess_mode="livemostrecent"
)


class Finished(NamedTuple):
    """An attempt."""

    delivery: Delivery
    result: Result
    at: Instant


class Ended(NamedTuple):
    """A lane is free again. `left` is what was claimed and not attempted."""

    lane: str
    until: Instant
    left: Sequence[Delivery]


class Round(NamedTuple):
    """What follows from a look at the database: what to attempt, lane by lane, and for how many seconds that is all.

    `spent` is the processor time that the look took, in seconds.
    """

    batches: list[list[Delivery]]
    pause: float
    spent: float


class Ledger:
    """One worker's. `lease` is in seconds; at most `concurrency` lanes are claimed at once."""

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
        # What is not written down yet, and each lane in flight with the end of its lease.
        self._unwritten: list[Finished] = []
        self._ended: list[Ended] = []
        self._lanes: dict[str, Instant] = {}
        self._measured_at = float("-inf")

    @property
    def unwritten(self) -> int:
        """How many outcomes are not written down yet."""
        return len(self._unwritten)

    @property
    def in_flight(self) -> int:
        """In how many lanes something is under way."""
        return len(self._lanes)

    def take_in(self, news: Sequence[Finished | Ended]) -> None:
        """What attempts came to. It is kept until it is written down, or until another worker answers for it."""
        self._ended += [one for one in news if isinstance(one, Ended)]
        self._unwritten += [one for one in news if isinstance(one, Finished)]
        now = self._database.clock()
        self._unwritten = [
            done
            for done in self._unwritten
            # An arrival is worth writing down at any time; the rest would be refused by `store.settle_other` from then on.
            if done.result.verdict is Verdict.DELIVERED or (done.delivery.leased_until or 0.0) > now
        ]

    def look(self, low: Collection[str] = ()) -> Round:
        """Write down what came of attempts and claim what is due: one commit for all. `low` are our lanes that run out soon."""
        began = time.thread_time()
        self._measure()
        if not self._unwritten and not self._ended:
            # Nothing to write, most of the time: the writer's lock is not taken to find that out.
            with self._database.reading() as tx:
                wanted, pause = self._due(tx, low)
            if not wanted:
                return Round([], pause, time.thread_time() - began)
        with self._database.writing() as tx:
            self._settle(tx)
            wanted, pause = self._due(tx, low)
            lanes = len(self._lanes.keys() | set(wanted))
            batches = [store.claim(tx, lane, self._share(lanes), tx.now + self._lease) for lane in wanted]
        self._forget_written()
        if not all(batches):  # another worker took what we saw
            pause = min(pause, _CONTENTION_PAUSE)
        batches = [batch for batch in batches if batch]
        self._lanes |= {batch[0].lane: batch[0].leased_until or 0.0 for batch in batches}
        return Round(batches, pause, time.thread_time() - began)

    def write_down(self) -> None:
        """Write down what came of attempts, and claim nothing."""
        with self._database.writing() as tx:
            self._settle(tx)
        self._forget_written()

    def _due(self, tx: Transaction, low: Collection[str]) -> tuple[list[str], float]:
        """The lanes to claim, and for how long there will be nothing else."""
        ended = {end.lane for end in self._ended}
        ours = {lane for lane, until in self._lanes.items() if until > tx.now and lane not in ended}
        found = store.heads(tx)
        more = [head.lane for head in found if head.lane in ours and head.lane in low and self._jitter() >= _LEFT]
        heads = [head for head in found if head.lane not in ours]
        free = [head.lane for head in heads if not head.taken and (head.lane not in ended or self._jitter() >= _LEFT)]
        wanted = free[: max(0, self._concurrency - len(ours))]
        next_due = store.next_due(tx)
        pause = self._poll_seconds if next_due is None else min(self._poll_seconds, next_due - tx.now)
        if len(wanted) < len(heads) and len(low) == len(ours):  # who has little to do tries again soon
            pause = min(pause, _CONTENTION_PAUSE)
        return wanted + more, pause

    def _share(self, lanes: int) -> int:
        """How much to claim of each of so many lanes.

        Little where nothing is under way: every worker looks then, and the first may not take everybody's lanes for long.
        And were it always the same, all lanes would end at once.
        """
        claimed = CLAIMED * (0.5 + self._jitter() / 2) if self._lanes else FIRST_CLAIMED
        return max(1, int(claimed / max(1, lanes)))

    def _settle(self, tx: Transaction) -> None:
        self._judge_parties(tx)
        outcomes = [(done, self._outcome(done)) for done in self._unwritten]
        arrived = [(done.delivery, outcome) for done, outcome in outcomes if outcome.delivered_at is not None]
        if arrived:
            store.settle_arrived(tx, self._database.dialect, arrived)
        written = [
            (done, outcome)
            for done, outcome in outcomes
            if outcome.delivered_at is not None or store.settle_other(tx, done.delivery, outcome)
        ]
        for end in self._ended:
            for _, left in groupby(end.left, key=lambda delivery: delivery.leased_until):
                store.release(tx, list(left))
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
        for done in judged:
            party = done.delivery.party
            if party in fine:
                continue
            before = store.party(tx, party)
            failures = 1 if before is None else before.failures + 1
            since = done.at if before is None else before.failing_since
            error = (done.result.error or "")[: rules.ERROR_LENGTH]
            open_until = done.at + rules.open_for(failures, self._jitter())
            store.failed(tx, self._database.dialect, Party(party, failures, since, open_until, error))
            if failures == rules.CIRCUIT_FAILURES:
                tx.after_commit(partial(audit.warn, "delivery.circuit_opened", client_id=party, error=error))

    def _forget_written(self) -> None:
        for end in self._ended:
            if self._lanes.get(end.lane) == end.until:
                del self._lanes[end.lane]
        self._ended = []
        self._unwritten = []

    def _measure(self) -> None:
        """Count what waits, now and then, and give up what is too much: a party that is away may not fill the disk."""
        now = self._database.clock()
        if abs(now - self._measured_at) < _MEASURE_SECONDS:
            return
        self._measured_at = now
        with self._database.reading() as tx:
            queue = store.queue(tx)
        surplus = queue.depth - self._queue_limit
        if surplus > 0:
            with self._database.writing() as tx:
                count = store.give_up(tx, surplus, "the queue was full")
            audit.warn("delivery.queue_full", limit=self._queue_limit, given_up=count)
        _DEPTH.set(queue.depth)
        _OLDEST.set(0.0 if queue.oldest_at is None else max(0.0, now - queue.oldest_at))


def _tell(written: Sequence[tuple[Finished, Outcome]]) -> None:
    for (delivery, _, at), outcome in written:
        what = {
            "delivery_id": delivery.delivery_id,
            "kind": delivery.kind,
            "client_id": delivery.client_id,
            "sid": delivery.sid,
        }
        how = {"status": outcome.last_status, "attempts": delivery.attempts}
        if outcome.delivered_at is not None:
            seconds = max(0.0, outcome.delivered_at - delivery.created_at)
            _SECONDS.labels(delivery.kind).observe(seconds)
            audit.record("delivery.delivered", **what, **how, ms=round(seconds * 1000))
        elif outcome.dead_at is not None:
            audit.warn("delivery.died", **what, **how, error=outcome.last_error)
        else:
            again_in = round(outcome.next_attempt_at - at, 1)
            audit.record("delivery.retried", **what, **how, error=outcome.last_error, again_in=again_in)
