"""What must go on for as long as the process lives goes on, whatever happens in it; and where it does not, readiness says so."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from idp import app
from idp.config import Settings
from idp.runtime import audit, clock, supervision
from idp.runtime.inbound.rsgi import RsgiApplication
from idp.runtime.inbound.threads import FullError, RequestThreads
from idp.runtime.migrations import upgrade
from idp.runtime.periodic import Periodic
from idp.runtime.pool import Pool
from idp.runtime.supervision import Heartbeat, Probe, Supervised, Watch

PATIENCE = 20
ENDS: list[BaseException | None] = [RuntimeError("whatever"), SystemExit(), KeyboardInterrupt(), MemoryError(), None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_PAUSE", 0.001)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass."""
    moved = [0.0]
    real = clock.elapsed
    monkeypatch.setattr(clock, "elapsed", lambda: real() + moved[0])

    def pass_by(seconds: float) -> None:
        moved[0] += seconds

    return pass_by


# -- a thread ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_a_thread_that_ends_without_being_told_is_started_again_and_says_so(end: BaseException | None) -> None:
    runs: list[int] = []
    again = threading.Event()

    def run() -> None:
        runs.append(1)
        if len(runs) < 3:
            if end is not None:
                raise end
            return
        again.set()
        thread._stopping.wait(PATIENCE)

    thread = Supervised("idp-test", run, 60)
    with capture_logs() as logs:
        thread.start()
        assert again.wait(PATIENCE)
        assert thread.problem() is None
        thread.stop()
        assert thread.join(PATIENCE)
    told = [entry for entry in logs if entry["event"] in {"process.thread_failed", "process.thread_ended"}]
    assert len(told) == 2
    assert all(entry["thread"] == "idp-test" for entry in told)


@pytest.mark.parametrize("end", ENDS[:-1], ids=repr)
def test_periodic_work_goes_on_after_whatever_ended_a_round(end: BaseException) -> None:
    rounds: list[int] = []
    again = threading.Event()

    def work() -> None:
        rounds.append(1)
        if len(rounds) < 3:
            raise end
        again.set()

    def failed(_error: Exception) -> None:
        raise OSError("the log is full")

    periodic = Periodic("idp-test", 0.001, work, failed)
    periodic.start()
    assert again.wait(PATIENCE)
    periodic.stop()
    assert periodic.join(PATIENCE)


def test_a_thread_that_hangs_is_a_problem_and_no_more_when_it_goes_on(later: Callable[[float], None]) -> None:
    hangs, began = threading.Event(), threading.Event()

    def run() -> None:
        began.set()
        hangs.wait(PATIENCE)

    thread = Supervised("idp-test", run, 60)
    assert thread.problem() is None  # before it is started
    thread.start()
    assert began.wait(PATIENCE)
    later(59)
    assert thread.problem() is None
    later(2)
    assert thread.problem() == "idp-test has not run for 1 min 1 s."
    thread.beat()
    assert thread.problem() is None
    thread.stop()
    hangs.set()
    assert thread.join(PATIENCE)
    later(1000)
    assert thread.problem() is None  # it was told to end


def test_a_thread_that_is_gone_is_a_problem_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Supervised("idp-test", lambda: None, 60)
    monkeypatch.setattr(thread, "_live", lambda: None)
    thread.start()
    assert thread._thread is not None
    thread._thread.join(PATIENCE)
    assert thread.problem() == "idp-test has ended."


def test_what_does_not_go_on_is_logged_once_and_that_it_does_again(later: Callable[[float], None]) -> None:
    pulse = Heartbeat("idp-loop", 60)
    watch = Watch(pulse)
    pulse.beat()
    with capture_logs() as logs:
        watch.look()
        later(61)
        watch.look()
        later(5)
        watch.look()
        pulse.beat()
        watch.look()
        watch.look()
    assert [(entry["event"], entry["thread"]) for entry in logs] == [
        ("process.stalled", "idp-loop"),
        ("process.goes_on", "idp-loop"),
    ]


# -- threads that serve others ----------------------------------------------------------------------------------------------


