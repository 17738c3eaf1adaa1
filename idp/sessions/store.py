"""Statements on the browser's sessions, prepared once."""

from collections.abc import Collection, Sequence

from sqlalchemy import LargeBinary, Select, and_, bindparam, case, cast, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted
from idp.runtime.paging import Page
from idp.sessions.models import SessionClientRow, SessionClosingRow, SessionRow
from idp.sessions.rules import Participation, Session, SessionClosing, SessionPolicy, noted_before

_sessions = table_of(SessionRow)
_clients = table_of(SessionClientRow)
_closings = table_of(SessionClosingRow)
_in_time = and_(
    _sessions.c.ended_at.is_(None),
    _sessions.c.expires_at > bindparam("now"),
    _sessions.c.last_used_at > bindparam("idle_since"),
)
# A table that is empty nearly always: what this costs is not to be measured.
_is_closed = exists().where(
    _closings.c.subject == _sessions.c.subject,
    _closings.c.before >= _sessions.c.started_at,
    or_(_closings.c.keep.is_(None), _closings.c.keep != _sessions.c.sid),
)
_alive = and_(_in_time, ~_is_closed)
_all = columns_for(SessionRow, Session)

_INSERT = insert(_sessions)
_BY_SID = select_of(SessionRow, Session).where(_sessions.c.sid == bindparam("sid"))
_ALIVE_BY_SID = _BY_SID.where(_alive)
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
# In the order of their bytes, as whoever else ends several: two that wait for each other's rows would wait for ever. Where
# there are very many, batches take what nobody holds instead, in whatever order the index has it.
_to_end = select(_sessions.c.sid).where(
    _sessions.c.ended_at.is_(None),
    _sessions.c.subject == bindparam("of"),
    _sessions.c.started_at <= bindparam("before"),
    or_(bindparam("keep", type_=_sessions.c.sid.type).is_(None), _sessions.c.sid != bindparam("keep")),
)
_COUNT_TO_END = _to_end.with_only_columns(func.count())


def _end_each(found: Select[tuple[str]]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - SQLAlchemy's own type
    some = found.limit(bindparam("most")).cte("some")
    ended = update(_sessions).where(_sessions.c.sid.in_(select(some.c.sid)), _sessions.c.ended_at.is_(None))
    return ended.values(ended_at=bindparam("now"), end_reason=bindparam("reason")).returning(*_all)


_END_SOME = _end_each(_to_end.order_by(cast(_sessions.c.sid, LargeBinary)).with_for_update())
_END_FREE = _end_each(_to_end.with_for_update(skip_locked=True))
_LAST_STARTED = select(func.max(_sessions.c.started_at)).where(
    _sessions.c.subject == bindparam("of"), _sessions.c.ended_at.is_(None)
)
_CLOSE = insert(_closings)
_CLOSED_UNTIL = select(func.max(_closings.c.before)).where(_closings.c.subject == bindparam("of"))
_CLOSING = select_of(SessionClosingRow, SessionClosing).order_by(_closings.c.closing_id)
_TAKE_CLOSING = _CLOSING.where(_closings.c.closing_id > bindparam("after")).limit(1).with_for_update(skip_locked=True)
_CLOSED = delete(_closings).where(_closings.c.closing_id == bindparam("of"))
_IS_CLOSING = select(exists().where(_closings.c.subject == bindparam("of")))
#: Whether there are any at all.
ANY_CLOSING = select(exists(select(_closings.c.closing_id)))
_CLOSED_SIDS = select(_sessions.c.sid).where(
    _sessions.c.subject.in_(select(_closings.c.subject)), _sessions.c.ended_at.is_(None), _is_closed
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
    .where(_sessions.c.sid.in_(bindparam("these", expanding=True)), _stale)
    .values(
        ended_at=bindparam("now"),
        end_reason=case((_sessions.c.expires_at <= bindparam("now"), bindparam("expired")), else_=bindparam("idle")),
    )
    .returning(*_all)
)
_FORGET = delete_at_most(_sessions, _sessions.c.ended_at < bindparam("before"), first=_sessions.c.ended_at)
_PEOPLE = select(func.count(_sessions.c.subject.distinct())).where(_alive)
_ADDRESSES = select(_sessions.c.address).where(_alive).distinct().limit(2)
_took_part = columns_for(SessionClientRow, Participation)
_CLIENTS = select(*_took_part).where(_clients.c.sid == bindparam("sid")).order_by(_clients.c.first_used_at)
_CLIENTS_OF = (
    select(*_took_part)
    .where(_clients.c.sid.in_(bindparam("these", expanding=True)))
    .order_by(_clients.c.sid, _clients.c.first_used_at)
)
_to_leave = select(_clients.c.sid).where(
    _clients.c.client_id == bindparam("by"),
    _clients.c.sid.in_(select(_sessions.c.sid).where(_sessions.c.subject == bindparam("subject"), _alive)),
)
_some_to_leave = _to_leave.limit(bindparam("most")).cte("some_to_leave")
_LEAVE = (
    delete(_clients)
    .where(_clients.c.client_id == bindparam("by"), _clients.c.sid.in_(select(_some_to_leave.c.sid)))
    .returning(*_took_part)
)
_LEAVE_THESE = (
    delete(_clients)
    .where(_clients.c.client_id == bindparam("by"), _clients.c.sid.in_(bindparam("these", expanding=True)))
    .returning(*_took_part)
)
_TOOK_PART = select(*_took_part).where(_clients.c.sid == bindparam("sid"), _clients.c.client_id == bindparam("client_id"))
_PART = {name: bindparam(name, type_=_clients.c[name].type) for name in ("sid", "client_id", "sector", "sector_sid")}
_PART["first_used_at"] = bindparam("now", type_=_clients.c.first_used_at.type)
_TAKE_PART = {
    "sqlite": sqlite.insert(_clients).values(_PART).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_clients).values(_PART).on_conflict_do_nothing(),
}


