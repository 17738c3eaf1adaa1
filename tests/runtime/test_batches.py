"""Batches: each commits, others write in between, and the work stops where it is told to."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text

from idp.runtime import batches
from idp.runtime.batches import in_batches
from idp.runtime.database import Database, Transaction
from idp.runtime.deleting import delete_at_most, deleted
from idp.runtime.periodic import Periodic
from tests.support.databases import DIALECTS, fresh

_things = Table("things", MetaData(), Column("number", Integer, primary_key=True), Column("half", Integer, primary_key=True))
_DELETE = delete_at_most(_things, _things.c.number >= 0, first=_things.c.number)  # type: ignore[arg-type]
MANY = 25


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(fresh(request, tmp_path))
    with made.writing() as tx:
        tx.execute(text("CREATE TABLE things (number INTEGER, half INTEGER, PRIMARY KEY (number, half))"))
        tx.execute(insert(_things), [{"number": number // 2, "half": number % 2} for number in range(MANY)])
    yield made
    made.dispose()


def count(database: Database) -> int:
    with database.reading() as tx:
        return int(tx.execute(select(func.count()).select_from(_things)).scalar_one())


def ten(tx: Transaction) -> int:
    return deleted(tx, _DELETE, 10)


def test_each_batch_commits_and_there_is_a_rest_between_two(database: Database) -> None:
    rests: list[float] = []
    seen = [(done, count(database)) for done in in_batches(database, ten, rests.append)]
    assert seen == [(10, 15), (10, 5), (5, 0)]
    assert rests[0] == 0.0
    assert len(rests) == 4
    assert all(seconds >= batches.REST_SECONDS for seconds in rests[1:])


def test_the_longer_a_batch_takes_the_longer_others_have(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = iter(range(0, 1000, 8))
    monkeypatch.setattr(batches, "elapsed", lambda: next(passed))
    rests: list[float] = []
    list(in_batches(database, ten, rests.append))
    assert rests == [0.0, 4.0, 4.0, 4.0]


def test_another_writer_comes_in_between(database: Database) -> None:
    """It asks while a batch holds the lock, and has it before the next one."""
    order: list[str] = []
    asked = threading.Event()

    def write() -> None:
        asked.set()
        with database.writing() as tx:
            tx.execute(text("INSERT INTO things VALUES (1000, 0)"))
        order.append("other")

    other = threading.Thread(target=write)

    def batch(tx: Transaction) -> int:
        done = deleted(tx, _DELETE, 10)
        if not order:
            other.start()
            asked.wait(10)
        order.append("batch")
        return done

    def rest(seconds: float) -> bool:
        if seconds:
            other.join(20)  # as long as it takes on a busy machine
        return len(order) > 3

    list(in_batches(database, batch, rest))
    assert order[:3] == ["batch", "other", "batch"]


def test_work_that_is_to_stop_begins_no_other_batch(database: Database) -> None:
    rounds = Periodic("test", 1000.0, lambda: None, lambda _error: None)
    work = in_batches(database, ten, rounds.rest)
    assert next(work) == 10
    rounds.stop()
    assert list(work) == []
    assert count(database) == MANY - 10


def test_a_batch_that_fails_is_rolled_back_alone(database: Database) -> None:
    failure = RuntimeError("no room")

    def batch(tx: Transaction) -> int:
        done = deleted(tx, _DELETE, 10)
        if done < 10:
            raise failure
        return done

    with pytest.raises(RuntimeError):
        list(in_batches(database, batch, lambda _seconds: False))
    assert count(database) == 5


def test_periodic_work_that_is_woken_is_done_at_once() -> None:
    done = threading.Event()
    rounds = Periodic("test", 1000.0, done.set, lambda _error: None)
    rounds.start()
    rounds.wake()
    assert done.wait(20)
    rounds.stop()
