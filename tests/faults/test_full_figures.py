"""A disk on which the figures of `/metrics` have no room: the processes go on, and so does whoever is born in their place."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.mmap_dict import MmapedDict

from idp.runtime import figures
from tests.support import disks, http
from tests.support.serving import RunningProvider


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[disks.Disk]:
    """Where files go that live as long as a process."""
    with disks.small(tmp_path / "temporary") as disk:
        monkeypatch.setenv("TMPDIR", str(disk.folder))
        yield disk


@pytest.fixture
def provider(tmp_path: Path, disk: disks.Disk) -> Iterator[RunningProvider]:
    provider = RunningProvider(tmp_path)
    provider.start()
    try:
        yield provider
    finally:
        provider.close()


def workers(provider: RunningProvider, disk: disks.Disk) -> dict[int, list[Path]]:
    """The processes that keep figures, and their files."""
    assert provider.process is not None
    files = list(disk.folder.glob("idp-metrics-*/*.db"))
    of = {child.pid: [file for file in files if file.stem.endswith(f"_{child.pid}")] for child in _family(provider)}
    return {pid: found for pid, found in of.items() if found}


def _family(provider: RunningProvider) -> list[psutil.Process]:
    process = psutil.Process(provider.process.pid)  # type: ignore[union-attr]
    return [process, *process.children(recursive=True)]


def answer(provider: RunningProvider, path: str) -> int:
    try:
        return http.get(f"{provider.origin}{path}", timeout=2).status_code
    except http.httpx.TransportError:
        return 0


def test_figures_have_their_room_before_anything_is_written(provider: RunningProvider, disk: disks.Disk) -> None:
    """A page of memory that stands for a hole in a file on a full disk kills whoever writes into it."""
    found = [file for files in workers(provider, disk).values() for file in files]
    assert found
    assert all(file.stat().st_blocks * 512 >= file.stat().st_size for file in found)


def test_a_process_is_born_anew_where_the_disk_of_the_figures_is_full(provider: RunningProvider, disk: disks.Disk) -> None:
    """It began with a write into a hole, and so did the next one: nobody answered any more."""
    (before,) = workers(provider, disk).keys() - {provider.process.pid}  # type: ignore[union-attr]
    disk.fill(_family(provider))
    os.kill(before, signal.SIGKILL)
    until = time.monotonic() + 60
    while answer(provider, "/health/ready") != 200:
        assert time.monotonic() < until, provider.log_file.read_text()[-2000:]
        time.sleep(0.1)
    assert answer(provider, "/metrics") == 200
    assert answer(provider, "/jwks") == 200
    disk.free()
    assert answer(provider, "/metrics") == 200


def test_figures_that_had_no_room_come_into_the_file_when_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter(range(0, 1000, 6))
    monkeypatch.setattr(figures, "elapsed", lambda: float(next(instants)))
    place = tmp_path / "later" / "counter_1.db"
    kept = figures.Figures(str(place))
    kept.write_value("first", 1.0, 0.0)
    assert kept.read_value("first") == (1.0, 0.0)
    place.parent.mkdir()
    kept.write_value("second", 2.0, 0.0)
    kept.close()
    assert {key: value for key, value, _, _ in MmapedDict.read_all_values_from_file(str(place))} == {
        "first": 1.0,
        "second": 2.0,
    }


def test_a_file_grows_without_holes_and_a_disk_that_is_full_then_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "counter_1.db"
    kept = figures.Figures(str(place))
    for number in range(1000):
        kept.write_value(f"{number:0100}", float(number), 0.0)
    assert place.stat().st_size > 1 << 16
    assert place.stat().st_blocks * 512 >= place.stat().st_size
    with monkeypatch.context() as full:
        full.setattr(figures, "_append", _no_room)
        for number in range(1000, 5000):
            kept.write_value(f"{number:0100}", float(number), 0.0)
    assert kept.read_value(f"{4999:0100}") == (4999.0, 0.0)
    monkeypatch.setattr(figures, "elapsed", lambda: float("inf"))
    kept.write_value("last", 1.0, 0.0)
    kept.close()
    assert len(list(MmapedDict.read_all_values_from_file(str(place)))) == 5001


def _no_room(_descriptor: int, _count: int) -> None:
    raise OSError(28, "No space left on device")


def test_figures_of_a_process_that_had_the_same_number_go_on(tmp_path: Path) -> None:
    for expected in (0.0, 5.0):
        kept = figures.Figures(str(tmp_path / "counter_1.db"))
        assert kept.read_value("once") == (expected, 0.0)
        kept.write_value("once", 5.0, 0.0)
        kept.close()
