"""`python -m benchmarks`: requests per second and latencies of a real `idp serve`, beside what this machine can do at most."""

import signal
import sys
from collections.abc import Callable, Sequence

import click

from benchmarks import draining, following, limits, locally, report, servers, verifying, waiting
from benchmarks.cases import FailedRequestError
from benchmarks.draining import Drained
from benchmarks.figures import Bench, Figures
from benchmarks.following import Following
from benchmarks.load import WARM_UP
from benchmarks.locally import Locally
from benchmarks.waiting import Waiting
from idp.config import Settings
from idp.runtime import audit

#: For each worker of the server, so that none is ever idle.
CONNECTIONS_PER_WORKER = 4
CASES = 4
DELIVERIES = 10_000
MAXIMUM_SECONDS = 60
DATABASES = ("sqlite", "postgresql")


class Run:
    """One run: figures as they come, and the tokens that were verified."""

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self.seconds = seconds
        self.say = say
        self.figures: list[Figures] = []
        self.drained: list[Drained] = []
        self.waiting: list[Waiting] = []
        self.locally: Locally | None = None
        self.following: Following | None = None
        self.limits: dict[int, float] = {}
        self.verified = 0

    def limit(self, workers: int) -> None:
        """The bare RSA limit of as many processes as workers, and the empty view."""
        self.say(f"bare RSA-2048, {workers} process(es)")
        self.limits[workers] = limits.signatures_per_second(workers, self.seconds)
        with servers.empty_view(workers) as (pid, port):
            bench = Bench("-", workers, pid, port, self.seconds, self.limits[workers], lambda _bodies: None)
            self._measure(bench, [servers.empty_lanes(port, workers * CONNECTIONS_PER_WORKER)])

    def provider(self, database: str, url: str, workers: int) -> None:
        """Every case on one provider."""
        with servers.provider(workers, url) as running:
            assert running.process is not None

            def verify(bodies: Sequence[bytes]) -> None:
                self.verified += verifying.verify(bodies, running.issuer)

            bench = Bench(database, workers, running.process.pid, running.port, self.seconds, self.limits[workers], verify)
            self._measure(bench, servers.cases(running, workers * CONNECTIONS_PER_WORKER))

    def verify_locally(self) -> None:
        """The other side: what a verifier adds to a signature."""
        self.say("verifying locally")
        self.locally = locally.measure(self.seconds)

    def follow(self, url: str) -> None:
        """What a verifier asks of its provider meanwhile."""
        self.say("verifying for a minute while following by long poll")
        with servers.provider(1, url) as running:
            self.following = following.measure(running)

    def drain(self, database: str, fresh: Callable[[], str], workers: int) -> None:
        """Everybody is told that very many sessions have ended."""
        self.say(f"{DELIVERIES:,} deliveries to {draining.PARTIES} receivers, {database}, {workers} worker(s)")
        self.drained.append(draining.best(database, fresh, workers, DELIVERIES))

    def wait(self, database: str, url: str, workers: int) -> None:
        """Very many follow, and nothing happens."""
        self.say(f"{waiting.FOLLOWERS} waiting followers, {database}, {workers} worker(s)")
        with servers.provider(workers, url) as running:
            connections = workers * CONNECTIONS_PER_WORKER
            self.waiting.append(waiting.measure(database, running, workers, connections, self.seconds / 2))

    def _measure(self, bench: Bench, cases: list) -> None:
        for lanes in cases:
            self.say(f"{lanes[0].name}, {bench.database}, {bench.workers} worker(s)")
            self.figures.append(bench.measure(lanes))


@click.command()
@click.option("--seconds", type=click.FloatRange(0.2, MAXIMUM_SECONDS), default=3.0, show_default=True, help="For each line.")
@click.option("--database", type=click.Choice([*DATABASES, "both"]), default="both", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(*, seconds: float, database: str, as_json: bool) -> None:
    """Load a real `idp serve` on this machine and say how it compares with the machine's limits."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every `with` ends what it started
    worker_counts = sorted({Settings.model_fields["workers"].get_default(call_default_factory=True), 1}, reverse=True)
    audit.configure("console", "warning")
    run = Run(seconds, lambda text: click.echo(f"… {text}", err=True))
    databases = DATABASES if database == "both" else (database,)
    lines = len(worker_counts) * (2 + CASES * len(databases))
    run.say(f"{lines} measurements of {seconds:g} s and {WARM_UP:g} s of warming up each")
    try:
        run.verify_locally()
        for workers in worker_counts:
            run.limit(workers)
        for name in databases:
            with servers.databases(name) as fresh:
                if run.following is None:
                    run.follow(fresh())
                for workers in worker_counts:
                    run.provider(name, fresh(), workers)
                run.drain(name, fresh, worker_counts[0])
                run.wait(name, fresh(), worker_counts[0])
    except (FailedRequestError, verifying.BadTokenError) as error:
        click.echo(f"benchmarks: {error}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(report.as_json(run.limits, run.figures, run.drained, run.waiting, run.verified, run.locally, run.following))
    else:
        report.table(run.limits, run.figures, run.drained, run.waiting, run.verified, run.locally, run.following)


main()