def _alive_at(policy: SessionPolicy, now: Instant) -> dict[str, object]:
    return {"now": now, "idle_since": now - policy.idle_timeout}


def add(tx: Transaction, session: Session) -> None:
    """Insert a session."""
    tx.execute(_INSERT, {column.name: getattr(session, column.name) for column in _all})


def by_sid(tx: Transaction, sid: str) -> Session | None:
    """The session, alive or not."""
    return tx.one(Session, _BY_SID, {"sid": sid})


def alive_by_sid(tx: Transaction, sid: str, policy: SessionPolicy) -> Session | None:
    """The session, when it is alive."""
    return tx.one(Session, _ALIVE_BY_SID, {"sid": sid} | _alive_at(policy, tx.now))


def alive_by_cookie(tx: Transaction, cookie_hash: str, policy: SessionPolicy) -> Session | None:
    """The session of a cookie, when it is alive."""
    return tx.one(Session, _BY_COOKIE, {"cookie_hash": cookie_hash} | _alive_at(policy, tx.now))


def hold(tx: Transaction, sid: str, policy: SessionPolicy) -> Session | None:
    """Note a use of the session and keep its row locked until the commit; None when it is not alive any more."""
    return tx.one(Session, _HOLD, {"of": sid} | _alive_at(policy, tx.now))


def touch(tx: Transaction, sid: str, policy: SessionPolicy) -> None:
    """Note a use of the session, if it is alive and nobody noted one just now."""
    noted = {"noted_before": noted_before(policy, tx.now)}
    tx.execute(_TOUCH, {"of": sid} | noted | _alive_at(policy, tx.now))


def renew(tx: Transaction, sid: str, cookie_hash: str, sign_in: tuple[str, str, str], policy: SessionPolicy) -> Session | None:
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


def change_cookie(tx: Transaction, sid: str, cookie_hash: str, policy: SessionPolicy) -> Session | None:
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


def taken_part_in(tx: Transaction, sids: Collection[str]) -> list[Participation]:
    """Who took part in any of these, session by session, in the order in which they came."""
    return tx.all(Participation, _CLIENTS_OF, {"these": sorted(sids)}) if sids else []


def leave(tx: Transaction, subject: str, client_id: str, policy: SessionPolicy, most: int) -> list[Participation]:
    """Let a client leave live sessions of a person, at most `most`: what it took part in."""
    return tx.all(Participation, _LEAVE, {"subject": subject, "by": client_id, "most": most} | _alive_at(policy, tx.now))


def leave_these(tx: Transaction, sids: Collection[str], client_id: str) -> list[Participation]:
    """Let a client leave these sessions: what it took part in."""
    return tx.all(Participation, _LEAVE_THESE, {"these": sorted(sids), "by": client_id})


# -- ending very many ---------------------------------------------------------------------------------------------------------


def last_started(tx: Transaction, subject: str) -> Instant | None:
    """When the youngest of a person's sessions began that nobody marked ended."""
    found: Instant | None = tx.execute(_LAST_STARTED, {"of": subject}).scalar()
    return found


def end_some(tx: Transaction, closing: SessionClosing, most: int, *, free: bool) -> list[Session]:
    """Mark sessions ended that a closing names, at most `most`: those that nobody else holds, or waiting for who does."""
    values = _named(closing) | {"most": most, "now": tx.now, "reason": closing.reason}
    return tx.all(Session, _END_FREE if free else _END_SOME, values)


