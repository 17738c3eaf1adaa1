"""A reading transaction cannot write, on either database, whatever was done on its connection before."""

from pathlib import Path

import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError

from idp.keys.models import SigningKeyRow
from idp.runtime.database import Database, table_of
from tests.support.databases import DIALECTS, migrated

KEYS = table_of(SigningKeyRow)


@pytest.mark.parametrize("pool", [1, 5])
@pytest.mark.parametrize("fresh", DIALECTS)
def test_a_reading_transaction_cannot_write(request: pytest.FixtureRequest, tmp_path: Path, fresh: str, pool: int) -> None:
    request.param = fresh
    database = Database(migrated(request, tmp_path), pool_size=pool)
    for _ in range(2):
        with pytest.raises(DBAPIError, match=r"read-?only|readonly"), database.reading() as tx:
            tx.execute(delete(KEYS))
        with database.reading() as tx:
            assert tx.execute(select(KEYS.c.kid)).all() == []
        with database.writing() as tx:
            tx.execute(delete(KEYS))
        with database.trying() as tx:
            tx.execute(delete(KEYS))
    database.dispose()
