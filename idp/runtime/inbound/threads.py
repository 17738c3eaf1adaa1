"""Threads of which one runs at a time: whoever waits for others lets the next one run meanwhile.

Requests of one process would only fight for the same core if they ran side by side. But one that waits for somebody
else's server, or for work that is done outside of Python, must hold up nobody (docs/threats.md 42, 49, 50). So each thread
holds the turn while it runs, and gives it away while it is in `release_thread()`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from idp.runtime.pool import do

_Result = TypeVar("_Result")
_own = threading.local()


class FullError(Exception):
    """As many calls wait for the turn as may."""


@contextmanager
def release_thread() -> Iterator[None]:
    """Let others run inside this block, and go on when it is one's turn again, after an error too.

    Never inside a transaction, nor with a lock that others take while they have the turn. It does nothing in a thread
    that has no turn to give: commands, background threads, a block inside such a block.
    """
    turns: RequestThreads | None = getattr(_own, "turns", None)
    if turns is None:
        yield
        return
    _own.turns = None
    turns._give()  # noqa: SLF001 - the block and what it gives are one idea
    try:
        yield
    finally:
        turns._take()  # noqa: SLF001
        _own.turns = turns


class RequestThreads:
    """Runs calls in `threads` threads, in the order in which they come. At most `most` calls wait to be begun.

    Who comes back from waiting goes first: there are never more of them than threads, and each began before whoever is new.
    The threads are there from the start, and end with the process. Raises RuntimeError when they cannot be started.
    """

    def __init__(self, threads: int, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._is_taken = False
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        #: Closed gates: of those who come back, in their order, and of threads that have nothing to do, the last one first.
        self._back: deque[threading.Lock] = deque()
        self._idle = [_closed() for _ in range(threads)]
        for gate in tuple(self._idle):
            threading.Thread(target=self._live, args=(gate,), name="idp-request", daemon=True).start()

    def submit(self, call: Callable[[], _Result]) -> Future[_Result]:
        """Run `call` when it is its turn. Raises FullError."""
        future: Future[_Result] = Future()
        with self._lock:
            if len(self._calls) >= self._most:
                raise FullError
            self._calls.append((future, call))
            if not self._is_taken:
                self._pass_on()
        return future

    def _live(self, gate: threading.Lock) -> None:
        gate.acquire()
        _own.turns = self
        while True:
            with self._lock:
                is_next = bool(self._calls) and not self._back
                if is_next:
                    future, call = self._calls.popleft()
                else:
                    self._idle.append(gate)
                    self._pass_on()
            if is_next:
                do(future, call)
                del future, call  # what was answered is not kept until somebody asks again
            else:
                gate.acquire()

    def _give(self) -> None:
        with self._lock:
            self._pass_on()

    def _take(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            gate = _closed()
            self._back.append(gate)
        gate.acquire()

    def _pass_on(self) -> None:
        """Let the next one run: who came back, or else a call, if a thread is free. Call it with the lock."""
        if self._back:
            self._is_taken = True
            self._back.popleft().release()
        elif self._calls and self._idle:
            self._is_taken = True
            self._idle.pop().release()
        else:
            self._is_taken = False


def _closed() -> threading.Lock:
    gate = threading.Lock()
    gate.acquire()
    return gate
