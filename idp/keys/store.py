"""Statements on signing keys."""

from sqlalchemy import bindparam, case, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.keys.models import SigningKeyRow
from idp.keys.rules import Key
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of

_keys = table_of(SigningKeyRow)
_ALL = select_of(SigningKeyRow, Key).order_by(_keys.c.active_at)
_INSERT = {
    "sqlite": sqlite.insert(_keys).on_conflict_do_nothing().returning(_keys.c.kid),
    "postgresql": postgresql.insert(_keys).on_conflict_do_nothing().returning(_keys.c.kid),
}
_LIVING = _keys.c.kid == bindparam("of"), _keys.c.revoked_at.is_(None)
_ACTIVATE = (
    update(_keys)
    .where(*_LIVING, _keys.c.active_at > bindparam("at"))
    .values(
        active_at=bindparam("at"),
        published_at=case((_keys.c.published_at < bindparam("at"), _keys.c.published_at), else_=bindparam("at")),
    )
    .returning(_keys.c.kid)
)
_REVOKE = (
    update(_keys).where(*_LIVING).values(revoked_at=bindparam("at"), revoked_reason=bindparam("reason")).returning(_keys.c.kid)
)
_LIVE_UNDER = (
    update(_keys)
    .where(
        _keys.c.revoked_at.is_(None),
        or_(_keys.c.announcement < bindparam("longest"), _keys.c.retention < bindparam("life")),
    )
    .values(
        announcement=case((_keys.c.announcement < bindparam("longest"), bindparam("longest")), else_=_keys.c.announcement),
        retention=case((_keys.c.retention < bindparam("life"), bindparam("life")), else_=_keys.c.retention),
    )
)
_RESEAL = (
    update(_keys)
    .where(_keys.c.kid == bindparam("of"), _keys.c.sealed == bindparam("before"))
    .values(sealed=bindparam("after"))
    .returning(_keys.c.kid)
)


def every(tx: Transaction) -> list[Key]:
    """Every key that ever was."""
    return tx.all(Key, _ALL)


def add(tx: Transaction, key: Key) -> bool:
    """Insert a key; False when another instance has already made the successor of its predecessor."""
    values = {column.name: getattr(key, column.name) for column in columns_for(SigningKeyRow, Key)}
    return tx.changed(_INSERT[tx.connection.dialect.name], values)


def activate(tx: Transaction, kid: str, at: Instant) -> bool:
    """Let a key sign from `at` on, earlier than planned; False when it does already, or is revoked."""
    return tx.changed(_ACTIVATE, {"of": kid, "at": at})


def revoke(tx: Transaction, kid: str, reason: str) -> bool:
    """Mark a key revoked; False when it was already, or never was."""
    return tx.changed(_REVOKE, {"of": kid, "at": tx.now, "reason": reason})


def live_under(tx: Transaction, announcement: float, retention: float) -> None:
    """Note for every key that it lives under a policy with these bounds: the largest of each count."""
    tx.execute(_LIVE_UNDER, {"longest": announcement, "life": retention})


def reseal(tx: Transaction, key: Key, sealed: bytes) -> bool:
    """Put another sealing in the place of the one that was read; False when somebody else was faster."""
    return tx.changed(_RESEAL, {"of": key.kid, "before": key.sealed, "after": sealed})
