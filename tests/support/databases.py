"""An empty database for each test, of the system that the test is run on."""

from pathlib import Path

import pytest

DIALECTS = ("sqlite", "postgresql")


def fresh(request: pytest.FixtureRequest, folder: Path) -> str:
    """The address of an empty database of the dialect `request.param`, as SQLAlchemy takes it. It is gone after the test."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'idp.sqlite3'}"
    url: str = request.getfixturevalue("postgres_url")
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
