"""Statements on stored authorization requests."""

from sqlalchemy import and_, bindparam, delete, insert, or_, update

from idp.authorization.models import PendingRow
from idp.authorization.rules import Pending
from idp.runtime.database import Transaction, columns_for, select_of, table_of

_requests = table_of(PendingRow)
_open = and_(_requests.c.used_at.is_(None), _requests.c.expires_at > bindparam("now"))
_INSERT = insert(_requests)
_OF_BROWSER = select_of(PendingRow, Pending).where(
    _requests.c.request_id == bindparam("request_id"), _requests.c.browser_hash == bindparam("browser_hash"), _open
)
_BIND = (
    update(_requests)
    .where(
        _requests.c.request_id == bindparam("of"),
        or_(_requests.c.browser_hash.is_(None), _requests.c.browser_hash == bindparam("browser")),
        _open,
    )
    .values(browser_hash=bindparam("browser"))
    .returning(*columns_for(PendingRow, Pending))
)
_MARK = {
    name: update(_requests)
    .where(_requests.c.request_id == bindparam("of"), _open)
    .values({name: bindparam("now")})
    .returning(_requests.c.request_id)
    for name in ("signed_in_at", "selected_at", "consented_at", "denied_at", "used_at")
}


_FORGET = delete(_requests).where(_requests.c.expires_at <= bindparam("now"))


def add(tx: Transaction, pending: Pending) -> None:
    """Insert a request."""
    tx.execute(_INSERT, {name: getattr(pending, name) for name in Pending.__dataclass_fields__})


def of_browser(tx: Transaction, request_id: str, browser_hash: str) -> Pending | None:
    """The request, if it is open and this browser's."""
    return tx.one(Pending, _OF_BROWSER, {"request_id": request_id, "browser_hash": browser_hash, "now": tx.now})


def bind(tx: Transaction, request_id: str, browser_hash: str) -> Pending | None:
    """The request, bound to this browser unless another one has it."""
    return tx.one(Pending, _BIND, {"of": request_id, "browser": browser_hash, "now": tx.now})


def mark(tx: Transaction, request_id: str, what: str) -> bool:
    """Note that something happened to an open request; False when it is open no more."""
    return tx.changed(_MARK[what], {"of": request_id, "now": tx.now})


def forget_expired(tx: Transaction) -> int:
    """Delete requests that nobody can go on with; returns their number."""
    return tx.execute(_FORGET, {"now": tx.now}).rowcount
