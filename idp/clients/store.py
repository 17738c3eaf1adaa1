"""Statements on relying parties."""

from collections.abc import Collection

from sqlalchemy import bindparam, case, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.clients.models import ClientAssertionRow, ClientOriginRow, ClientRow
from idp.clients.rules import ClientRecord
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted
from idp.runtime.paging import Page

_clients, _assertions, _origins = table_of(ClientRow), table_of(ClientAssertionRow), table_of(ClientOriginRow)
_ALIVE = select_of(ClientRow, ClientRecord).where(_clients.c.ended_at.is_(None))
_BY_ID = _ALIVE.where(_clients.c.client_id == bindparam("client_id"))
_BY_IDS = _ALIVE.where(_clients.c.client_id.in_(bindparam("of", expanding=True)))
_LISTED = _ALIVE.order_by(_clients.c.created_at, _clients.c.client_id).limit(bindparam("most")).offset(bindparam("skipped"))
_SEALED = _ALIVE.where(or_(_clients.c.secret_sealed.is_not(None), _clients.c.retiring_sealed.is_not(None)))
_REMOVED_SINCE = select(_clients.c.client_id).where(_clients.c.ended_at > bindparam("since"))
#: A part of somebody else's statement: what a client has registered, NULL when it was removed.
REGISTERED_METADATA = (
    select(_clients.c.metadata)
    .where(_clients.c.client_id == bindparam("client_id"), _clients.c.ended_at.is_(None))
    .scalar_subquery()
)
_INSERT = insert(_clients)
_RETIRING = ("retiring_hash", "retiring_sealed", "retiring_until")
_FORGOTTEN = {
    "secret_hash": None,
    "secret_sealed": None,
    "registration_hash": None,
    "registration_hash_before": None,
    "secret_hash_before": None,
    "retiring_hash": None,
    "retiring_sealed": None,
    "retiring_until": None,
    "metadata": "{}",  # the identifier stays for a time, and what it stood for is nobody's business any more
}
_END = (
    update(_clients)
    .where(_clients.c.client_id == bindparam("of"), _clients.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), **_FORGOTTEN)
    .returning(_clients.c.client_id)
)
_END_UNUSED = _END.where(_clients.c.expires_at <= bindparam("now"))
_UNUSED = (
    select(_clients.c.client_id)
    .where(_clients.c.ended_at.is_(None), _clients.c.expires_at <= bindparam("now"))
    .order_by(_clients.c.client_id)
    .limit(bindparam("most"))
)
_COUNT = select(func.count()).where(_clients.c.ended_at.is_(None), _clients.c.expires_at.is_not(None))
_is_current = _clients.c.registration_hash == bindparam("presented")
_is_a_repetition = (_clients.c.registration_hash_before == bindparam("presented")) & (
    _clients.c.metadata == bindparam("registered")
)
#: Whoever gets another secret by other metadata keeps none of those before it.
_kept = {name: case((_clients.c.secret_hash == bindparam("hash"), _clients.c[name])) for name in _RETIRING}
#: The registration access token that was presented is part of the condition: of two different updates, one wins. The same
#: one may come again with the same token: then its answer was lost.
_REPLACE = (
    update(_clients)
    .where(
        _clients.c.client_id == bindparam("of"),
        _clients.c.ended_at.is_(None),
        or_(_is_current, _is_a_repetition),
    )
    .values(
        {
            "metadata": bindparam("registered"),
            "secret_hash": bindparam("hash"),
            "secret_sealed": bindparam("sealed"),
            "registration_hash": bindparam("next"),
            "expires_at": bindparam("until"),
            "registration_hash_before": bindparam("presented"),
            "secret_hash_before": bindparam("hash_before"),
            **_kept,
        }
    )
    .returning(_clients.c.client_id)
)
_of = _clients.c.client_id == bindparam("of"), _clients.c.ended_at.is_(None)
_SET = (
    update(_clients)
    .where(*_of, _clients.c.metadata == bindparam("read"))
    .values(
        {
            "metadata": bindparam("registered"),
            "secret_hash": bindparam("hash"),
            "secret_sealed": bindparam("sealed"),
            "registration_hash_before": None,
            "secret_hash_before": None,
            **_kept,
        }
    )
    .returning(_clients.c.client_id)
)
_ROTATE = (
    update(_clients)
    .where(*_of, _clients.c.secret_hash == bindparam("retiring"))
    .values(
        secret_hash=bindparam("hash"),
        secret_sealed=bindparam("sealed"),
        retiring_hash=_clients.c.secret_hash,
        retiring_sealed=_clients.c.secret_sealed,
        retiring_until=bindparam("until"),
        registration_hash_before=None,
        secret_hash_before=None,
    )
    .returning(_clients.c.client_id)
)
_FORGET_RETIRED = update(_clients).where(_clients.c.retiring_until <= bindparam("now")).values(dict.fromkeys(_RETIRING))
_RESEAL_RETIRING = (
    update(_clients)
    .where(*_of, _clients.c.retiring_sealed == bindparam("read"))
    .values(retiring_sealed=bindparam("sealed"))
    .returning(_clients.c.client_id)
)
_ARRIVED = (
    update(_clients)
    .where(_clients.c.client_id == bindparam("of"), _is_current)
    .values(registration_hash_before=None, secret_hash_before=None)
)
_USED = update(_clients).where(_clients.c.client_id == bindparam("of"), _clients.c.ended_at.is_(None))
_USED = _USED.values(expires_at=bindparam("until"))
_RESEAL = (
    update(_clients)
    .where(_clients.c.client_id == bindparam("of"), _clients.c.secret_sealed == bindparam("read"))
    .values(secret_sealed=bindparam("sealed"))
    .returning(_clients.c.client_id)
)
_ADD_ORIGIN = {
    "sqlite": sqlite.insert(_origins).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_origins).on_conflict_do_nothing(),
}
_FORGET_ORIGINS = delete(_origins).where(_origins.c.client_id == bindparam("of"))
_IS_ORIGIN = select(_origins.c.origin).where(_origins.c.origin == bindparam("origin")).limit(1)
_SPEND = {
    "sqlite": sqlite.insert(_assertions).on_conflict_do_nothing().returning(_assertions.c.once),
    "postgresql": postgresql.insert(_assertions).on_conflict_do_nothing().returning(_assertions.c.once),
}
_FORGET = delete_at_most(_clients, _clients.c.ended_at < bindparam("before"), first=_clients.c.ended_at)
_FORGET_SPENT = delete_at_most(_assertions, _assertions.c.expires_at <= bindparam("now"))


