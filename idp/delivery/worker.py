"""Emptying the outbox: claim what is due, attempt it in parallel, write down what came of it.

One lane per client: at most one attempt of this process is in flight for each, so that N relying parties that hang
hold N threads, whatever waits for them, and nobody else is delayed while `concurrency` is larger than N. No connection
to the database is held during an attempt.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from random import SystemRandom

from prometheus_client import Histogram

from idp.delivery import answers, rules, store
from idp.delivery.rules import Composer, Delivery, Outcome, Result, Verdict
from idp.delivery.service import DeliveryService
from idp.runtime import audit
from idp.runtime.database import Database
from idp.runtime.outbound import Outbound, OutboundError, RefusedError

#: What a lease lasts beyond the longest attempt: time to sign and to write the outcome down.
LEASE_MARGIN = 10.0
#: Another worker took what we saw: look again soon, at what comes next in its lane.
_CONTENTION_PAUSE = 0.02
#: The database failed: try again after this long, or after the poll's pause where that is shorter.
_FAILURE_PAUSE = 1.0

_SECONDS = Histogram(
    "idp_delivery_seconds",
    "From the commit of what happened to its arrival at the relying party",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 86400),
)


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
        jitter: Callable[[], float] = SystemRandom().random,
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
        self._busy: set[str] = set()
        self._guard = threading.Lock()
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
                try:
                    pause = self._round(pool)
                except Exception as error:  # noqa: BLE001 - a database that is away comes back; the worker must be there
                    audit.warn("delivery.stalled", error=type(error).__name__)
                    pause = min(self._poll_seconds, _FAILURE_PAUSE)
                self._woken.wait(pause)

    def _round(self, pool: Executor) -> float:
        """Claim what is due and can be attempted now. Returns the seconds until there may be more of it."""
        with self._guard:
            busy = set(self._busy)
        free = self._concurrency - len(busy)
        if free <= 0:
            return self._poll_seconds
        with self._database.reading() as tx:
            wanted = [head.delivery_id for head in store.heads(tx) if head.client_id not in busy][:free]
            next_due = store.next_due(tx)
            pause = self._poll_seconds if next_due is None else min(self._poll_seconds, next_due - tx.now)
        if not wanted:
            return pause
        with self._database.writing() as tx:
            claimed = store.claim(tx, wanted, tx.now + self._lease)
        with self._guard:
            self._busy.update(delivery.client_id for delivery in claimed)
        for delivery in claimed:
            pool.submit(self._attempt, delivery)
        return pause if len(claimed) == len(wanted) else _CONTENTION_PAUSE

    def _attempt(self, delivery: Delivery) -> None:
        try:
            self._settle(delivery, self._result(delivery))
        except Exception as error:  # noqa: BLE001 - the lease passes, and somebody attempts it again
            audit.warn("delivery.unsettled", delivery_id=delivery.delivery_id, error=type(error).__name__)
        finally:
            with self._guard:
                self._busy.discard(delivery.client_id)
            self._woken.set()

    def _result(self, delivery: Delivery) -> Result:
        """Attempt it. Whatever goes wrong is a result: one delivery must not stop the others."""
        now = self._database.clock()
        if delivery.expires_at <= now:
            return Result(Verdict.DEAD, delivery.last_status, f"expired; {delivery.last_error or 'never attempted'}")
        composer = self._composers.get(delivery.kind)
        if composer is None:
            return Result(Verdict.RETRY, error="this worker knows no such kind")
        try:
            message = composer(delivery, now)
            answer = self._outbound.post(delivery.uri, body=message.body, content_type=message.content_type)
        except RefusedError as error:
            return Result(Verdict.DEAD, error=str(error))
        except OutboundError as error:
            return Result(Verdict.RETRY, error=str(error))
        except Exception as error:  # noqa: BLE001 - its text may hold what was to be sent, so only its name is kept
            return Result(Verdict.RETRY, error=f"the attempt failed here: {type(error).__name__}")
        return answers.result_of(answer, self._database.clock())

    def _settle(self, delivery: Delivery, result: Result) -> None:
        outcome = rules.outcome(delivery, result, self._database.clock(), self._jitter())
        with self._database.writing() as tx:
            if store.settle(tx, delivery, outcome):
                tx.after_commit(lambda: _tell(delivery, outcome))


def _tell(delivery: Delivery, outcome: Outcome) -> None:
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
        again_in = round(outcome.next_attempt_at - (delivery.leased_until or 0), 1)
        audit.record("delivery.retried", **what, **how, error=outcome.last_error, again_in=again_in)
