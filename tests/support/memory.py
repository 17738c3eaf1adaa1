"""Where tests keep what they write: a folder in memory, where the machine has one with room. What is killed there is killed all
the same; only a power cut would differ, and no test makes one."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - in memory is where it should be
_PREFIX = "idp-tests-"
_NAMES = ("TMPDIR", "PYTEST_DEBUG_TEMPROOT")
_ROOM = 6 << 30


def enter() -> Path | None:
    """Make a folder in memory the place for temporary files of this process and its children. None: there is no such place."""
    if not _has_room():
        return None
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY))
    for name in _NAMES:
        os.environ[name] = str(folder)
    tempfile.tempdir = str(folder)
    return folder


def leave(folder: Path) -> None:
    """Remove the folder with all that is in it."""
    tempfile.tempdir = None
    for name in _NAMES:
        os.environ.pop(name, None)
    shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    try:
        status = os.statvfs(_MEMORY)
    except OSError:
        return False
    return os.access(_MEMORY, os.W_OK) and status.f_bavail * status.f_frsize >= _ROOM


def _sweep() -> None:
    """Folders of runs that were killed."""
    for folder in _MEMORY.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        with contextlib.suppress(ValueError):
            if not Path(f"/proc/{int(owner)}").exists():
                shutil.rmtree(folder, ignore_errors=True)
