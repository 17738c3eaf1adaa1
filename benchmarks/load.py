"""The load: a few processes, each with several connections, asking as fast as they are answered (a closed loop)."""

import multiprocessing
import random
import selectors
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError

from benchmarks.cases import Case, FailedRequestError
from benchmarks.lane import BrokenAnswerError, Lane

WARM_UP = 0.5
#: Whatever the time: no case asks more often than this, in all connections together.
MAXIMUM_REQUESTS = 500_000
SAMPLE = 24
_START_SECONDS = 30
_PATIENCE = 60
_NANOSECONDS = 1e9


@dataclass
class Tally:
    """What one load process saw in the measured time.

    `latencies` are nanoseconds; `moments` say when each ended, as every process of this machine reads its monotonic clock.
    """

    latencies: "array[int]" = field(default_factory=lambda: array("q"))
    moments: "array[int]" = field(default_factory=lambda: array("q"))
    sample: list[bytes] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    failure: str = ""

    @property
    def requests(self) -> int:
        """How many answers came."""
        return len(self.latencies)

    def add(self, sent: int, came: int, body: bytes) -> None:
        """Count an answer, and keep its body with the same chance as every other's (reservoir sampling)."""
        self.latencies.append(came - sent)
        self.moments.append(came)
        if len(self.sample) < SAMPLE:
            self.sample.append(body)
        elif (place := random.randrange(self.requests)) < SAMPLE:
            self.sample[place] = body


def run(
    port: int, lanes: Sequence[Case], processes: int, seconds: float, watch: Callable[[float], None], *, rest: float = 0.0
) -> list[Tally]:
    """Load the server at `port`, the lanes shared out over the processes. Each rests for `rest` seconds after an answer.

    `watch` is called in this process once the lanes are warm, with the seconds that are measured, and must take them.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    limit = MAXIMUM_REQUESTS // processes
    workers, ends = [], []
    for index in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        arguments = (port, list(lanes[index::processes]), seconds, rest, limit, barrier, theirs)
        workers.append(context.Process(target=_work, args=arguments, name="idp-bench-load", daemon=True))
        ends.append(ours)
    started = []
    try:
        for worker in workers:
            worker.start()
            started.append(worker)
        barrier.wait(_START_SECONDS)
        time.sleep(WARM_UP)
        watch(seconds)
        return [_result(end) for end in ends]
    except BrokenBarrierError:  # one of them failed before the start, and says why
        return [_result(end) for end in ends]
    finally:
        for worker in started:
            worker.join(5)
            worker.kill()
            worker.join()


def _result(end: Connection) -> Tally:
    if not end.poll(_PATIENCE):
        return Tally(failure="a load process did not end in time")
    try:
        tally: Tally = end.recv()
    except EOFError:
        return Tally(failure="a load process died")
    return tally


def _work(port: int, cases: list[Case], seconds: float, rest: float, limit: int, barrier: Barrier, result: Connection) -> None:
    tally = Tally()
    try:
        lanes = [(Lane(port), case) for case in cases]
        barrier.wait(_START_SECONDS)
        _drive(lanes, WARM_UP, rest, limit, Tally())
        began, cpu = time.perf_counter(), time.process_time()
        _drive(lanes, seconds, rest, limit, tally)
        tally.seconds, tally.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    except BrokenBarrierError:
        tally.failure = "another load process failed"
    except (FailedRequestError, BrokenAnswerError, OSError, ValueError) as error:
        barrier.abort()
        tally.failure = f"{type(error).__name__}: {error}"
    result.send(tally)


def _drive(lanes: list[tuple[Lane, Case]], seconds: float, rest: float, limit: int, tally: Tally) -> None:
    """Ask on every lane until the time or the count is over; then wait for what is under way, so that no chain is torn."""
    now = time.perf_counter_ns
    end = now() + int(seconds * _NANOSECONDS)
    sent: dict[Lane, int] = {}
    resting: deque[tuple[int, Lane, Case]] = deque()
    with selectors.DefaultSelector() as selector:
        for lane, case in lanes:
            selector.register(lane, selectors.EVENT_READ, case)
            sent[lane] = now()
            lane.send(case.request())
        while sent or resting:
            while resting and resting[0][0] <= now():
                _, lane, case = resting.popleft()
                sent[lane] = now()
                lane.send(case.request())
            ready = selector.select((resting[0][0] - now()) / _NANOSECONDS if resting else _START_SECONDS)
            if not ready and not resting:
                message = f"no answer within {_START_SECONDS} s"
                raise BrokenAnswerError(message)
            for key, _ in ready:
                lane, case = key.fileobj, key.data
                answer = lane.receive()
                if answer is None:
                    continue
                came = now()
                case.check(answer)
                began = sent.pop(lane)
                if came < end and tally.requests < limit:
                    tally.add(began, came, answer.body)
                    resting.append((came + int(rest * _NANOSECONDS), lane, case))
