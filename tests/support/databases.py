"""An empty database for each test, of the system that the test is run on."""

import tempfile
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import text

from idp.runtime import migrations
from idp.runtime.database import Database

DIALECTS = ("sqlite", "postgresql")


def fresh(request: pytest.FixtureRequest, folder: Path) -> str:
    """The address of an empty database of the dialect `request.param`, as SQLAlchemy takes it. It is gone after the test."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'idp.sqlite3'}"
    url: str = request.getfixturevalue("postgres_url")
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def migrated(request: pytest.FixtureRequest, folder: Path) -> str:
    """As `fresh`, of a database whose schema is up to date."""
    if request.param == "sqlite":
        return f"sqlite:///{migrated_file(folder)}"
    databases = request.getfixturevalue("postgres_databases")
    url: str = databases.migrated()
    request.addfinalizer(lambda: databases.drop(url))
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def migrated_file(folder: Path) -> Path:
    """The file of an embedded database in `folder`, its schema up to date. To copy it takes a hundredth of migrating it."""
    path = folder / "idp.sqlite3"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(_template())
    return path


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "idp.sqlite3"
        database = Database(f"sqlite:///{path}")
        migrations.upgrade(database)
        database.dispose()
        assert [each.name for each in Path(folder).iterdir()] == [path.name], "what was written is not all in the file"
        return path.read_bytes()


_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def waits_for_a_lock(database: Database) -> bool:
    """Whether a transaction waits for another one's row. On SQLite, where one writes at a time, it can for nothing else."""
    if database.dialect == "sqlite":
        return True
    with database.reading() as tx:
        return bool(tx.execute(_WAITING).scalar())
