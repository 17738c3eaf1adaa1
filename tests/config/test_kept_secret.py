"""The secret that the embedded default makes for itself: once, for its owner alone, the same for all that race."""

import errno
import multiprocessing
import os
import stat
import threading
from pathlib import Path

import pytest

from idp import files
from idp.config import MINIMUM_SECRET_LENGTH, SECRET_KEY_FILE, Settings, SettingsError

MANY = 8


def secret_in(folder: str) -> bytes:
    return Settings(data_dir=Path(folder)).secret_keys[0]


def test_it_is_made_once_and_kept(nowhere: Path) -> None:
    first = secret_in(str(nowhere / "var"))
    assert len(first) >= MINIMUM_SECRET_LENGTH
    assert secret_in(str(nowhere / "var")) == first
    assert (nowhere / "var" / SECRET_KEY_FILE).read_bytes() == first
    assert secret_in(str(nowhere / "elsewhere")) != first


def test_only_its_owner_can_read_it_and_no_draft_stays(nowhere: Path) -> None:
    before = os.umask(0)  # the most careless one
    try:
        secret_in(str(nowhere / "var"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((nowhere / "var" / SECRET_KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((nowhere / "var").stat().st_mode) == 0o700
    assert [path.name for path in (nowhere / "var").iterdir()] == [SECRET_KEY_FILE]


def test_processes_that_race_agree_on_one(nowhere: Path) -> None:
    folder = str(nowhere / "var")
    with multiprocessing.get_context("spawn").Pool(MANY) as pool:
        found = pool.map(secret_in, [folder] * MANY, chunksize=1)
    assert len(set(found)) == 1
    assert len(found[0]) >= MINIMUM_SECRET_LENGTH


def test_threads_that_race_agree_on_one(nowhere: Path) -> None:
    for attempt in range(20):
        folder, found, together = str(nowhere / f"var{attempt}"), [], threading.Barrier(MANY)

        def look(folder: str = folder, found: list[bytes] = found, together: threading.Barrier = together) -> None:
            together.wait()
            found.append(secret_in(folder))

        threads = [threading.Thread(target=look) for _ in range(MANY)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == MANY
        assert len(set(found)) == 1


def test_a_secret_that_is_set_makes_no_file(nowhere: Path) -> None:
    settings = Settings(data_dir=nowhere / "var", secret_key="the secret of this deployment: long enough")  # type: ignore[arg-type]
    assert settings.secret_keys
    assert not (nowhere / "var").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"short"])
def test_a_kept_secret_that_anybody_could_guess_stops_the_start(nowhere: Path, content: bytes) -> None:
    """An empty file (a mount that was never filled, a full disk) would make every derived key public knowledge."""
    folder = nowhere / "var"
    folder.mkdir()
    (folder / SECRET_KEY_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match=SECRET_KEY_FILE):
        secret_in(str(folder))


# -- disks ------------------------------------------------------------------------------------------------------------

NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def without_links(folder: str) -> bytes:
    """The secret, in a process on whose disk there are no hard links."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    os.link = refuse
    return secret_in(folder)


@pytest.mark.parametrize("code", NO_HARD_LINKS)
def test_it_is_kept_where_there_are_no_hard_links(nowhere: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    first = secret_in(str(nowhere / "var"))
    assert secret_in(str(nowhere / "var")) == first
    assert [path.name for path in (nowhere / "var").iterdir()] == [SECRET_KEY_FILE]
    assert stat.S_IMODE((nowhere / "var" / SECRET_KEY_FILE).stat().st_mode) == 0o600


def test_processes_that_race_without_hard_links_agree_on_one(nowhere: Path) -> None:
    folder = str(nowhere / "var")
    with multiprocessing.get_context("spawn").Pool(MANY) as pool:
        found = pool.map(without_links, [folder] * MANY, chunksize=1)
    assert len(set(found)) == 1
    assert len(found[0]) >= MINIMUM_SECRET_LENGTH


@pytest.mark.parametrize("with_links", [True, False])
def test_the_disk_has_it_before_anything_is_sealed_by_it(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, *, with_links: bool
) -> None:
    """The database that it seals is flushed: after a power cut it must not be there without its secret."""
    done: list[tuple[str, str]] = []
    flush, link, replace = os.fsync, os.link, os.replace

    def flushing(file: int) -> None:
        done.append(("flushed", Path(f"/proc/self/fd/{file}").resolve().name))
        flush(file)

    def linking(draft: str, path: str) -> None:
        if not with_links:
            raise OSError(errno.EPERM, "Operation not permitted")
        link(draft, path)
        done.append(("named", Path(path).name))

    def replacing(draft: str, path: str) -> None:
        replace(draft, path)
        done.append(("named", Path(path).name))

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "link", linking)
    monkeypatch.setattr(os, "replace", replacing)
    secret_in(str(nowhere / "var"))
    assert done[0] == ("flushed", nowhere.name)  # the data directory, which is new
    assert done[1][0] == "flushed"
    assert done[1][1].startswith(SECRET_KEY_FILE + ".")
    assert done[2:] == [("named", SECRET_KEY_FILE), ("flushed", "var")]


def test_a_full_disk_leaves_no_part_of_it(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (nowhere / "var").mkdir()
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SettingsError, match="No space left"):
        secret_in(str(nowhere / "var"))
    assert list((nowhere / "var").iterdir()) == []


def test_what_takes_another_files_place_does_so_whole(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = nowhere / "demo.json"
    files.write(file, b"before")
    file.chmod(0o644)

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            files.write(file, b"after")
    assert file.read_bytes() == b"before"
    files.write(file, b"after")
    assert file.read_bytes() == b"after"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in nowhere.iterdir()] == ["demo.json"]