def test_a_call_that_exits_takes_no_thread_with_it() -> None:
    def leave() -> None:
        raise SystemExit

    pool, turns = Pool(1, "idp-test"), RequestThreads(1, 8)
    for submit in (pool.submit, turns.submit):
        left = submit(leave)
        with pytest.raises(SystemExit):
            left.result(PATIENCE)
        assert submit(lambda: 7).result(PATIENCE) == 7


def test_a_pool_has_a_thread_for_each_call_that_hangs_and_no_more_than_it_may() -> None:
    open_, names = threading.Event(), set()
    pool = Pool(3, "idp-test")

    def hang() -> None:
        names.add(threading.get_ident())
        open_.wait(PATIENCE)

    hanging = [pool.submit(hang) for _ in range(5)]
    open_.set()
    for each in hanging:
        each.result(PATIENCE)
    assert 1 <= len(names) <= 3
    assert [pool.submit(lambda n=n: n).result(PATIENCE) for n in range(100)] == list(range(100))
    assert pool._started <= 3


def test_a_thread_of_a_pool_keeps_no_process_from_ending() -> None:
    import subprocess
    import sys

    code = "import threading\nfrom idp.runtime.pool import Pool\nPool(1, 'x').submit(threading.Event().wait)\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)


def test_a_sign_of_life_is_asked_for_once_at_a_time_and_again_where_there_was_no_room(later: Callable[[float], None]) -> None:
    open_ = threading.Event()
    pool, pulse = Pool(1, "idp-test"), Heartbeat("idp-test", 60)
    asked: list[int] = []

    def ask():
        asked.append(1)
        if len(asked) == 1:
            raise FullError
        return pool.submit(pulse.beat)

    probe = Probe(ask)
    probe()
    pulse.beat()
    pool.submit(lambda: open_.wait(PATIENCE))
    for _ in range(5):
        probe()
    assert len(asked) == 2  # the second waits for its answer
    later(61)
    assert pulse.problem() is not None
    open_.set()
    pool.submit(lambda: None).result(PATIENCE)
    assert pulse.problem() is None


# -- the provider's own -------------------------------------------------------------------------------------------------------


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[app.Provider]:
    provider = app.build(Settings(data_dir=tmp_path, delivery_poll_seconds=0.05))
    upgrade(provider.database)
    provider.start()
    yield provider
    provider.stop()


def names(provider: app.Provider) -> list[str]:
    return [pulse.name for pulse in provider.watch._pulses]


def ready(provider: app.Provider) -> tuple[int, dict[str, str]]:
    answer = app.create_app(provider).test_client().get("/health/ready")
    return answer.status_code, answer.get_json()


def test_every_thread_that_the_provider_starts_is_watched(provider: app.Provider) -> None:
    ours = {thread.name for thread in threading.enumerate() if thread.name.startswith("idp-") and thread.daemon}
    for_others = {
        "idp-request",
        "idp-ledger",
        "idp-glance",
        "idp-compose",
        "idp-followers",
        "idp-lookup",
        "idp-test",
        "idp-stop",
    }
    assert (
        ours - for_others
        == set(names(provider))
        == {
            "idp-keys",
            "idp-delivery",
            "idp-signals",
            "idp-reaper",
            "idp-housekeeping",
            "idp-pulse",
        }
    )
    assert ready(provider) == (200, {"status": "ready"})


@pytest.mark.parametrize("name", ["idp-pulse", "idp-keys", "idp-delivery", "idp-signals", "idp-reaper", "idp-housekeeping"])
def test_an_instance_of_which_one_does_not_go_on_is_not_ready(
    provider: app.Provider, name: str, monkeypatch: pytest.MonkeyPatch, later: Callable[[float], None]
) -> None:
    pulse = next(pulse for pulse in provider.watch._pulses if pulse.name == name)
    monkeypatch.setattr(pulse, "_within", -1.0)
    status, said = ready(provider)
    assert (status, said["status"]) == (503, "not ready")
    assert said["problem"].startswith(f"{name} has not run for")


