"""A disk that can be full: a small file system in memory where we may mount one, else a bound on what processes may write."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

_SIZE = 16 << 20


class Disk:
    """A file system of its own, small enough to be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, _processes: list[psutil.Process]) -> None:
        """Leave no byte on it."""
        with (self.folder / "filling").open("wb", buffering=0) as filling:
            with contextlib.suppress(OSError):
                while True:
                    filling.write(bytes(1 << 16))
            with contextlib.suppress(OSError):
                while True:
                    filling.write(bytes(512))

    def free(self) -> None:
        (self.folder / "filling").unlink()


class Bound(Disk):
    """What takes the place of a small disk where nothing may be mounted: no file of these processes grows any more."""

    def fill(self, processes: list[psutil.Process]) -> None:
        self._bound = [(process, process.rlimit(resource.RLIMIT_FSIZE)) for process in processes]
        longest = max(file.stat().st_size for file in self.folder.iterdir())
        for process, (_, hard) in self._bound:
            process.rlimit(resource.RLIMIT_FSIZE, (longest, hard))

    def free(self) -> None:
        for process, before in self._bound:
            process.rlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def small(folder: Path) -> Iterator[Disk]:
    """A disk at `folder`."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        yield Bound(folder)
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
