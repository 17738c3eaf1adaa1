"""The writer's lock of SQLite: who waits for it gets it, or hears that it cannot be had."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from idp.runtime.database import Database
from idp.runtime.limits import Limits
from idp.runtime.outage import DatabaseUnavailableError
from tests.support.pace import slowness


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'test.db'}")
    with made.writing() as tx:
        tx.execute(text("CREATE TABLE things (number INTEGER)"))
    yield made
    made.dispose()


def write(database: Database, number: int) -> None:
    with database.writing() as tx:
        tx.execute(text(f"INSERT INTO things VALUES ({number})"))


def numbers(database: Database) -> list[int]:
    with database.reading() as tx:
        return list(tx.execute(text("SELECT number FROM things ORDER BY rowid")).scalars())


def test_a_writer_waits_until_the_other_one_is_done(database: Database) -> None:
    waiter = threading.Thread(target=write, args=(database, 2))
    with database.writing() as tx:
        tx.execute(text("INSERT INTO things VALUES (1)"))
        waiter.start()
        waiter.join(0.1)
        assert waiter.is_alive()
    waiter.join(20)
    assert numbers(database) == [1, 2]


def test_a_lock_that_cannot_be_had_is_an_error_once_in_its_time_and_spoils_no_connection(database: Database) -> None:
    hurried = Database(database.url, limits=Limits(lock=1))
    with database.writing() as tx:
        tx.execute(text("INSERT INTO things VALUES (1)"))
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError, match="locked"):
            write(hurried, 2)
        assert 1 <= time.monotonic() - began < 2 * slowness()  # not once more, in SQLite's own way
        assert numbers(hurried) == []  # who reads goes on
    hurried.availability.worked(writing=True, proven=True)
    write(hurried, 3)
    assert numbers(hurried) == [1, 3]
    hurried.dispose()


def test_what_is_wrong_with_a_database_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to look at\n" * 50)
    broken = Database(f"sqlite:///{tmp_path / 'text.db'}")
    with pytest.raises(DatabaseUnavailableError, match="no SQLite database"), broken.writing() as tx:
        tx.execute(text("SELECT 1"))
    broken.dispose()


def test_many_writers_lose_nothing(database: Database) -> None:
    def write_often(number: int) -> None:
        for _ in range(25):
            write(database, number)

    threads = [threading.Thread(target=write_often, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers(database)) == sorted(list(range(8)) * 25)
