"""Statements on relying parties."""

from sqlalchemy import bindparam, insert, select, update

from idp.clients.models import ClientRow
from idp.clients.rules import ClientRecord
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, select_of, table_of

_clients = table_of(ClientRow)
_ALIVE = select_of(ClientRow, ClientRecord).where(_clients.c.ended_at.is_(None))
_BY_ID = _ALIVE.where(_clients.c.client_id == bindparam("client_id"))
_LISTED = _ALIVE.order_by(_clients.c.created_at)
_REMOVED_SINCE = select(_clients.c.client_id).where(_clients.c.ended_at > bindparam("since"))
_INSERT = insert(_clients)
_END = (
    update(_clients)
    .where(_clients.c.client_id == bindparam("of"), _clients.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), secret_hash=None, secret_sealed=None, registration_hash=None)
    .returning(_clients.c.client_id)
)


def by_id(tx: Transaction, client_id: str) -> ClientRecord | None:
    """The client's record, unless it was removed."""
    return tx.one(ClientRecord, _BY_ID, {"client_id": client_id})


def listed(tx: Transaction) -> list[ClientRecord]:
    """Every client that was not removed, oldest first."""
    return tx.all(ClientRecord, _LISTED)


def add(tx: Transaction, record: ClientRecord) -> None:
    """Insert a client."""
    values = {name: getattr(record, name) for name in ClientRecord.__dataclass_fields__}
    tx.execute(_INSERT, values)


def end(tx: Transaction, client_id: str) -> bool:
    """Mark a client removed; False when there was none."""
    return tx.changed(_END, {"of": client_id, "now": tx.now})


def removed_since(tx: Transaction, since: Instant) -> list[str]:
    """Clients that were removed after `since`."""
    return list(tx.execute(_REMOVED_SINCE, {"since": since}).scalars())
