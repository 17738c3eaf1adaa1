"""Files that must outlive a power cut, and that are for their owner alone."""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_EVERYBODY = 0o007
#: A folder that cannot be flushed by itself, as some network file systems have it, is flushed with its files.
_NOT_FLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone, where there is none yet. Raises OSError."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_folder(path.absolute().parent)


def keep(path: Path, content: bytes) -> None:
    """Put a file where none is yet, whole or not at all. Of several who do so at once one succeeds. Raises OSError.

    When this returns, the disk has the file that is there.
    """
    with _draft(path, content) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its file is the one that counts
        except OSError:  # there are no hard links: FAT, many network file systems
            _move(draft, path)
    flush_folder(path.parent)


def write(path: Path, content: bytes) -> None:
    """Put a file there, in the place of one that is there already, whole or not at all. Raises OSError."""
    with _draft(path, content) as draft:
        os.replace(draft, path)  # noqa: PTH105 - as `os.link`
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Have the disk know what is in a folder by which name. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NOT_FLUSHED:
            raise
    finally:
        os.close(folder)


def is_open_to_others(path: Path) -> bool:
    """Whether anybody but its owner may read or write a file; False where there is none."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & _OTHERS)
    except OSError:
        return False


def is_open_to_everybody(path: Path) -> bool:
    """Whether those may read or write a file who are neither its owner nor of its group; False where there is none."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & _EVERYBODY)
    except OSError:
        return False


def takes_files_of_others(folder: Path) -> bool:
    """Whether anybody but its owner may put a file in the place of another there; False where there is no such folder."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & _OTHERS_WRITE) and not mode & stat.S_ISVTX


@contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside `path` with this content, which the disk has. It is gone at the end, or has become another one."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(made, "wb") as file:  # noqa: PTH123 - it is open already
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _move(draft: Path, path: Path) -> None:
    """As a hard link, by whoever has the folder's lock: a name that is taken is never taken over."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not path.exists():
            os.replace(draft, path)  # noqa: PTH105 - as `os.link`
    finally:
        os.close(folder)


def check_certificates(path: Path) -> None:
    """Raise ValueError, with what it must be, for a file that is no bundle of certificates."""
    import ssl  # noqa: PLC0415 - few name a bundle, and it takes its time

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        message = "must be a file of certificates in PEM"
        raise ValueError(message) from None
