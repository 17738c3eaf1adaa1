"""RequestThreads: one thread runs at a time, and who waits lets the next one run."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager

import pytest

from idp.accounts import passwords
from idp.authorization import request_uri
from idp.clients import keys, uri_checks
from idp.runtime.inbound import rsgi
from idp.runtime.inbound.threads import FullError, RequestThreads, release_thread

PATIENCE = 20


class Running:
    """How many run at once, and at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        yield
        with self._lock:
            self.now -= 1


def results(futures: list[Future[object]]) -> list[object]:
    return [each.result(PATIENCE) for each in futures]


def test_one_runs_at_a_time_also_when_many_come_back_from_waiting() -> None:
    turns, running = RequestThreads(8, 1000), Running()

    def work(number: int) -> int:
        for _ in range(3):
            with running():
                sum(range(1000))
            with release_thread():
                threading.Event().wait(0.0001)
        with running():
            return number

    futures = [turns.submit(lambda number=number: work(number)) for number in range(200)]  # type: ignore[misc]
    assert [each.result(PATIENCE) for each in futures] == list(range(200))
    assert running.most == 1


def test_calls_are_begun_in_the_order_in_which_they_come() -> None:
    turns, begun = RequestThreads(4, 1000), []
    results([turns.submit(lambda number=number: begun.append(number)) for number in range(300)])  # type: ignore[misc]
    assert begun == list(range(300))


def test_who_waits_lets_the_others_run() -> None:
    turns, go = RequestThreads(3, 10), threading.Event()

    def wait() -> bool:
        with release_thread():
            return go.wait(PATIENCE)

    held = [turns.submit(wait) for _ in range(2)]
    assert turns.submit(lambda: "served").result(PATIENCE) == "served"
    assert not any(each.done() for each in held)
    go.set()
    assert results(held) == [True, True]


def test_who_runs_does_not() -> None:
    turns, running, go = RequestThreads(3, 10), threading.Event(), threading.Event()

    def run() -> bool:
        running.set()
        return go.wait(PATIENCE)

    first = turns.submit(run)
    assert running.wait(PATIENCE)
    second = turns.submit(go.is_set)
    assert not second.done()
    go.set()
    assert (first.result(PATIENCE), second.result(PATIENCE)) == (True, True)


def test_when_all_threads_wait_a_call_is_begun_as_soon_as_one_is_back() -> None:
    turns, go = RequestThreads(2, 10), threading.Semaphore(0)

    def wait() -> bool:
        with release_thread():
            return go.acquire(timeout=PATIENCE)

    held = [turns.submit(wait) for _ in range(2)]
    last = turns.submit(lambda: "served")
    assert not last.done()
    go.release()
    assert last.result(PATIENCE) == "served"
    go.release()
    assert results(held) == [True, True]


def test_who_comes_back_goes_before_who_is_new() -> None:
    turns, order = RequestThreads(3, 10), []
    go, is_running, go_on = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with release_thread():
            assert go.wait(PATIENCE)
        order.append("came back")

    def second() -> None:
        is_running.set()
        assert go_on.wait(PATIENCE)

    futures = [turns.submit(first), turns.submit(second)]
    assert is_running.wait(PATIENCE)
    futures.append(turns.submit(lambda: order.append("new")))
    go.set()
    while not turns._back:
        threading.Event().wait(0.001)
    go_on.set()
    results(futures)
    assert order == ["came back", "new"]


def _fail() -> None:
    raise LookupError


def _fail_waiting() -> None:
    with release_thread():
        _fail()


@pytest.mark.parametrize("failing", [_fail, _fail_waiting])
def test_an_error_reaches_who_asked_and_the_turn_goes_on(failing: Callable[[], None]) -> None:
    turns, running = RequestThreads(2, 10), Running()
    for _ in range(10):
        with pytest.raises(LookupError):
            turns.submit(failing).result(PATIENCE)

    def work() -> None:
        with running():
            threading.Event().wait(0.001)

    results([turns.submit(work) for _ in range(10)])
    assert running.most == 1


def test_an_error_inside_the_block_leaves_it_with_the_turn() -> None:
    turns, running = RequestThreads(4, 100), Running()

    def work() -> None:
        with pytest.raises(LookupError):
            _fail_waiting()
        with running():
            threading.Event().wait(0.001)

    results([turns.submit(work) for _ in range(20)])
    assert running.most == 1


def test_a_block_inside_a_block_gives_nothing_twice() -> None:
    turns, running = RequestThreads(4, 100), Running()

    def work() -> None:
        with release_thread(), release_thread():
            threading.Event().wait(0.001)
        with running():
            threading.Event().wait(0.001)

    results([turns.submit(work) for _ in range(20)])
    assert running.most == 1


def test_a_thread_without_a_turn_just_goes_on() -> None:
    with release_thread(), release_thread():
        pass


def test_more_than_may_wait_are_refused_and_come_again() -> None:
    turns, running, go = RequestThreads(2, 3), threading.Event(), threading.Event()

    def run() -> bool:
        running.set()
        return go.wait(PATIENCE)

    first = turns.submit(run)
    assert running.wait(PATIENCE)
    queued = [turns.submit(go.is_set) for _ in range(3)]
    with pytest.raises(FullError):
        turns.submit(go.is_set)
    go.set()
    assert results([first, *queued]) == [True] * 4
    assert turns.submit(go.is_set).result(PATIENCE)


def test_what_was_cancelled_is_not_begun() -> None:
    turns, running, go = RequestThreads(2, 3), threading.Event(), threading.Event()

    def run() -> bool:
        running.set()
        return go.wait(PATIENCE)

    first = turns.submit(run)
    assert running.wait(PATIENCE)
    second = turns.submit(_fail)
    assert second.cancel()
    go.set()
    assert first.result(PATIENCE)
    with pytest.raises(CancelledError):
        second.result(PATIENCE)
    assert turns.submit(lambda: "served").result(PATIENCE) == "served"


def test_a_process_has_more_threads_than_may_wait_by_all_limits_together() -> None:
    limits = (
        uri_checks._MAXIMUM_WAITING,
        keys._MAXIMUM_WAITING,
        request_uri._MAXIMUM_WAITING,
        passwords.AT_ONCE,
        passwords.WAITING,
    )
    assert rsgi.THREADS > sum(limits)
