"""Statements on the browser's sessions, prepared once."""

from sqlalchemy import Select, and_, bindparam, case, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.sessions.models import SessionClientRow, SessionRow
from idp.sessions.rules import Participation, Policy, Session, noted_before

_sessions = table_of(SessionRow)
_clients = table_of(SessionClientRow)
_alive = and_(
    _sessions.c.ended_at.is_(None),
    _sessions.c.expires_at > bindparam("now"),
    _sessions.c.last_used_at > bindparam("idle_since"),
)
_all = columns_for(SessionRow, Session)

_INSERT = insert(_sessions)
_BY_SID = select_of(SessionRow, Session).where(_sessions.c.sid == bindparam("sid"))
_BY_COOKIE = select_of(SessionRow, Session).where(_sessions.c.cookie_hash == bindparam("cookie_hash"), _alive)
_HOLD = (
    update(_sessions).where(_sessions.c.sid == bindparam("of"), _alive).values(last_used_at=bindparam("now")).returning(*_all)
)
_CHANGE_COOKIE = (
    update(_sessions)
    .where(_sessions.c.sid == bindparam("of"), _alive)
    .values(cookie_hash=bindparam("new_cookie_hash"))
    .returning(*_all)
)
_TOUCH = (
    update(_sessions)
    .where(_sessions.c.sid == bindparam("of"), _alive, _sessions.c.last_used_at <= bindparam("noted_before"))
    .values(last_used_at=bindparam("now"))
)
_RENEW = (
    update(_sessions)
    .where(_sessions.c.sid == bindparam("of"), _alive)
    .values(
        cookie_hash=bindparam("new_cookie_hash"),
        auth_time=bindparam("now"),
        last_used_at=bindparam("now"),
        amr=bindparam("new_amr"),
        address=bindparam("new_address"),
        user_agent=bindparam("new_user_agent"),
    )
    .returning(*_all)
)
_END = (
    update(_sessions)
    .where(_sessions.c.sid == bindparam("of"), _sessions.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), end_reason=bindparam("reason"))
    .returning(*_all)
)
_stale = and_(
    _sessions.c.ended_at.is_(None),
    or_(_sessions.c.expires_at <= bindparam("now"), _sessions.c.last_used_at <= bindparam("idle_since")),
)
# Two questions, since each has an index that holds what is open; one with OR would read all of it.
_STALE = [
    select(_sessions.c.sid)
    .where(_sessions.c.ended_at.is_(None), over)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    for over in (_sessions.c.last_used_at <= bindparam("idle_since"), _sessions.c.expires_at <= bindparam("now"))
]
_RAN_OUT = [
    select(_sessions.c.sid).where(_sessions.c.ended_at.is_(None), column <= bindparam("until"), column > bindparam("since"))
    for column in (_sessions.c.last_used_at, _sessions.c.expires_at)
]
_END_STALE = (
    update(_sessions)
    .where(_sessions.c.sid == bindparam("of"), _stale)
    .values(
        ended_at=bindparam("now"),
        end_reason=case((_sessions.c.expires_at <= bindparam("now"), bindparam("expired")), else_=bindparam("idle")),
    )
    .returning(*_all)
)
_long_over = (
    select(_sessions.c.sid)
    .where(_sessions.c.ended_at < bindparam("before"))
    .order_by(_sessions.c.ended_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("long_over")
)
_FORGET = delete(_sessions).where(_sessions.c.sid.in_(select(_long_over.c.sid))).returning(_sessions.c.sid)
_PEOPLE = select(func.count(_sessions.c.subject.distinct())).where(_alive)
_ADDRESSES = select(_sessions.c.address).where(_alive).distinct().limit(2)
_took_part = columns_for(SessionClientRow, Participation)
_CLIENTS = select(*_took_part).where(_clients.c.sid == bindparam("sid")).order_by(_clients.c.first_used_at)
_LEAVE = (
    delete(_clients)
    .where(
        _clients.c.client_id == bindparam("by"),
        _clients.c.sid.in_(select(_sessions.c.sid).where(_sessions.c.subject == bindparam("subject"), _alive)),
    )
    .returning(*_took_part)
)
_TOOK_PART = select(*_took_part).where(_clients.c.sid == bindparam("sid"), _clients.c.client_id == bindparam("client_id"))
_PART = {name: bindparam(name, type_=_clients.c[name].type) for name in ("sid", "client_id", "sector", "sector_sid")}
_PART["first_used_at"] = bindparam("now", type_=_clients.c.first_used_at.type)
_TAKE_PART = {
    "sqlite": sqlite.insert(_clients).values(_PART).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_clients).values(_PART).on_conflict_do_nothing(),
}


def _alive_at(policy: Policy, now: Instant) -> dict[str, object]:
    return {"now": now, "idle_since": now - policy.idle_timeout}


def add(tx: Transaction, session: Session) -> None:
    """Insert a session."""
    tx.execute(_INSERT, {column.name: getattr(session, column.name) for column in _all})


def by_sid(tx: Transaction, sid: str) -> Session | None:
    """The session, alive or not."""
    return tx.one(Session, _BY_SID, {"sid": sid})


def alive_by_cookie(tx: Transaction, cookie_hash: str, policy: Policy) -> Session | None:
    """The session of a cookie, when it is alive."""
    return tx.one(Session, _BY_COOKIE, {"cookie_hash": cookie_hash} | _alive_at(policy, tx.now))


