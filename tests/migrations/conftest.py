"""Every test here runs on an empty database of each system."""

from collections.abc import Iterator

import pytest

from tests.migrations.databases import sqlite


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where an empty database is."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_url")
    else:
        with sqlite() as found:
            yield found
