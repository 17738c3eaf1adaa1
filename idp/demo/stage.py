"""The processes of a demo: started in groups of their own, heard line by line, and all ended at the end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self, TypeAlias

from idp.demo.options import DemoError
from idp.protocol import strict_json
from idp.runtime.temporary import temporary_folder

#: How long the processes may take to end by themselves.
STOP_SECONDS = 3
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Event: TypeAlias = Mapping[str, object]


class _StopAsked(Exception):  # noqa: N818 - nothing went wrong
    """Somebody wants the demo to end."""


class _Process:
    """One process and what it says. In a group of its own, Ctrl-C in the terminal reaches the demo alone."""

    def __init__(self, module: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        self.last_words: deque[str] = deque(maxlen=12)
        self._popen = subprocess.Popen(  # noqa: S603 - our own modules, run by our own interpreter
            [sys.executable, "-m", *module],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def listen(self, heard: Callable[[Event], None]) -> None:
        """In a thread of its own, hand on each event that the process writes."""
        self._reader = threading.Thread(target=self._read, args=(heard,), daemon=True)
        self._reader.start()

    def _read(self, heard: Callable[[Event], None]) -> None:
        for line in self._popen.stdout or ():
            self.last_words.append(line.rstrip())
            with suppress(ValueError):
                event = strict_json.stored(line)
                if isinstance(event, dict) and isinstance(event.get("event"), str):
                    heard(event)

    def end(self) -> str | None:
        """How it ended and what it said last; None while it runs."""
        status = self._popen.poll()
        if status is None:
            return None
        self._reader.join(timeout=1)
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how}. Its last words:\n" + ("\n".join(self.last_words) or "(none)")

    def signal(self, number: int) -> None:
        """Signal it and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def wait(self, until: float) -> None:
        """Wait for its end, but not beyond this `time.monotonic()`."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=max(0.0, until - time.monotonic()))

    def kill(self) -> None:
        """End what did not listen, and what a leader left behind."""
        self.signal(signal.SIGKILL)
        self._popen.wait()
        self._reader.join(timeout=1)
        if self._popen.stdout is not None and not self._reader.is_alive():
            self._popen.stdout.close()


class Stage:
    """All processes of a demo. On leaving, for whatever reason, none of them and no temporary file is left."""

    def __init__(self) -> None:
        self._processes: dict[str, _Process] = {}
        self._heard: SimpleQueue[tuple[str, Event] | None] = SimpleQueue()
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        """From here on a signal asks the demo to stop; it does so at the next turn of `next`."""
        for number in _STOPPING:
            before = signal.signal(number, lambda _number, _frame: self._heard.put(None))
            self._cleanup.callback(signal.signal, number, before)
        self.scratch = Path(self._cleanup.enter_context(temporary_folder("idp-demo-")))
        self._cleanup.callback(self._end_all)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """End everything; that somebody wanted it is no error."""
        self._cleanup.close()
        return isinstance(error, _StopAsked)

    def start(self, name: str, *module: str, environment: Mapping[str, str], folder: Path) -> None:
        """Start `python -m MODULE` in `folder`."""
        # Temporary files of a process that has to be killed are removed with ours.
        process = _Process(module, {**environment, "TMPDIR": str(self.scratch)}, folder)
        self._processes[name] = process
        process.listen(lambda event: self._heard.put((name, event)))

    def events(self) -> Iterator[tuple[str, Event]]:
        """Who says what, as it is said. Raises DemoError when a process dies."""
        while True:
            said = self.next(0.2)
            if said is not None:
                yield said

    def next(self, seconds: float) -> tuple[str, Event] | None:
        """What is said next, or None when nothing is for so long. Raises DemoError when a process has died."""
        try:
            said = self._heard.get(timeout=seconds)
        except Empty:
            self._check()
            return None
        if said is None:
            raise _StopAsked
        return said

    def _check(self) -> None:
        for name, process in self._processes.items():
            end = process.end()
            if end is not None:
                message = f"The process {name!r} {end}"
                raise DemoError(message)

    def _end_all(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            process.signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(deadline)
        for process in self._processes.values():
            process.kill()