def hold(tx: Transaction, sid: str, policy: Policy) -> Session | None:
    """Note a use of the session and keep its row locked until the commit; None when it is not alive any more."""
    return tx.one(Session, _HOLD, {"of": sid} | _alive_at(policy, tx.now))


def touch(tx: Transaction, sid: str, policy: Policy) -> None:
    """Note a use of the session, if it is alive and nobody noted one just now."""
    noted = {"noted_before": noted_before(policy, tx.now)}
    tx.execute(_TOUCH, {"of": sid} | noted | _alive_at(policy, tx.now))


def renew(tx: Transaction, sid: str, cookie_hash: str, sign_in: tuple[str, str, str], policy: Policy) -> Session | None:
    """Give the session a new cookie and a new `auth_time`. `sign_in` is (amr, address, user agent)."""
    amr, address, user_agent = sign_in
    values = {
        "of": sid,
        "new_cookie_hash": cookie_hash,
        "new_amr": amr,
        "new_address": address,
        "new_user_agent": user_agent,
    }
    return tx.one(Session, _RENEW, values | _alive_at(policy, tx.now))


def change_cookie(tx: Transaction, sid: str, cookie_hash: str, policy: Policy) -> Session | None:
    """Give the session a new cookie, and nothing else; None when it is not alive any more."""
    return tx.one(Session, _CHANGE_COOKIE, {"of": sid, "new_cookie_hash": cookie_hash} | _alive_at(policy, tx.now))


def end(tx: Transaction, sid: str, reason: str) -> Session | None:
    """Mark the session ended; None when it was already, or never was."""
    return tx.one(Session, _END, {"of": sid, "now": tx.now, "reason": reason})


def take_part(tx: Transaction, sid: str, client_id: str, sector: str | None, sector_sid: str | None) -> None:
    """Write down that a client took part, unless that is written already: then its first names stand."""
    names = {"sid": sid, "client_id": client_id, "sector": sector, "sector_sid": sector_sid}
    tx.execute(_TAKE_PART[tx.connection.dialect.name], names | {"now": tx.now})


def participation(tx: Transaction, sid: str, client_id: str) -> Participation | None:
    """What is written of a client in a session."""
    return tx.one(Participation, _TOOK_PART, {"sid": sid, "client_id": client_id})


def taken_part(tx: Transaction, sid: str) -> list[Participation]:
    """Who took part, in the order in which they came."""
    return tx.all(Participation, _CLIENTS, {"sid": sid})


def leave(tx: Transaction, subject: str, client_id: str, policy: Policy) -> list[Participation]:
    """Let a client leave every live session of a person: what it took part in."""
    return tx.all(Participation, _LEAVE, {"subject": subject, "by": client_id} | _alive_at(policy, tx.now))


def stale(tx: Transaction, policy: Policy, limit: int) -> list[str]:
    """Sessions whose time is over though nobody marked them, locked until the commit; those that others lock are left out."""
    instants = {"most": limit, "idle_since": tx.now - policy.idle_timeout, "now": tx.now}
    return list({str(row.sid) for query in _STALE for row in tx.execute(query, instants)})[:limit]


def ran_out(tx: Transaction, policy: Policy, since: Instant) -> list[str]:
    """Sessions whose time was over after `since`, and that nobody marked. It locks nothing, and leaves out nothing."""
    found: set[str] = set()
    for query, timeout in zip(_RAN_OUT, (policy.idle_timeout, 0), strict=True):
        found |= set(tx.execute(query, {"until": tx.now - timeout, "since": since - timeout}).scalars())
    return list(found)


def end_stale(tx: Transaction, sid: str, reasons: tuple[str, str], policy: Policy) -> Session | None:
    """Mark the session ended unless it is alive: idle or expired, as `reasons` name them. None when it is alive or ended."""
    idle, expired = reasons
    return tx.one(Session, _END_STALE, {"of": sid, "idle": idle, "expired": expired} | _alive_at(policy, tx.now))


def forget(tx: Transaction, before: Instant, most: int) -> int:
    """Delete sessions that ended before `before`, and who took part in them, at most `most`; returns the number."""
    return len(tx.execute(_FORGET, {"before": before, "most": most}).all())


def senders(tx: Transaction, policy: Policy) -> tuple[int, list[str]]:
    """How many people have a live session, and from which addresses; of those two at the most."""
    alive = _alive_at(policy, tx.now)
    return int(tx.execute(_PEOPLE, alive).scalar_one()), list(tx.execute(_ADDRESSES, alive).scalars())


def listed(tx: Transaction, policy: Policy, *, subject: str | None = None, client_id: str | None = None) -> list[Session]:
    """The sessions that are alive, of one person or one client if named, newest use first."""
    query: Select[tuple[object, ...]] = select_of(SessionRow, Session).where(_alive).order_by(_sessions.c.last_used_at.desc())
    if subject is not None:
        query = query.where(_sessions.c.subject == subject)
    if client_id is not None:
        query = query.where(_sessions.c.sid.in_(select(_clients.c.sid).where(_clients.c.client_id == client_id)))
    return tx.all(Session, query, _alive_at(policy, tx.now))
