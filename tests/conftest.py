"""What every test may ask for: PostgreSQL and a browser, both from packages. A missing one is a failure, never a skip.

An HSM and nginx alone are from the system's packages: without one its tests are left out, and the last line of the run says so.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support import chromium, memory, nginx, postgres, preloaded, softhsm, tiers
from tests.support.serving import Providers
from tests.support.timing import Timing

_FOLDER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make quick` is one option."""
    parser.addoption("--quick", action="store_true", help="leave out what is proof, and run the rest on one database each")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """See `tests.support.tiers`."""
    tiers.mark(items)
    kept, left = tiers.chosen(items, quick=config.getoption("--quick"))
    if left:
        config.hook.pytest_deselected(items=left)
    items[:] = tiers.proof_first(kept)


def pytest_xdist_auto_num_workers() -> int:
    """Three test processes for two cores: some of the time a test waits for a server, and each has its own PostgreSQL."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, cores * 3 // 2)


def pytest_configure(config: pytest.Config) -> None:
    """What tests write lies in memory, that of the other test processes too."""
    config.pluginmanager.register(Timing(quick=config.getoption("--quick")))
    if not hasattr(config, "workerinput") and (folder := memory.enter()) is not None:
        config.stash[_FOLDER] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing of it is left."""
    preloaded.close()
    if (folder := config.stash.get(_FOLDER, None)) is not None:
        memory.leave(folder)


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[postgres.Databases]:
    """One PostgreSQL server for this test process; calling it makes an empty database."""
    with postgres.serving() as databases:
        yield databases


@pytest.fixture(scope="session")
def providers(postgres_databases: postgres.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Providers]:
    """Providers that run until the end of this test process: one for each deployment that tests ask for."""
    running = Providers(postgres_databases.migrated, tmp_path_factory.mktemp)
    yield running
    running.close()


@pytest.fixture
def postgres_url(postgres_databases: postgres.Databases) -> Iterator[str]:
    """The address of an empty database of this test's own."""
    url = postgres_databases()
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A real Chromium, of this test's own: in its single process a second context may hang."""
    with chromium.launched() as launched:
        yield launched


@pytest.fixture
def hsm_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> softhsm.Token:
    """An empty token of this test's own in SoftHSM."""
    if softhsm.library() is None:
        pytest.skip(softhsm.MISSING)
    monkeypatch.setenv("SOFTHSM2_CONF", os.devnull)  # so that it is as it was after the test
    return softhsm.Token.make(tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that tests were left out, and how to get them."""
    for missing in (softhsm.MISSING, nginx.MISSING):
        left_out = [each for each in terminalreporter.stats.get("skipped", ()) if missing in str(each.longrepr)]
        if left_out:
            terminalreporter.write_line(f"{len(left_out)} tests were left out. {missing}.", red=True, bold=True)
