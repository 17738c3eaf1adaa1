"""Emptying the outbox: claim what is due, attempt it in parallel, write down what came of it.

One lane per client: at most one attempt of this process is in flight for each, so that N relying parties that hang
hold N threads, whatever waits for them, and nobody else is delayed while `concurrency` is larger than N.

One thread speaks to the database, the others only make requests: outcomes that came in together are written together,
with the next claims, in one commit, and no connection is held during an attempt.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from random import SystemRandom
from typing import NamedTuple

from prometheus_client import Gauge, Histogram

from idp.delivery import rules, store
from idp.delivery.attempt import attempt
from idp.delivery.rules import Composer, Delivery, Outcome, Party, Result, Verdict
from idp.delivery.service import DeliveryService
from idp.runtime import audit
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.outbound import Outbound

#: What a lease lasts beyond the longest attempt: time to sign and to write the outcome down.
LEASE_MARGIN = 10.0
#: Another worker took what we saw: look again soon, at what comes next in its lane.
_CONTENTION_PAUSE = 0.02
#: The database failed: try again after this long, or after the poll's pause where that is shorter.
_FAILURE_PAUSE = 1.0

_random = SystemRandom()
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
_MEASURE_SECONDS = 5.0


class Worker:
    """Delivers until it is stopped. Several may run, in one process or in many: a lease keeps them apart.

    `composers` makes the message of each kind at each attempt. `lease` is in seconds; a delivery whose worker died is
    taken over when it has passed. Raises ValueError for one that an attempt could outlive.
    """

    def __init__(
        self,
        database: Database,
        service: DeliveryService,
        outbound: Outbound,
        composers: Mapping[str, Composer],
        *,
        concurrency: int = 64,
        poll_seconds: float = 0.5,
        lease: float | None = None,
        jitter: Callable[[], float] = _random.random,
    ) -> None:
        self._database = database
        self._outbound = outbound
        self._composers = composers
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._lease = outbound.timeout + LEASE_MARGIN if lease is None else lease
        if self._lease <= outbound.timeout:
            message = "a lease must be longer than the time-out of an attempt: two workers would attempt at once"
            raise ValueError(message)
        self._jitter = jitter
        # What came of attempts: their threads put it there, and never see the database.
        self._finished: SimpleQueue[_Finished] = SimpleQueue()
        # The loop's own: what is not written down yet, and each client in flight with the end of its lease.
        self._unwritten: list[_Finished] = []
        self._lanes: dict[str, Instant] = {}
        self._measured_at = float("-inf")
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        service.when_woken(self._woken.set)

    def start(self) -> None:
        """Deliver in a thread of this process."""
        self._thread = threading.Thread(target=self.run_forever, name="idp-delivery", daemon=True)
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Take nothing more, and wait for the attempts in flight; False when `timeout` seconds did not suffice.

        What was not finished then is due again when its lease has passed.
        """
        self._stopping.set()
        self._woken.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def run_forever(self) -> None:
        """Deliver in this thread until `stop` is called."""
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="idp-delivery") as pool:
            while not self._stopping.is_set():
                self._woken.clear()  # before looking: what is committed after the look sets it again
                self._woken.wait(self._carefully(lambda: self._round(pool)))
        # Every attempt has ended now.
        self._carefully(self._last_round)

    def _carefully(self, work: Callable[[], float]) -> float:
        """A database that is away comes back, and the worker must be there: a failure is only a pause."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever it was, the next round begins afresh
            audit.warn("delivery.stalled", error=type(error).__name__, unwritten=len(self._unwritten))
            return min(self._poll_seconds, _FAILURE_PAUSE)

    def _round(self, pool: Executor) -> float:
        """Write down what came of attempts and claim what is due: one commit for all. Returns seconds to rest."""
        self._collect()
        self._measure()
        if not self._unwritten:
            # Nothing to write, most of the time: the writer's lock is not taken to find that out.
            with self._database.reading() as tx:
                wanted, pause = self._due(tx)
            if not wanted:
                return pause
        with self._database.writing() as tx:
            self._settle(tx)
            wanted, pause = self._due(tx)
            claimed = store.claim(tx, wanted, tx.now + self._lease) if wanted else []
        self._free_lanes()
        for delivery in claimed:
            self._lanes[delivery.client_id] = delivery.leased_until or 0.0
            pool.submit(self._attempt, delivery)
        return pause if len(claimed) == len(wanted) else _CONTENTION_PAUSE

    def _measure(self) -> None:
        """Count what waits, now and then."""
        now = self._database.clock()
        if abs(now - self._measured_at) < _MEASURE_SECONDS:
            return
        self._measured_at = now
        with self._database.reading() as tx:
            queue = store.queue(tx)
        _DEPTH.set(queue.depth)
        _OLDEST.set(0.0 if queue.oldest_at is None else max(0.0, now - queue.oldest_at))

    def _last_round(self) -> float:
        self._collect()
        with self._database.writing() as tx:
            self._settle(tx)
        return 0.0

    def _due(self, tx: Transaction) -> tuple[list[str], float]:
        """The deliveries to claim, one for each free lane, and for how long there will be nothing else."""
        done = {one.delivery.client_id for one in self._unwritten}
        taken = {client_id for client_id, until in self._lanes.items() if until > tx.now and client_id not in done}
        free = max(0, self._concurrency - len(taken))
        wanted = [head.delivery_id for head in store.heads(tx) if head.client_id not in taken][:free]
        next_due = store.next_due(tx)
        return wanted, self._poll_seconds if next_due is None else min(self._poll_seconds, next_due - tx.now)

    def _attempt(self, delivery: Delivery) -> None:
        result = attempt(delivery, self._composers, self._outbound, self._database.clock)
        self._finished.put(_Finished(delivery, result, self._database.clock()))
        self._woken.set()

    def _collect(self) -> None:
        """Take in what attempts came to. It stays until it is written down, or until another worker answers for it."""
        while not self._finished.empty():
            self._unwritten.append(self._finished.get())
        now = self._database.clock()
        self._unwritten = [
            done
            for done in self._unwritten
            # An arrival is worth writing down at any time; the rest would be refused by `store.settle` from then on.
            if done.result.verdict is Verdict.DELIVERED or (done.delivery.leased_until or 0.0) > now
        ]

    def _judge_parties(self, tx: Transaction) -> None:
        """What a party makes of an attempt closes its circuit; attempts that have to be repeated open it."""
        fine = {done.delivery.client_id for done in self._unwritten if done.result.verdict is not Verdict.RETRY}
        if fine:
            store.answered(tx, fine)
        for done in self._unwritten:
            client_id = done.delivery.client_id
            if client_id in fine:
                continue
            before = store.party(tx, client_id)
            failures = 1 if before is None else before.failures + 1
            since = done.at if before is None else before.failing_since
            error = (done.result.error or "")[: rules.ERROR_LENGTH]
            open_until = done.at + rules.open_for(failures, self._jitter())
            store.failed(tx, self._database.dialect, Party(client_id, failures, since, open_until, error))
            if failures == rules.CIRCUIT_FAILURES:
                tx.after_commit(partial(audit.warn, "delivery.circuit_opened", client_id=client_id, error=error))

    def _settle(self, tx: Transaction) -> None:
        self._judge_parties(tx)
        for delivery, result, at in self._unwritten:
            outcome = rules.outcome(delivery, result, at, self._jitter())
            if store.settle(tx, delivery, outcome):
                tx.after_commit(partial(_tell, delivery, outcome, at))

    def _free_lanes(self) -> None:
        for done in self._unwritten:
            if self._lanes.get(done.delivery.client_id) == done.delivery.leased_until:
                del self._lanes[done.delivery.client_id]
        self._unwritten = []


class _Finished(NamedTuple):
    delivery: Delivery
    result: Result
    at: Instant


def _tell(delivery: Delivery, outcome: Outcome, at: Instant) -> None:
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
