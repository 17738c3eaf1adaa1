"""Housekeeping: each room is tidied by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from idp.housekeeping import Housekeeper
from idp.runtime.database import Database, Transaction


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'idp.sqlite3'}")
    with database.writing() as tx:
        tx.execute(text("CREATE TABLE rooms (name TEXT)"))
        tx.execute(text("INSERT INTO rooms VALUES ('tidied'), ('tidied'), ('tidied'), ('broken')"))
    yield database
    database.dispose()


class BrokenRoom:
    def tidy(self, tx: Transaction) -> int:
        tx.execute(text("DELETE FROM rooms"))
        raise RuntimeError


def tidied(tx: Transaction) -> int:
    """One at a time, as rooms with very much to forget do."""
    return tx.execute(text("DELETE FROM rooms WHERE rowid = (SELECT min(rowid) FROM rooms WHERE name = 'tidied')")).rowcount


def test_a_room_that_cannot_be_tidied_keeps_no_other_from_it(database: Database) -> None:
    with capture_logs() as events:
        assert Housekeeper(database, [BrokenRoom().tidy, tidied, BrokenRoom().tidy]).tidy() == 3
    with database.reading() as tx:
        assert tx.execute(text("SELECT name FROM rooms")).scalars().all() == ["broken"]
    failed = {"event": "housekeeping.failed", "log_level": "warning", "what": "BrokenRoom.tidy", "error": "RuntimeError"}
    assert events == [failed, failed]
