"""What tests of a single room stand on: a clock that is moved by hand, and a database with that room's tables only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import delete, make_url

from idp.runtime.database import Base, Database, table_of

EPOCH = 1_800_000_000.0
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
DATABASES = tuple(DRIVERS)


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
    """A database of its own, of the kind `request.param`, with the tables of `models`."""
    databases = request.getfixturevalue("postgres_databases") if request.param == "postgresql" else None
    url = f"sqlite:///{folder / 'idp.sqlite3'}" if databases is None else databases()
    database = Database(make_url(url).set(drivername=DRIVERS[request.param]).render_as_string(hide_password=False), clock)
    Base.metadata.create_all(database.engine, [table_of(model) for model in models])
    yield database
    database.dispose()
    if databases is not None:
        databases.drop(url)


def empty(database: Database, models: Sequence[type[Base]]) -> None:
    """Delete every row of the tables of `models`."""
    with database.writing() as tx:
        for model in reversed(models):
            tx.execute(delete(table_of(model)))
