"""The secret that the embedded default makes for itself: once, for its owner alone, the same for all that race."""

import multiprocessing
import os
import stat
import threading
from pathlib import Path

import pytest

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
