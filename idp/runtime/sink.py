"""Where log lines go, whatever becomes of it: a stream that is full, broken or closed loses lines and raises nothing."""

import os
import threading
from collections.abc import Callable
from typing import TextIO


class Sink:
    """Writes whole lines to the stream that `stream` names at that moment, one at a time. What it loses, it counts.

    The bytes go to the stream's descriptor: what a buffer could not write would come out later, cut and twice.
    """

    def __init__(self, stream: Callable[[], TextIO | None]) -> None:
        self.stream = stream
        self._lock = threading.RLock()  # a signal's handler may say something in the midst of a line
        self._is_torn = False
        self.lost = 0
        #: Why the last line was lost.
        self.problem: str | None = None

    def write(self, line: str) -> None:
        """Write a line."""
        with self._lock:
            try:
                self._write(line)
            except Exception as error:  # noqa: BLE001 - ENOSPC, EIO, EPIPE, a closed stream: nobody to tell it to
                self.lose(error)

    # What structlog calls.
    debug = info = warning = error = critical = write

    @property
    def is_terminal(self) -> bool:
        """Whether somebody may be looking, so that colours are of use."""
        stream = self.stream()
        try:
            return stream is not None and stream.isatty()
        except ValueError:  # it is closed
            return False

    def settle(self) -> int:
        """How many lines are lost since this was asked last."""
        with self._lock:
            count, self.lost = self.lost, 0
            return count

    def lose(self, error: Exception) -> None:
        """Count something that could not be written down."""
        with self._lock:
            self.lost += 1
            number = getattr(error, "errno", None)
            self.problem = type(error).__name__ if number is None else f"{type(error).__name__} {number}"

    def _write(self, line: str) -> None:
        stream = self.stream()
        if stream is None:
            raise ClosedStreamError
        text = f"\n{line}\n" if self._is_torn else f"{line}\n"
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError, AttributeError):  # a stream in memory
            stream.write(text)
            stream.flush()
            return
        left = text.encode(getattr(stream, "encoding", None) or "utf-8", "backslashreplace")
        whole = len(left)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            self._is_torn = 0 < len(left) < whole  # what comes next begins a line of its own


class ClosedStreamError(Exception):
    """The process was started without this stream."""
