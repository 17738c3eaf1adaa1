"""Statements on authorization codes, prepared once."""

from sqlalchemy import bindparam, delete, insert, update

from idp.grants.models import CodeRow
from idp.grants.rules import Code
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted

_codes = table_of(CodeRow)
_INSERT = insert(_codes)
_OF_CLIENT = select_of(CodeRow, Code).where(
    _codes.c.code_hash == bindparam("code_hash"), _codes.c.client_id == bindparam("client_id")
)
_CONSUME = (
    update(_codes)
    .where(
        _codes.c.code_hash == bindparam("of"),
        _codes.c.client_id == bindparam("by"),
        _codes.c.used_at.is_(None),
        _codes.c.expires_at > bindparam("now"),
    )
    .values(used_at=bindparam("now"), family_id=bindparam("gives"))
    .returning(*columns_for(CodeRow, Code))
)
_END = delete(_codes).where(
    _codes.c.subject == bindparam("of"), _codes.c.client_id == bindparam("by"), _codes.c.used_at.is_(None)
)
_IN_FLIGHT = select_of(CodeRow, Code).where(
    _codes.c.client_id == bindparam("by"), _codes.c.used_at.is_(None), _codes.c.expires_at > bindparam("now")
)
_END_ONE = delete(_codes).where(_codes.c.code_hash == bindparam("of"), _codes.c.used_at.is_(None))
_FORGET = delete_at_most(_codes, _codes.c.expires_at <= bindparam("before"))


def add(tx: Transaction, code: Code) -> None:
    """Insert a code."""
    tx.execute(_INSERT, {name: getattr(code, name) for name in Code.__dataclass_fields__})


def consume(tx: Transaction, code_hash: str, client_id: str, family_id: str) -> Code | None:
    """Spend the code, in one statement, for the family that it gives; None when it cannot be spent."""
    return tx.one(Code, _CONSUME, {"of": code_hash, "by": client_id, "now": tx.now, "gives": family_id})


def of_client(tx: Transaction, code_hash: str, client_id: str) -> Code | None:
    """The code, spent or not, if it was issued to this client: another client's guess finds nothing."""
    return tx.one(Code, _OF_CLIENT, {"code_hash": code_hash, "client_id": client_id})


def end(tx: Transaction, subject: str, client_id: str) -> int:
    """Delete what is not spent yet of what a person allowed a client; returns the number."""
    return tx.execute(_END, {"of": subject, "by": client_id}).rowcount


def in_flight(tx: Transaction, client_id: str) -> list[Code]:
    """What a client was sent and has not spent."""
    return tx.all(Code, _IN_FLIGHT, {"by": client_id, "now": tx.now})


def end_one(tx: Transaction, code_hash: str) -> bool:
    """Delete a code that is not spent; False when it is by now."""
    return tx.execute(_END_ONE, {"of": code_hash}).rowcount == 1


def forget(tx: Transaction, before: Instant) -> int:
    """Delete some of the codes that expired before an instant; returns their number."""
    return deleted(tx, _FORGET, AT_ONCE, {"before": before})
