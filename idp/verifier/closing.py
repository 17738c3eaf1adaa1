"""How a socket's `close` is called: never in the thread that follows the provider, and never by one that waits for another."""

import asyncio
import logging
import queue
import threading
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeAlias

#: What closes a socket: it is given a close code and a reason (RFC 6455 §7.1.5, §7.1.6). It may be a coroutine function
#: where it is bound in an event loop.
Close: TypeAlias = Callable[[int, str], object]
Job: TypeAlias = Callable[[], object]

#: Threads that call what may block: one that hangs holds up none of the others.
MOST_THREADS = 32

_log = logging.getLogger(__name__)


class Threads:
    """A few threads that do jobs, started when there is something to do. They end with the process, or at `close`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._started = 0

    def do(self, job: Job) -> None:
        """Have it done soon; several may be done at a time."""
        with self._lock:
            self._waiting += 1
            if self._waiting > self._started and self._started < MOST_THREADS:
                self._started += 1
                threading.Thread(target=self._work, name="idp-guard-close", daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let the threads end once everything is done."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                self._waiting -= 1


class Closing:
    """One socket's `close`, and where to call it: in the event loop that ran where it was made, else in a thread."""

    __slots__ = ("_close", "_loop", "_threads")

    def __init__(self, close: Close, threads: Threads) -> None:
        self._close = close
        self._threads = threads
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def __call__(self, code: int, reason: str) -> None:
        """Have it called; at once, and without waiting for it."""
        if self._loop is None:
            self._threads.do(lambda: _called(self._close, code, reason))
            return
        try:
            self._loop.call_soon_threadsafe(_called_in_loop, self._close, code, reason)
        except RuntimeError:  # the loop is closed, and its sockets with it
            _log.debug("a socket's event loop has ended before the socket")


def _called(close: Close, code: int, reason: str) -> object:
    try:
        return close(code, reason)
    except Exception:  # noqa: BLE001 - an app's own code, and the other sockets go on
        _log.exception("closing a socket failed")
        return None


#: The event loop holds tasks weakly.
_tasks: set[asyncio.Task[None]] = set()


def _called_in_loop(close: Close, code: int, reason: str) -> None:
    answer = _called(close, code, reason)
    if isawaitable(answer):
        task = asyncio.get_running_loop().create_task(_awaited(answer))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _awaited(answer: Awaitable[object]) -> None:
    try:
        await answer
    except Exception:  # noqa: BLE001 - an app's own code, and the other sockets go on
        _log.exception("closing a socket failed")
