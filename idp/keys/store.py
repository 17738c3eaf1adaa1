"""Statements on signing keys."""

from sqlalchemy import bindparam, insert, update
from sqlalchemy.exc import IntegrityError

from idp.keys.models import SigningKeyRow
from idp.keys.rules import Key
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of

_keys = table_of(SigningKeyRow)
_ALL = select_of(SigningKeyRow, Key).order_by(_keys.c.active_at)
_INSERT = insert(_keys)
_ACTIVATE = (
    update(_keys)
    .where(_keys.c.kid == bindparam("of"), _keys.c.active_at > bindparam("at"), _keys.c.revoked_at.is_(None))
    .values(active_at=bindparam("at"))
    .returning(_keys.c.kid)
)


def every(tx: Transaction) -> list[Key]:
    """Every key that ever was."""
    return tx.all(Key, _ALL)


def add(tx: Transaction, key: Key) -> bool:
    """Insert a key; False when another instance has already made the successor of its predecessor."""
    try:
        with tx.connection.begin_nested():
            tx.execute(_INSERT, {column.name: getattr(key, column.name) for column in columns_for(SigningKeyRow, Key)})
    except IntegrityError:
        return False
    return True


def activate(tx: Transaction, kid: str, at: Instant) -> bool:
    """Let an announced key sign from `at` on, earlier than planned; False when it does already."""
    return tx.changed(_ACTIVATE, {"of": kid, "at": at})
