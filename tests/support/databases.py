"""An empty database for each test, of the system that the test is run on."""

from pathlib import Path

import pytest
from sqlalchemy import text

from idp.runtime.database import Database

DIALECTS = ("sqlite", "postgresql")


def fresh(request: pytest.FixtureRequest, folder: Path) -> str:
    """The address of an empty database of the dialect `request.param`, as SQLAlchemy takes it. It is gone after the test."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'idp.sqlite3'}"
    url: str = request.getfixturevalue("postgres_url")
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def waits_for_a_lock(database: Database) -> bool:
    """Whether a transaction waits for another one's row. On SQLite, where one writes at a time, it can for nothing else."""
    if database.dialect == "sqlite":
        return True
    with database.reading() as tx:
        return bool(tx.execute(_WAITING).scalar())
