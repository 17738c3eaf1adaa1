"""Empty databases to migrate, on both systems."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command

from idp.runtime import migrations
from idp.runtime.database import Database
from tests.support import postgres


@contextmanager
def sqlite() -> Iterator[str]:
    """The URL of an SQLite file that does not exist yet."""
    with tempfile.TemporaryDirectory(prefix="idp-migrations-") as folder:
        yield f"sqlite:///{Path(folder) / 'idp.sqlite3'}"


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database on a server of its own."""
    with postgres.serving() as databases:
        yield databases()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """The database at `url`, closed at the end."""
    database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def opened_at(url: str, revision: str) -> Iterator[Database]:
    """An empty database at `url`, brought to what that revision left."""
    with opened(url) as database:
        with database.writing(rebuilding=True) as tx:
            tx.connection.begin()
            config = migrations.configuration()
            config.attributes["connection"] = tx.connection
            command.upgrade(config, revision)
        yield database
