"""How a socket's `close` is called: never in the thread that follows the provider, and never by one that waits for another."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import isawaitable
from typing import TypeAlias

#: What closes a socket: it is given a close code and a reason (RFC 6455 §7.1.5, §7.1.6). It may be a coroutine function
#: where it is bound in an event loop.
Close: TypeAlias = Callable[[int, str], object]
Job: TypeAlias = Callable[[], object]

#: Threads that call what may block, at the first.
AT_ONCE = 32
#: Whenever they all hang for so long, in seconds, there are as many more of them,
STUCK_SECONDS = 1.0
#: up to so many: what waits then waits for one of them.
MOST_THREADS = 1024
#: The event loop holds tasks weakly.
_tasks: set[asyncio.Task[None]] = set()


class Threads:
    """A few threads that do jobs, started when there is something to do, and more where those hang.

    They end with the process, or at `close`.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._begun = 0
        self._started = 0
        self._is_watched = self._is_over = False

    def do(self, job: Job) -> None:
        """Have it done soon; several may be done at a time."""
        with self._lock:
            self._unfinished += 1
            self._jobs.put(job)  # first: where the system has no room for a thread now, a later one does it
            if self._unfinished > self._started:
                self._start(1 if self._started < AT_ONCE else 0)
                self._watch()

    def close(self) -> None:
        """Let the threads end once everything is done."""
        with self._lock:
            self._is_over = True
            for _ in range(self._started):
                self._jobs.put(None)

    # -- with the lock held ---------------------------------------------------------------------------------------

    def _start(self, count: int) -> None:
        for _ in range(min(count, MOST_THREADS - self._started)):
            try:
                threading.Thread(target=self._work, name="idp-guard-close", daemon=True).start()
            except RuntimeError:  # the system has no room for another thread just now
                if self._started == 0:
                    raise
                return  # what is there does the jobs
            self._started += 1

    def _watch(self) -> None:
        if self._started >= AT_ONCE and not self._is_watched:
            timer = threading.Timer(STUCK_SECONDS, self._look, (self._begun,))
            timer.name, timer.daemon = "idp-guard-stuck", True
            timer.start()
            self._is_watched = True

    # -- in threads of their own ----------------------------------------------------------------------------------

    def _look(self, begun: int) -> None:
        """Start more where nothing was begun since the last look, though something waits."""
        with self._lock:
            self._is_watched = False
            if self._is_over or self._unfinished <= self._started:
                return
            self._start(AT_ONCE if self._begun == begun else 0)
            self._watch()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._begun += 1
            job()
            with self._lock:
                self._unfinished -= 1


class Closing:
    """One socket's `close`, and where to call it: in the event loop that ran where it was made, else in a thread.

    What it raises is an app's own fault: it is given to `report`, and stops nobody else.
    """

    __slots__ = ("_close", "_loop", "_report", "_threads")

    def __init__(self, close: Close, threads: Threads, report: Callable[[BaseException], None]) -> None:
        self._close = close
        self._threads = threads
        self._report = report
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def __call__(self, code: int, reason: str) -> None:
        """Have it called; at once, and without waiting for it."""
        if self._loop is None:
            self._threads.do(lambda: self._called_in_thread(code, reason))
            return
        # A loop that is closed has taken its sockets with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._called_in_loop, code, reason)

    def _called(self, code: int, reason: str) -> object:
        try:
            return self._close(code, reason)
        except Exception as error:  # noqa: BLE001 - whatever an app's own code may raise
            self._report(error)
            return None

    def _called_in_thread(self, code: int, reason: str) -> None:
        try:
            self._called(code, reason)
        except BaseException as error:  # noqa: BLE001 - not even an app's SystemExit may end the thread that closes sockets
            self._report(error)

    def _called_in_loop(self, code: int, reason: str) -> None:
        answer = self._called(code, reason)
        if isawaitable(answer):
            task = asyncio.get_running_loop().create_task(self._awaited(answer))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    async def _awaited(self, answer: Awaitable[object]) -> None:
        try:
            await answer
        except Exception as error:  # noqa: BLE001 - as in `_called`
            self._report(error)
