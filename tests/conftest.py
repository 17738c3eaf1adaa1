"""What every test may ask for: PostgreSQL and a browser, both from packages. A missing one is a failure, never a skip."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support import chromium, postgres


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[postgres.Databases]:
    """One PostgreSQL server for this test process; calling it makes an empty database."""
    with postgres.serving() as databases:
        yield databases


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
