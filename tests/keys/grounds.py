"""What tests of a single room stand on: a clock that is moved by hand, and a database with that room's tables only."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import delete, make_url, text

from idp.runtime.database import Base, Database, table_of

EPOCH = 1_800_000_000.0
DATABASES = ("sqlite", "postgresql")


@dataclass
class Clock:
    """The time, as a test wants it."""

    now: float = EPOCH

    def __call__(self) -> float:
        return self.now


@contextmanager
def database_for(
    request: pytest.FixtureRequest, folder: Path, clock: Clock, models: Sequence[type[Base]]
) -> Iterator[Database]:
    """A database of the kind `request.param` with the tables of `models`; on PostgreSQL in a schema of its own."""
    tables = [table_of(model) for model in models]
    if request.param == "sqlite":
        database = Database(f"sqlite:///{folder / 'idp.sqlite3'}", clock)
        Base.metadata.create_all(database.engine, tables)
        yield database
        database.dispose()
        return
    schema = f"room_{secrets.token_hex(6)}"
    url = make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
    outside = Database(url.render_as_string(hide_password=False))
    with outside.writing() as tx:
        tx.execute(text(f"CREATE SCHEMA {schema}"))
    inside = url.update_query_dict({"options": f"-csearch_path={schema}"})
    database = Database(inside.render_as_string(hide_password=False), clock)
    Base.metadata.create_all(database.engine, tables)
    yield database
    database.dispose()
    with outside.writing() as tx:
        tx.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    outside.dispose()


def empty(database: Database, models: Sequence[type[Base]]) -> None:
    """Delete every row of the tables of `models`."""
    with database.writing() as tx:
        for model in reversed(models):
            tx.execute(delete(table_of(model)))
