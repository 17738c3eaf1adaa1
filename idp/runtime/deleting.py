"""Deleting what is over, never more at once than the caller says: a table may hold millions of rows that are."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, delete, select, tuple_
from sqlalchemy.sql.dml import ReturningDelete

from idp.runtime.database import Transaction

#: The parameter that says how many rows at the most.
_MOST = "most"


def delete_at_most(
    table: Table, *over: ColumnElement[bool], first: ColumnElement[float] | None = None
) -> ReturningDelete[tuple[Any, ...]]:
    """`DELETE` rows that are `over`, at most `:most` of them, those with the smallest `first` before others; for `deleted`.

    Rows that somebody else holds are left to the next time. It returns the key of what went.
    """
    key = list(table.primary_key.columns)
    found = select(*key).where(*over).limit(bindparam(_MOST)).with_for_update(skip_locked=True)
    gone = (found if first is None else found.order_by(first)).cte("gone")
    columns = [gone.c[column.name] for column in key]
    chosen = key[0].in_(select(columns[0])) if len(key) == 1 else tuple_(*key).in_(select(*columns))
    return delete(table).where(chosen).returning(*key)


def deleted(
    tx: Transaction, statement: ReturningDelete[tuple[Any, ...]], most: int, values: Mapping[str, object] | None = None
) -> int:
    """Delete at most `most` rows; returns how many went. SQLite's driver counts nothing that begins with `WITH`."""
    return len(tx.execute(statement, {**(values or {}), _MOST: most}).all())