@pytest.mark.parametrize("name", ["idp-delivery", "idp-signals"])
@pytest.mark.parametrize("end", [SystemExit(), RuntimeError("the log is full")], ids=repr)
def test_the_hub_and_the_worker_are_there_again_after_whatever_ended_them(
    provider: app.Provider, name: str, end: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only what their rounds are ready for: the round itself fails."""
    thread = next(pulse for pulse in provider.watch._pulses if pulse.name == name)
    assert isinstance(thread, Supervised)
    beat, beats = thread.beat, []
    again = threading.Event()

    def failing() -> None:
        beats.append(1)
        if len(beats) < 3:
            raise end
        beat()
        again.set()

    monkeypatch.setattr(thread, "beat", failing)
    provider.hub.wake()
    provider.deliveries.wake()
    assert again.wait(PATIENCE)
    assert thread.problem() is None
    assert ready(provider)[0] == 200


# -- signals ------------------------------------------------------------------------------------------------------------------


class Loop:
    """Stands for granian's."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[..., object], tuple[object, ...]]] = []

    def call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)

    def call_later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        self.calls.append((seconds, call, arguments))


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda _number, _frame: None)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def gateway(stop: Callable[[], object], *each_second: Callable[[], object]) -> RsgiApplication:
    return RsgiApplication(
        lambda _environ, _start: [],
        maximum_body=1,
        is_quick=lambda _path: True,
        stop=stop,
        each_second=each_second,
    )


@pytest.mark.usefixtures("handlers")
def test_a_signals_handler_starts_no_thread_and_takes_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[int] = []
    ended = threading.Event()

    def stop() -> None:
        stopped.append(1)
        ended.set()

    serving = gateway(stop)
    serving.__rsgi_init__(Loop())  # type: ignore[arg-type]

    def forbidden(*_: object) -> None:
        raise AssertionError("what is interrupted may hold the very lock")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", forbidden)
        patch.setattr(threading.Event, "set", forbidden)
        patch.setattr(threading.Condition, "notify_all", forbidden)
        for _ in range(3):
            handler = signal.getsignal(signal.SIGTERM)
            assert callable(handler)
            handler(signal.SIGTERM, None)
    assert ended.wait(PATIENCE)
    serving.__rsgi_del__(Loop())  # type: ignore[arg-type]
    assert stopped == [1]


@pytest.mark.usefixtures("handlers")
def test_stopping_that_fails_is_told_and_lets_the_process_end() -> None:
    def stop() -> None:
        raise RuntimeError("whatever")

    serving = gateway(stop)
    serving.__rsgi_init__(Loop())  # type: ignore[arg-type]
    with capture_logs() as logs:
        serving.__rsgi_del__(Loop())  # type: ignore[arg-type]
    assert [entry["event"] for entry in logs] == ["process.stop_failed"]


@pytest.mark.usefixtures("handlers")
def test_the_event_loop_shows_that_it_goes_round_also_after_a_failure() -> None:
    loop, calls = Loop(), []

    def call() -> None:
        calls.append(1)
        raise RuntimeError("whatever")

    serving = gateway(lambda: None, call)
    serving.__rsgi_init__(loop)  # type: ignore[arg-type]
    for _ in range(3):
        _, next_, arguments = loop.calls.pop()
        with pytest.raises(RuntimeError):
            next_(*arguments)
    assert len(calls) == 3
    serving.__rsgi_del__(loop)  # type: ignore[arg-type]


def test_the_log_is_never_what_ends_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        monkeypatch.setattr(audit._sink, "stream", lambda: sys.stderr)
        rounds: list[int] = []
        again = threading.Event()

        def work() -> None:
            rounds.append(1)
            audit.record("keys.checked")
            if len(rounds) == 3:
                again.set()
            raise OSError("as before")

        periodic = Periodic("idp-test", 0.001, work, lambda error: audit.warn("housekeeping.failed", error=str(error)))
        periodic.start()
        assert again.wait(PATIENCE)
        periodic.stop()
        assert periodic.join(PATIENCE)
    audit._sink.settle()