def by_id(tx: Transaction, client_id: str) -> ClientRecord | None:
    """The client's record, unless it was removed."""
    return tx.one(ClientRecord, _BY_ID, {"client_id": client_id})


def by_ids(tx: Transaction, client_ids: Collection[str]) -> list[ClientRecord]:
    """The records of those that were not removed."""
    return tx.all(ClientRecord, _BY_IDS, {"of": sorted(client_ids)}) if client_ids else []


def listed(tx: Transaction, page: Page) -> list[ClientRecord]:
    """One page of the clients that were not removed, oldest first."""
    return tx.all(ClientRecord, _LISTED, {"most": page.size, "skipped": page.skipped})


def sealed(tx: Transaction) -> list[ClientRecord]:
    """Every client whose secret is kept sealed."""
    return tx.all(ClientRecord, _SEALED)


def add(tx: Transaction, record: ClientRecord, origins: Collection[str]) -> None:
    """Insert a client, whose pages are at home at `origins`."""
    values = {name: getattr(record, name) for name in ClientRecord.__dataclass_fields__}
    tx.execute(_INSERT, values)
    _add_origins(tx, record.client_id, origins)


def _add_origins(tx: Transaction, client_id: str, origins: Collection[str]) -> None:
    if origins:
        rows = [{"client_id": client_id, "origin": origin} for origin in sorted(origins)]
        tx.execute(_ADD_ORIGIN[tx.connection.dialect.name], rows)


def is_origin(tx: Transaction, origin: str) -> bool:
    """Whether pages of some client are at home there."""
    return tx.execute(_IS_ORIGIN, {"origin": origin}).first() is not None