def count_to_end(tx: Transaction, closing: SessionClosing) -> int:
    """How many sessions a closing names that are not marked ended."""
    return int(tx.execute(_COUNT_TO_END, _named(closing)).scalar_one())


def _named(closing: SessionClosing) -> dict[str, object]:
    return {"of": closing.subject, "before": closing.before, "keep": closing.keep}


def close(tx: Transaction, closing: SessionClosing) -> None:
    """Insert a closing."""
    tx.execute(_CLOSE, {name: getattr(closing, name) for name in SessionClosing.__dataclass_fields__})


def closed_until(tx: Transaction, subject: str) -> Instant | None:
    """Until when the sessions of a person began that are closed just now."""
    found: Instant | None = tx.execute(_CLOSED_UNTIL, {"of": subject}).scalar()
    return found


def closings(tx: Transaction) -> list[SessionClosing]:
    """What goes on."""
    return tx.all(SessionClosing, _CLOSING)


def take_closing(tx: Transaction, after: str) -> SessionClosing | None:
    """The next closing after that name which nobody else works at, locked until the commit."""
    return tx.one(SessionClosing, _TAKE_CLOSING, {"after": after})


def closed(tx: Transaction, closing_id: str) -> None:
    """Delete a closing: it is carried out."""
    tx.execute(_CLOSED, {"of": closing_id})


def is_closing(tx: Transaction, subject: str) -> bool:
    """Whether sessions of a person are closed that are not marked ended yet."""
    return bool(tx.execute(_IS_CLOSING, {"of": subject}).scalar())


def any_closing(tx: Transaction) -> bool:
    """Whether anybody's are."""
    return bool(tx.execute(ANY_CLOSING).scalar())


def closed_sids(tx: Transaction) -> list[str]:
    """The sessions that are closed and not marked ended yet."""
    return list(tx.execute(_CLOSED_SIDS).scalars())


def stale(tx: Transaction, policy: SessionPolicy, limit: int) -> list[str]:
    """Sessions whose time is over though nobody marked them, locked until the commit; those that others lock are left out."""
    instants = {"most": limit, "idle_since": tx.now - policy.idle_timeout, "now": tx.now}
    return list({str(row.sid) for query in _STALE for row in tx.execute(query, instants)})[:limit]


def ran_out(tx: Transaction, policy: SessionPolicy, since: Instant) -> list[str]:
    """Sessions whose time was over after `since`, and that nobody marked. It locks nothing, and leaves out nothing."""
    found: set[str] = set()
    for query, timeout in zip(_RAN_OUT, (policy.idle_timeout, 0), strict=True):
        found |= set(tx.execute(query, {"until": tx.now - timeout, "since": since - timeout}).scalars())
    return list(found)


def end_stale(tx: Transaction, sids: Sequence[str], reasons: tuple[str, str], policy: SessionPolicy) -> list[Session]:
    """Mark those of the sessions ended that are idle or expired, as `reasons` name them; returns them."""
    idle, expired = reasons
    values = {"these": sids, "idle": idle, "expired": expired} | _alive_at(policy, tx.now)
    return tx.all(Session, _END_STALE, values) if sids else []


def forget(tx: Transaction, before: Instant, most: int) -> int:
    """Delete sessions that ended before `before`, and who took part in them, at most `most`; returns the number."""
    return deleted(tx, _FORGET, most, {"before": before})


def senders(tx: Transaction, policy: SessionPolicy) -> tuple[int, list[str]]:
    """How many people have a live session, and from which addresses; of those two at the most."""
    alive = _alive_at(policy, tx.now)
    return int(tx.execute(_PEOPLE, alive).scalar_one()), list(tx.execute(_ADDRESSES, alive).scalars())


def listed(
    tx: Transaction, policy: SessionPolicy, page: Page, *, subject: str | None = None, client_id: str | None = None
) -> list[Session]:
    """The sessions that are alive, of one person or one client if named, newest use first; one page of them."""
    query = _listed(subject, client_id).order_by(_sessions.c.last_used_at.desc(), _sessions.c.sid)
    return tx.all(Session, query.limit(page.size).offset(page.skipped), _alive_at(policy, tx.now))


def count(tx: Transaction, policy: SessionPolicy, subject: str) -> int:
    """How many sessions of a person are alive."""
    query = _listed(subject, None).with_only_columns(func.count())
    return int(tx.execute(query, _alive_at(policy, tx.now)).scalar_one())


def _listed(subject: str | None, client_id: str | None) -> Select[tuple[object, ...]]:
    query: Select[tuple[object, ...]] = select_of(SessionRow, Session).where(_alive)
    if subject is not None:
        query = query.where(_sessions.c.subject == subject)
    if client_id is not None:
        query = query.where(_sessions.c.sid.in_(select(_clients.c.sid).where(_clients.c.client_id == client_id)))
    return query
