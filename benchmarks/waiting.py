"""What followers that wait cost everybody else: the latency of `/token` with 200 long polls at the server, and without."""

import multiprocessing
import selectors
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

from benchmarks import load
from benchmarks.cases import Case, ClientCredentials, Credentials, FailedRequestError
from benchmarks.figures import CORES, quantile
from benchmarks.lane import Answer, BrokenAnswerError, Lane, request
from idp.protocol import scopes
from tests.signals.follower import Follower, receiver_of
from tests.support.serving import RunningProvider

FOLLOWERS = 200
#: What the issue allows: so many times the p99 without followers.
ALLOWED = 1.2
ROUNDS = 8
#: Seconds for which each connection rests after an answer. Behind a server that is never idle every request waits for the ones
#: before it, and nobody could tell what else it waited for.
_REST = 0.01
#: As `idp.verifier` asks with its default `max_staleness`.
_WAIT = 10
_STREAMS_OF_A_CLIENT = 50
#: They come within so many seconds.
_COMING = 0.9
#: Until all of them have come, or gone, and what that costs is over.
_SETTLING = 1.2
_OK = 200
_NOTHING = b'{"sets":{},"moreAvailable":false}'
_NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Waiting:
    """Milliseconds, without followers and with them: the medians of the windows, so that one disturbed window says nothing.

    `rate` is the requests per second to `/token`, `polls` how many polls were answered, each to be asked again at once.
    """

    database: str
    workers: int
    followers: int
    polls: int
    rate: float
    p50_alone: float
    p50: float
    p99_alone: float
    p99: float

    @property
    def ratios(self) -> tuple[float, float]:
        """How many times the latency without followers: at p50, at p99."""
        return self.p50 / self.p50_alone, self.p99 / self.p99_alone

    def shown(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self) | {"p50_ratio": self.ratios[0], "p99_ratio": self.ratios[1]}


def measure(database: str, running: RunningProvider, workers: int, connections: int, seconds: float) -> Waiting:
    """Ask `/token` in ROUNDS windows of `seconds` with followers and in as many without. Raises FailedRequestError."""
    app = receiver_of(running, scope="bench")
    client = Credentials(running.port, app.client_id, str(app.registration["client_secret"]))
    lanes: list[Case] = [
        ClientCredentials(client.post("/token", grant_type="client_credentials", scope="bench")) for _ in range(connections)
    ]
    windows: list[tuple[bool, int, int]] = []
    with _following(running.port, _streams(running)) as followers:

        def alternate(_seconds: float) -> None:
            for number in range(2 * ROUNDS):
                waiting = number % 4 in {1, 2}  # each comes first in every other round: what drifts disturbs both alike
                followers.send(waiting)
                time.sleep(_SETTLING)
                began = time.perf_counter_ns()
                time.sleep(seconds)
                windows.append((waiting, began, time.perf_counter_ns()))

        total = 2 * ROUNDS * (seconds + _SETTLING + 0.1)
        tallies = load.run(running.port, lanes, min(CORES, connections), total, alternate, rest=_REST)
        followers.send(None)
        polls, failure = followers.recv()
    failure = failure or next((tally.failure for tally in tallies if tally.failure), "")
    if failure:
        raise FailedRequestError(failure)
    answers = sorted(pair for tally in tallies for pair in zip(tally.moments, tally.latencies, strict=True))
    return _compared(database, workers, polls, windows, answers)


def _compared(
    database: str,
    workers: int,
    polls: int,
    windows: Sequence[tuple[bool, int, int]],
    answers: Sequence[tuple[int, int]],
) -> Waiting:
    found: dict[tuple[bool, float], list[float]] = {}
    count = 0
    for waiting, began, ended in windows:
        latencies = sorted(latency for moment, latency in answers if began <= moment < ended)
        count += len(latencies)
        for part in (0.50, 0.99):
            found.setdefault((waiting, part), []).append(quantile(latencies, part))
    middle = {name: statistics.median(values) for name, values in found.items()}
    return Waiting(
        database=database,
        workers=workers,
        followers=FOLLOWERS,
        polls=polls,
        rate=count / sum((ended - began) / _NANOSECONDS for _, began, ended in windows),
        p50_alone=middle[False, 0.50],
        p50=middle[True, 0.50],
        p99_alone=middle[False, 0.99],
        p99=middle[True, 0.99],
    )


# -- the followers ----------------------------------------------------------------------------------------------------


def _streams(running: RunningProvider) -> list[tuple[str, str]]:
    """A stream for each follower: its path, and a token for it."""
    made: list[tuple[str, str]] = []
    while len(made) < FOLLOWERS:
        first = Follower.of(running)
        streams = [first.stream, *(first.call("POST", "streams", {}).json() for _ in range(_STREAMS_OF_A_CLIENT - 1))]
        token = first.access_token(scopes.SSF_READ)
        made += [(f"/ssf/poll/{stream['stream_id']}", token) for stream in streams]
        first.close()
    return made[:FOLLOWERS]


@contextmanager
def _following(port: int, streams: Sequence[tuple[str, str]]) -> Iterator[Connection]:
    """A process with all followers. It is sent whether they are to wait, and None for (polls answered, what failed)."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_follow, args=(port, streams, theirs), name="idp-bench-followers", daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def _follow(port: int, streams: Sequence[tuple[str, str]], end: Connection) -> None:
    polls, failure = 0, ""
    with selectors.DefaultSelector() as selector:
        selector.register(end, selectors.EVENT_READ)
        waiting: dict[Lane, bytes] = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is end:
                    wanted = end.recv()
                    for lane in waiting:
                        selector.unregister(lane)
                        lane.close()
                    waiting = _came(port, streams) if wanted else {}
                    for lane in waiting:
                        selector.register(lane, selectors.EVENT_READ)
                    if wanted is None:
                        end.send((polls, failure))
                        return
                elif key.fileobj in waiting:
                    try:
                        polls += _asked_again(key.fileobj, waiting[key.fileobj])
                    except (FailedRequestError, BrokenAnswerError, OSError) as error:
                        failure = f"a follower: {type(error).__name__}: {error}"
                        selector.unregister(key.fileobj)
                        del waiting[key.fileobj]


def _came(port: int, streams: Sequence[tuple[str, str]]) -> dict[Lane, bytes]:
    """All of them wait, and come again at times of their own, as processes do that were not started together."""
    waiting = {}
    for number, (path, token) in enumerate(streams):
        time.sleep(_COMING / len(streams))
        lane = Lane(port)
        lane.send(_poll(port, path, token, 1 + number % _WAIT))
        waiting[lane] = _poll(port, path, token, _WAIT)
    return waiting


def _poll(port: int, path: str, token: str, seconds: int) -> bytes:
    headers = {"Authorization": f"Bearer {token}", "Prefer": f"wait={seconds}", "Content-Type": "application/json"}
    return request("POST", path, port, headers, "{}")


def _asked_again(lane: Lane, poll: bytes) -> bool:
    answer: Answer | None = lane.receive()
    if answer is None:
        return False
    if answer.status != _OK or answer.body != _NOTHING:
        message = f"{answer.status} {answer.body[:300]!r}"
        raise FailedRequestError(message)
    lane.send(poll)
    return True