def replace(tx: Transaction, record: ClientRecord, origins: Collection[str]) -> bool:
    """Put `record` in the place of what is registered, for the registration access token that it replaces.

    False when that token counts no more, or when it counts only for repeating another update.
    """
    values = {
        "of": record.client_id,
        "presented": record.registration_hash_before,
        "hash_before": record.secret_hash_before,
        "registered": record.metadata,
        "hash": record.secret_hash,
        "sealed": record.secret_sealed,
        "next": record.registration_hash,
        "until": record.expires_at,
    }
    if not tx.changed(_REPLACE, values):
        return False
    tx.execute(_FORGET_ORIGINS, {"of": record.client_id})
    _add_origins(tx, record.client_id, origins)
    return True


def set_metadata(tx: Transaction, record: ClientRecord, before: str, origins: Collection[str]) -> bool:
    """Put `record` in the place of the metadata `before`; False when somebody else was faster.

    Whoever updated the client by itself and lost the answer cannot repeat that: it would undo this.
    """
    values = {
        "of": record.client_id,
        "read": before,
        "registered": record.metadata,
        "hash": record.secret_hash,
        "sealed": record.secret_sealed,
    }
    if not tx.changed(_SET, values):
        return False
    tx.execute(_FORGET_ORIGINS, {"of": record.client_id})
    _add_origins(tx, record.client_id, origins)
    return True


def rotate_secret(
    tx: Transaction, client_id: str, retiring: str, secret_hash: str, secret_sealed: bytes | None, until: Instant
) -> bool:
    """Give the client another secret; the one whose hash is `retiring` counts until then. False when it is another by now."""
    values = {"of": client_id, "retiring": retiring, "hash": secret_hash, "sealed": secret_sealed, "until": until}
    return tx.changed(_ROTATE, values)


def forget_retired(tx: Transaction) -> int:
    """Delete what is kept of secrets that count no more. Returns how many."""
    return tx.execute(_FORGET_RETIRED, {"now": tx.now}).rowcount


def arrived(tx: Transaction, client_id: str, registration_hash: str) -> None:
    """The client has this registration access token: forget the one before it."""
    tx.execute(_ARRIVED, {"of": client_id, "presented": registration_hash})


def end(tx: Transaction, client_id: str, *, unused: bool = False) -> bool:
    """Mark a client removed; False when there was none. `unused` does so only if its registration has lapsed."""
    if not tx.changed(_END_UNUSED if unused else _END, {"of": client_id, "now": tx.now}):
        return False
    tx.execute(_FORGET_ORIGINS, {"of": client_id})
    return True


def removed_since(tx: Transaction, since: Instant) -> list[str]:
    """Clients that were removed after `since`."""
    return list(tx.execute(_REMOVED_SINCE, {"since": since}).scalars())


def unused(tx: Transaction, limit: int) -> list[str]:
    """Clients whose registration has lapsed, at most `limit` of them."""
    return list(tx.execute(_UNUSED, {"now": tx.now, "most": limit}).scalars())


def count_registered(tx: Transaction) -> int:
    """How many clients live that registered themselves."""
    return int(tx.execute(_COUNT).scalar_one())


def used(tx: Transaction, client_id: str, until: Instant) -> None:
    """Let a registration last until then."""
    tx.execute(_USED, {"of": client_id, "until": until})


def reseal(tx: Transaction, client_id: str, read: bytes, secret_sealed: bytes, *, retiring: bool) -> bool:
    """Put another sealing in the place of the one that was read; False when somebody else was faster."""
    statement = _RESEAL_RETIRING if retiring else _RESEAL
    return tx.changed(statement, {"of": client_id, "read": read, "sealed": secret_sealed})


def spend(tx: Transaction, once: str, expires_at: Instant) -> bool:
    """Write down that an assertion was used; False when it was used before."""
    return tx.execute(_SPEND[tx.connection.dialect.name], {"once": once, "expires_at": expires_at}).first() is not None


def forget_spent(tx: Transaction) -> int:
    """Delete some of the assertions that nobody can use any more. Returns how many."""
    return deleted(tx, _FORGET_SPENT, AT_ONCE, {"now": tx.now})


def forget(tx: Transaction, before: Instant, most: int) -> int:
    """Delete clients that were removed before `before`, at most `most`. Returns how many."""
    return deleted(tx, _FORGET, most, {"before": before})
