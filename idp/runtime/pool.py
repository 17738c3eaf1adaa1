"""Threads for calls that block, which end with the process: one that hangs in a call keeps no process from ending.

`concurrent.futures` waits at the interpreter's end for every thread that it started.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool(Executor):
    """At most `most` threads, each started when a call finds none that is free. What an event loop may run calls in."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._free = self._started = 0

    def submit(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call it as soon as a thread is free. Raises RuntimeError when the system has no room for a first thread."""
        future: Future[_T] = Future()
        with self._lock:
            if self._free > 0:
                self._free -= 1  # one of those that wait will take it
            elif self._started < self._most:
                self._start()
            self._calls.put((future, lambda: call(*args, **kwargs)))
        return future

    def _start(self) -> None:
        try:
            threading.Thread(target=self._live, name=self._name, daemon=True).start()
        except RuntimeError:
            if self._started == 0:
                raise
            return  # what is there has to do
        self._started += 1

    def _live(self) -> None:
        while True:
            future, call = self._calls.get()
            do(future, call)
            del future, call  # what was found is not kept until somebody asks again
            with self._lock:
                if self._calls.empty():
                    self._free += 1


def do(future: "Future[Any]", call: Callable[[], Any]) -> None:
    """Call it, and tell the future what came of it, whatever that is."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whoever asked is told
        future.set_exception(error)
    else:
        future.set_result(result)
