"""The figures of a process, whose room on the disk is taken before anything is written into it.

prometheus_client writes them into memory that stands for a file with holes. Where the disk is full, that is no error but the
process's end (SIGBUS), and of the one that is born in its place as well. So nobody else imports its counters.
"""

import os
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram, values
from prometheus_client.mmap_dict import MmapedDict

from idp.runtime.clock import elapsed

__all__ = ["Counter", "Figures", "Gauge", "Histogram"]

#: Bytes of a new file: some 400 figures.
_ROOM = 1 << 16
#: What a figure takes beside its name, in bytes, at most.
_BESIDE = 32
#: Seconds until it is tried again whether there is room.
_AGAIN = 10.0


class Figures:
    """Figures by their names, in memory and in a file that is read by whoever sums up. Not for two threads at once.

    Where the disk has no room, those in memory go on, and come into the file when there is.
    """

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._values: dict[str, tuple[float, float]] = {}
        self._file: _Reserved | None = None
        self._again_at = float("-inf")
        self._open()

    def read_value(self, key: str) -> tuple[float, float]:
        """A figure and the instant that it was given, 0 where none was."""
        if key not in self._values:
            self.write_value(key, *self._before(key))
        return self._values[key]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Put it there."""
        self._values[key] = value, timestamp
        if self._again_at > float("-inf"):
            self._try_again()
        elif self._file is not None:
            self._write(key)

    def close(self) -> None:
        """Keep no file open."""
        if self._file is not None:
            self._file.close()  # type: ignore[no-untyped-call]
            self._file = None

    def _open(self) -> None:
        try:
            self._file = _Reserved(self._filename)
        except OSError:
            self._again_at = elapsed() + _AGAIN

    def _before(self, key: str) -> tuple[float, float]:
        """What stands in the file of another process that had our number."""
        return (0.0, 0.0) if self._file is None else self._file.value_of(key)

    def _try_again(self) -> None:
        if elapsed() < self._again_at:
            return
        self._again_at = float("-inf")
        if self._file is None:
            self._open()
        for key in self._values:
            if self._again_at > float("-inf"):
                return
            self._write(key)

    def _write(self, key: str) -> None:
        try:
            if self._file is not None:
                self._file.write_value(key, *self._values[key])  # type: ignore[no-untyped-call]
        except OSError:
            self._again_at = elapsed() + _AGAIN


class _Reserved(MmapedDict):
    """A file without holes. Raises OSError where there is no room for it, or for its growth."""

    def __init__(self, filename: str) -> None:
        descriptor = os.open(filename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.fstat(descriptor).st_size == 0:
                _append(descriptor, _ROOM)
        except OSError:
            Path(filename).unlink()  # half a file is none, and whoever sums up would stumble over it
            raise
        finally:
            os.close(descriptor)
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def value_of(self, key: str) -> tuple[float, float]:
        """A figure that is there already, else zero."""
        if key not in self._positions:
            return 0.0, 0.0
        value, timestamp = self.read_value(key)  # type: ignore[no-untyped-call]
        return float(value), float(timestamp)

    def _init_value(self, key: str) -> None:
        """What it does is its base's; that makes a file longer by a hole."""
        if self._used + len(key.encode()) + _BESIDE > self._capacity:
            descriptor = self._f.fileno()
            try:
                _append(descriptor, self._capacity)
            except OSError:
                os.ftruncate(descriptor, self._capacity)
                raise
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _append(descriptor: int, count: int) -> None:
    while count:
        count -= os.write(descriptor, bytes(count))


values.MmapedDict = Figures  # type: ignore[attr-defined,assignment]
