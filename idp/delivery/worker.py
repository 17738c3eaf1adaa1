"""Emptying the outbox: lease lanes in which something is due, attempt it in parallel, write down what came of it.

One lane per client, unless it is given more: in a lane at most one attempt is in flight, whatever the number of
processes, so that N relying parties that hang hold N places, whatever waits for them, and nobody else is delayed while
`concurrency` is larger than N. What waits in a lane is read together, and goes out over one connection while it is
answered: the first attempt that fails gives the lane back.

Attempts are made in an event loop, and the database is spoken to in a thread beside it (`ledger`): no connection to the
database is held during an attempt. Nothing that may block is done in the loop itself, for all lanes would wait for it:
messages are made in threads as well (`composing`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import SystemRandom

import uvloop

from idp.delivery.attempt import attempt
from idp.delivery.composing import Composing
from idp.delivery.outbox_session import Finished, OutboxSession, Round, Underway
from idp.delivery.rules import Composer, Delivery, Result, Verdict
from idp.delivery.service import DeliveryService
from idp.runtime import audit
from idp.runtime.availability import is_told
from idp.runtime.clock import Instant
from idp.runtime.database import Database
from idp.runtime.outbound.client import Line, Outbound
from idp.runtime.pool import Pool
from idp.runtime.supervision import SLACK, Supervised

#: What a lease lasts beyond the longest attempt: time to sign and to write the outcome down.
LEASE_MARGIN = 10.0
#: The database failed: try again after this long, or after the poll's pause where that is shorter.
_FAILURE_PAUSE = 1.0
#: While a lane is in flight, what it has brought so far is written down this often.
_WRITING_PAUSE = 0.1
#: The database is asked no sooner than this again while lanes are in flight, and for no more than a sixth of a core: lanes
#: that end one shortly after another are seen to together.
_PACE = 0.005
_SHARE = 5
_LONGEST_PACE = 0.1
#: So much is to be left to attempt while the database is asked: more is read of a lane that has less than this divided by the
#: number of lanes under way.
_LOW = 400
#: An attempt that takes longer is noted in its row, for operators to see; most are over before the next look.
_SLOW = 0.1

_random = SystemRandom()


@dataclass(slots=True)
class _Run:
    """A lane that is ours until `until`: what is still to be attempted, and what is being attempted since `since`.

    `is_cut`: it ended before everything had arrived or died, and what is left is to be read anew.
    """

    queue: deque[Delivery]
    until: Instant
    current: Delivery | None = None
    since: float = 0.0
    is_noted: bool = False
    is_cut: bool = False

    @property
    def is_slow(self) -> bool:
        """Whether its attempt takes long: it is to be noted, and nothing runs out soon."""
        return self.current is not None and time.monotonic() - self.since > _SLOW

    @property
    def known(self) -> set[str]:
        """What need not be read again."""
        known = {delivery.delivery_id for delivery in self.queue}
        return known if self.current is None else known | {self.current.delivery_id}


class Worker:
    """Delivers until it is stopped. Several may run, in one process or in many: leases of lanes keep them apart.

    `composers` makes the message of each kind at each attempt. `lease` is in seconds; a lane whose worker died is
    taken over when it has passed. Raises ValueError for one that an attempt could outlive. More than `queue_limit` do not
    wait: what failed most often is given up.
    """

    def __init__(
        self,
        database: Database,
        service: DeliveryService,
        outbound: Outbound,
        composers: Mapping[str, Composer],
        *,
        concurrency: int = 256,
        poll_seconds: float = 0.5,
        lease: float | None = None,
        queue_limit: int = 1_000_000,
        jitter: Callable[[], float] = _random.random,
    ) -> None:
        self._clock = database.clock
        self._outbound = outbound
        self._composers = composers
        self._poll_seconds = poll_seconds
        lease = outbound.timeout + LEASE_MARGIN if lease is None else lease
        if lease <= outbound.timeout:
            message = "a lease must be longer than the time-out of an attempt: two workers would attempt at once"
            raise ValueError(message)
        self._ledger = OutboxSession(
            database,
            concurrency=concurrency,
            poll_seconds=poll_seconds,
            lease=lease,
            queue_limit=queue_limit,
            jitter=jitter,
        )
        self._runs: dict[str, _Run] = {}
        self._news: list[Finished] = []
        # A thread each for the two questions that are asked of the database, so that one that hangs does not keep the other.
        self._asking, self._glancing = Pool(1, "idp-ledger"), Pool(1, "idp-glance")
        self._making = Pool(concurrency, "idp-compose")
        self._stopping = False
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.thread = Supervised("idp-delivery", self.run_forever, poll_seconds + SLACK)
        service.when_woken(self._wake)

    def start(self) -> None:
        """Deliver in a thread of this process."""
        self.thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Take nothing more, and wait for the attempts in flight; False when `timeout` seconds did not suffice.

        What came of each is written down, and its lane given back, as it ends. A lane whose attempt has not ended then
        keeps its lease, and what waits in it is due when that has passed: whoever took it sooner would attempt beside us.
        """
        self._stopping = True
        self.thread.stop()
        self._wake()
        return self.thread.join(timeout)

    def run_forever(self) -> None:
        """Deliver in this thread until `stop` is called."""
        uvloop.run(self._deliver())

    def _wake(self) -> None:
        """Look again. Any thread may say so."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has stopped meanwhile
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _deliver(self) -> None:
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        self._runs = {}  # a loop that came to its end took them with it: what was in flight there is due again
        self._composing = Composing(self._making, self._outbound.timeout)
        async with asyncio.TaskGroup() as lanes:
            while self._runs or not self._stopping:
                self.thread.beat()
                underway, before = self._underway(), dict(self._runs)
                self._woken.clear()  # before looking: what is committed after the look sets it again
                found = await self._look(partial(self._ledger.look, underway))
                self._take_note(found, underway)
                for lane, run in self._begin(found, before):
                    lanes.create_task(self._run(lane, run))
                pause = found.pause
                if self._ledger.in_flight:
                    await asyncio.sleep(min(max(_PACE, _SHARE * found.spent), _LONGEST_PACE))
                    pause = min(pause, _WRITING_PAUSE)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
        # Every attempt has ended now.
        await self._look(self._finish)

    def _underway(self) -> Underway:
        few = _LOW / max(1, len(self._runs))
        low = {lane: run.known for lane, run in self._runs.items() if len(run.queue) <= few and not run.is_slow}
        slow = [run.current for run in self._runs.values() if run.current is not None and run.is_slow and not run.is_noted]
        is_idle = all(len(run.queue) <= few for run in self._runs.values())
        return Underway(frozenset(self._runs), low, slow, is_idle, self._woken.is_set(), self._stopping)

    def _take_note(self, found: Round, underway: Underway) -> None:
        for lane, until in found.leases.items():
            if lane in self._runs:
                self._runs[lane].until = until
        if found.leases:  # it was written down
            for run in self._runs.values():
                run.is_noted = run.is_noted or run.current in underway.slow

    def _begin(self, found: Round, before: Mapping[str, _Run]) -> list[tuple[str, _Run]]:
        """Add what was read to the runs under way; those that are to begin. `before`: the runs when the look began.

        What was read of a lane whose run was cut meanwhile is let go: what the run gave back comes before it.
        """
        begun = []
        for lane, batch in found.batches.items():
            if lane in self._runs:
                self._runs[lane].queue += batch
            elif lane not in before or not before[lane].is_cut:
                self._runs[lane] = _Run(deque(batch), found.leases[lane])
                begun.append((lane, self._runs[lane]))
        return begun

    async def _look(self, work: Callable[[], Round]) -> Round:
        """A database that is away comes back, and the worker must be there: a failure is only a pause."""
        news, self._news = self._news, []
        self._ledger.take_in(news)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._asking, work)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next round begins afresh
            self._stalled(error)
            return Round({}, {}, min(self._poll_seconds, _FAILURE_PAUSE), 0.0)

    def _stalled(self, error: Exception) -> None:
        if not is_told(error):
            audit.warn("delivery.stalled", error=type(error).__name__, unwritten=self._ledger.unwritten)

    def _finish(self) -> Round:
        self._ledger.write_down()
        return Round({}, {}, 0.0, 0.0)

    async def _run(self, lane: str, run: _Run) -> None:
        """Attempt what was read of one lane, one after another, while it is ours. More may be read meanwhile."""
        try:
            async with self._outbound.line() as line:
                while run.queue and not self._stopping and self._is_ours(run):
                    if not await self._may_go(run.queue[0]):
                        break
                    run.current, run.since, run.is_noted = run.queue.popleft(), time.monotonic(), False
                    result = await self._attempt(run.current, run, line)
                    self._finished(run, result)
                    run.is_cut = result.verdict is Verdict.RETRY
                    if run.is_cut:
                        break
        except Exception as error:  # noqa: BLE001 - one lane must not take the others with it
            audit.fail("delivery.lane_failed", error, lane=lane)
            run.is_cut = True
            self._finished(run, Result(Verdict.RETRY, error=f"the attempt failed here: {type(error).__name__}", ours=True))
        run.is_cut = run.is_cut or bool(run.queue)
        del self._runs[lane]  # from here on what is read of this lane begins a run of its own
        self._woken.set()

    async def _attempt(self, delivery: Delivery, run: _Run, line: Line) -> Result:
        return await attempt(delivery, self._composers, self._composing, line, self._clock, partial(self._is_ours, run))

    def _is_ours(self, run: _Run) -> bool:
        """Whether the lane is ours for as long as an exchange may take."""
        return run.until - self._clock() > self._outbound.timeout

    def _finished(self, run: _Run, result: Result) -> None:
        """What came of the attempt under way, if there is one."""
        if run.current is not None:
            self._news.append(Finished(run.current, result, self._clock(), run.until))
            run.current = None

    async def _may_go(self, delivery: Delivery) -> bool:
        """Whether it was not withdrawn since it was read: that of a stream is, for which nothing may go out from then on."""
        if delivery.place is None:
            return True
        try:
            return await asyncio.get_running_loop().run_in_executor(self._glancing, self._ledger.is_pending, delivery)
        except Exception as error:  # noqa: BLE001 - whatever it was, the lane is given back, and read again
            self._stalled(error)
            return False
