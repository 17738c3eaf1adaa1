"""Statements on stored authorization requests."""

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from idp.authorization.models import PendingRow
from idp.authorization.rules import Pending
from idp.runtime.batches import AT_ONCE
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted

_requests = table_of(PendingRow)
_open = and_(_requests.c.used_at.is_(None), _requests.c.expires_at > bindparam("now"))
_INSERT = insert(_requests)
_OF_BROWSER = select_of(PendingRow, Pending).where(
    _requests.c.request_id == bindparam("request_id"), _requests.c.browser_hash == bindparam("browser_hash"), _open
)
_KNOWN_TO_BROWSER = select_of(PendingRow, Pending).where(
    _requests.c.request_id == bindparam("request_id"), _requests.c.browser_hash == bindparam("browser_hash")
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
_mark = update(_requests).where(_requests.c.request_id == bindparam("of"), _open).returning(_requests.c.request_id)
_DONE_BY = {name: _mark.values({name: bindparam("subject")}) for name in ("signed_in_by", "selected_by", "consented_by")}
_DENY = _mark.values(denied_at=bindparam("now"))
_USE = _mark.values(used_at=bindparam("now"))
# Beyond the newest of a network those go for which nobody signed in yet, or that are used. A few at a time: each new request
# makes room for more than itself.
_old = (
    select(_requests.c.request_id)
    .where(
        _requests.c.network == bindparam("from"),
        or_(_requests.c.signed_in_by.is_(None), _requests.c.used_at.is_not(None)),
    )
    .order_by(_requests.c.created_at.desc())
    .limit(10)
    .offset(bindparam("most"))
    .cte("old")
)
_MAKE_ROOM = delete(_requests).where(_requests.c.request_id.in_(select(_old.c.request_id)))
_over = _requests.c.expires_at <= bindparam("now")
#: When the newest expired requests begin that are remembered still.
_REMEMBERED_SINCE = select(_requests.c.expires_at).where(_over).order_by(_requests.c.expires_at.desc()).limit(1)
_FORGET = delete_at_most(
    _requests, _over, or_(_requests.c.used_at.is_not(None), _requests.c.expires_at <= bindparam("forgotten"))
)


def add(tx: Transaction, pending: Pending, most: int) -> None:
    """Insert a request. Its network has at most `most` then that wait for somebody to sign in: the oldest make room."""
    tx.execute(_INSERT, {name: getattr(pending, name) for name in Pending.__dataclass_fields__})
    tx.execute(_MAKE_ROOM, {"from": pending.network, "most": most})


def of_browser(tx: Transaction, request_id: str, browser_hash: str) -> Pending | None:
    """The request, if it is open and this browser's."""
    return tx.one(Pending, _OF_BROWSER, {"request_id": request_id, "browser_hash": browser_hash, "now": tx.now})


def known_to_browser(tx: Transaction, request_id: str, browser_hash: str) -> Pending | None:
    """The request, open or over, if it is this browser's."""
    return tx.one(Pending, _KNOWN_TO_BROWSER, {"request_id": request_id, "browser_hash": browser_hash})


def bind(tx: Transaction, request_id: str, browser_hash: str) -> Pending | None:
    """The request, bound to this browser unless another one has it."""
    return tx.one(Pending, _BIND, {"of": request_id, "browser": browser_hash, "now": tx.now})


def done_by(tx: Transaction, request_id: str, what: str, subject: str) -> bool:
    """Note who did something for an open request; False when it is open no more."""
    return tx.changed(_DONE_BY[what], {"of": request_id, "subject": subject, "now": tx.now})


def deny(tx: Transaction, request_id: str) -> bool:
    """Note that the person did not allow it; False when the request is open no more."""
    return tx.changed(_DENY, {"of": request_id, "now": tx.now})


def use(tx: Transaction, request_id: str) -> bool:
    """Use the request up; False when something else already did."""
    return tx.changed(_USE, {"of": request_id, "now": tx.now})


def forget_expired(tx: Transaction, remembered: float, most: int) -> int:
    """Delete some requests that nobody can go on with; returns their number.

    Of those that expired without an answer the newest `most` are remembered, for `remembered` seconds.
    """
    crowded = tx.execute(_REMEMBERED_SINCE.offset(most), {"now": tx.now}).scalar()
    forgotten = max(tx.now - remembered, crowded or 0.0)
    return deleted(tx, _FORGET, AT_ONCE, {"now": tx.now, "forgotten": forgotten})
