"""One line of the table: what a case achieved, and who used the cores meanwhile."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import psutil

from benchmarks import load
from benchmarks.cases import Case, FailedRequestError
from benchmarks.load import Tally
from benchmarks.servers import cpu_seconds

CORES = os.cpu_count() or 1
_MILLISECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Figures:
    """Rates are per second, latencies in milliseconds at full load, shares are of all cores together (1.0).

    `signing` is signatures per second over the bare limit. `other_share` is everybody else: PostgreSQL, and whatever
    else runs on this machine. `balance` is the idlest worker's processor time over the busiest one's.
    """

    database: str
    workers: int
    case: str
    connections: int
    requests: int
    rate: float
    p50: float
    p99: float
    signatures: float
    signing: float | None
    server_share: float
    load_share: float
    other_share: float
    balance: float

    def shown(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


class Watch:
    """Who uses the cores while a case runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.server: list[float] = []
        self.everybody = 0.0
        self.seconds = 0.0

    def __call__(self, seconds: float) -> None:
        """Look, sleep through the measured time, look again."""
        began, busy, server = time.perf_counter(), _busy(), cpu_seconds(self._pid)
        time.sleep(seconds)
        self.server = [after - before for before, after in zip(server, cpu_seconds(self._pid), strict=True)]
        self.everybody = _busy() - busy
        self.seconds = time.perf_counter() - began


def _busy() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


@dataclass(frozen=True)
class Bench:
    """Where and how long cases run. `limit` is the bare signatures per second of as many processes as workers."""

    database: str
    workers: int
    pid: int
    port: int
    seconds: float
    limit: float
    verify: Callable[[Sequence[bytes]], None]

    def measure(self, lanes: Sequence[Case]) -> Figures:
        """Run one case. Raises FailedRequestError at the first answer that is not right, and what `verify` raises."""
        watch = Watch(self.pid)
        processes = min(CORES, len(lanes))
        tallies = load.run(self.port, lanes, processes, self.seconds, watch)
        case = lanes[0]
        failure = next((tally.failure for tally in tallies if tally.failure), None)
        if failure is not None:
            message = f"{case.name} on {self.database} with {self.workers} workers: {failure}"
            raise FailedRequestError(message)
        if case.signatures:
            self.verify([body for tally in tallies for body in tally.sample])
        return self._figures(case, len(lanes), tallies, watch)

    def _figures(self, case: Case, connections: int, tallies: Sequence[Tally], watch: Watch) -> Figures:
        latencies = sorted(latency for tally in tallies for latency in tally.latencies)
        rate = sum(tally.requests / tally.seconds for tally in tallies)
        server, load_cpu = sum(watch.server) / watch.seconds, sum(tally.cpu_seconds / tally.seconds for tally in tallies)
        others = max(0.0, watch.everybody / watch.seconds - server - load_cpu)
        busiest = sorted(watch.server, reverse=True)[: self.workers]
        return Figures(
            database=self.database,
            workers=self.workers,
            case=case.name,
            connections=connections,
            requests=len(latencies),
            rate=rate,
            p50=quantile(latencies, 0.50),
            p99=quantile(latencies, 0.99),
            signatures=rate * case.signatures,
            signing=rate * case.signatures / self.limit if case.signatures else None,
            server_share=server / CORES,
            load_share=load_cpu / CORES,
            other_share=others / CORES,
            balance=busiest[-1] / busiest[0] if busiest[0] else 0.0,
        )


def quantile(latencies: Sequence[int], part: float) -> float:
    """So much of the sorted `latencies` is at most so many milliseconds."""
    return latencies[min(len(latencies) - 1, int(part * len(latencies)))] / _MILLISECONDS if latencies else 0.0
