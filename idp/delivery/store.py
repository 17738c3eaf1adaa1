"""Statements on the outbox, prepared once.

A worker leases a lane, not what waits in it: what goes out is written once, when its outcome is known. Only an attempt that
takes long is noted in its row, for operators.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    String,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from idp.delivery import rules
from idp.delivery.models import DeliveryRow, LaneRow, PartyRow
from idp.delivery.rules import Delivery, Outcome, Party, Queue, State
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of

_t = table_of(DeliveryRow)
_leases = table_of(LaneRow)
_parties = table_of(PartyRow)
_all = columns_for(DeliveryRow, Delivery)
_once = ("kind", "client_id", "once")
_pending = and_(_t.c.delivered_at.is_(None), _t.c.dead_at.is_(None))
_leased = and_(_pending, _t.c.leased_until > bindparam("now"))
_live = _leases.c.leased_until > bindparam("now")

_INSERT = {
    "sqlite": sqlite.insert(_t).on_conflict_do_nothing(index_elements=_once),
    "postgresql": postgresql.insert(_t).on_conflict_do_nothing(index_elements=_once),
}
_OF_SESSION = select_of(DeliveryRow, Delivery).where(_t.c.sid == bindparam("sid")).order_by(_t.c.created_at)
_BY_ID = select_of(DeliveryRow, Delivery).where(_t.c.delivery_id == bindparam("of"))

# The lanes in which something waits, each found by one step into the index: one with 100,000 waiting rows costs the
# same as one with a single row, and hides nobody. There must be no other index of what waits: as long as PostgreSQL has no
# statistics it would take that one, and read everything at every step.
_lanes = select(func.min(_t.c.lane).label("lane")).where(_pending).cte("lanes", recursive=True)
_following = select(func.min(_t.c.lane)).where(_pending, _t.c.lane > _lanes.c.lane).scalar_subquery()
_lanes = _lanes.union_all(select(_following).where(_lanes.c.lane.is_not(None)))


def _may_go(row: FromClause) -> ColumnElement[bool]:
    """It is due, its party's circuit is not open, and nothing of the same session waits before it."""
    is_open = exists().where(_parties.c.client_id == row.c.party, _parties.c.open_until > bindparam("now"))
    before = _t.alias("before")
    # Not an EXISTS, of which PostgreSQL would make a join of everything, and not `_pending`, for which it would take the
    # index of all that waits, as long as it has no statistics: the session's own few rows are looked at.
    one_before = (
        select(before.c.delivery_id)
        .where(
            before.c.sid == row.c.sid,
            before.c.client_id == row.c.client_id,
            before.c.created_at < row.c.created_at,
            func.coalesce(before.c.delivered_at, before.c.dead_at).is_(None),
        )
        .limit(1)
        .correlate(row)
        .scalar_subquery()
    )
    return and_(
        row.c.delivered_at.is_(None),
        row.c.dead_at.is_(None),
        row.c.next_attempt_at <= bindparam("now"),
        # What has expired is not sent, so that an open circuit does not keep it from dying.
        or_(row.c.expires_at <= bindparam("now"), ~is_open),
        one_before.is_(None),
    )


def _is_next(row: FromClause) -> ColumnElement[bool]:
    """It has no place, or nothing with a smaller one waits before it.

    What has a smaller place and may go as well does not count: it goes with it, and first.
    """
    ahead = _t.alias("ahead")
    one_ahead = (
        select(ahead.c.delivery_id)
        .where(
            ahead.c.lane == row.c.lane,
            ahead.c.place < row.c.place,
            ahead.c.next_attempt_at > bindparam("now"),
            ahead.c.delivered_at.is_(None),
            ahead.c.dead_at.is_(None),
        )
        .limit(1)
        .correlate(row)
        .scalar_subquery()
    )
    return or_(row.c.place.is_(None), one_ahead.is_(None))


_first = _t.alias("first")
_first_of_lane = (
    select(_first.c.next_attempt_at)
    .where(_first.c.lane == _lanes.c.lane, _may_go(_first), _is_next(_first))
    .order_by(_first.c.next_attempt_at, _first.c.created_at)
    .limit(1)
    .correlate(_lanes)
)
_holder = select(_leases.c.holder).where(_leases.c.lane == _lanes.c.lane, _live).scalar_subquery()
_heads = select(
    _lanes.c.lane,
    _first_of_lane.with_only_columns(_first.c.attempts).scalar_subquery().label("attempts"),
    _first_of_lane.scalar_subquery().label("due_at"),
    _holder.label("holder"),
).subquery()
# First attempts go first: where threads are short, parties that failed before are the ones that wait.
_HEADS = select(_heads.c.lane, _heads.c.holder).where(_heads.c.due_at.is_not(None)).order_by(_heads.c.attempts, _heads.c.due_at)
_later = _t.alias("later")
_next_of_lane = (
    select(_later.c.next_attempt_at)
    .where(
        _later.c.lane == _lanes.c.lane,
        _later.c.delivered_at.is_(None),
        _later.c.dead_at.is_(None),
        _later.c.next_attempt_at > bindparam("now"),
    )
    .order_by(_later.c.next_attempt_at, _later.c.created_at)
    .limit(1)
    .correlate(_lanes)
)
_NEXT_DUE = select(func.min(_next_of_lane.scalar_subquery()))


# Lanes are taken in two steps. One whose worker died is found in its row, and whoever else is just taking it is not waited for;
# SQLite has no row locks, and there the clause is left out: BEGIN IMMEDIATE has let only one in. Any other has no row.
# A CTE, and not a subquery: PostgreSQL may run a subquery with locks more than once, and lock more each time.
_wanted = _leases.c.lane.in_(bindparam("of", expanding=True))
_is_free = or_(~_live, _leases.c.holder == bindparam("by"))
_abandoned = select(_leases.c.lane).where(_wanted, _is_free).with_for_update(skip_locked=True).cte("abandoned")
_leasing: dict[str, ColumnElement[Any]] = {"holder": bindparam("by"), "leased_until": bindparam("until")}
_TAKE_OVER = update(_leases).where(_leases.c.lane.in_(select(_abandoned.c.lane))).values(_leasing).returning(_leases.c.lane)
_TAKE = {
    "sqlite": sqlite.insert(_leases).on_conflict_do_nothing(index_elements=["lane"]).returning(_leases.c.lane),
    "postgresql": postgresql.insert(_leases).on_conflict_do_nothing(index_elements=["lane"]).returning(_leases.c.lane),
}
_held = and_(_leases.c.holder == bindparam("by"), _live)
_RENEW = update(_leases).where(_wanted, _held).values(leased_until=bindparam("until")).returning(_leases.c.lane)
_GIVE_BACK = delete(_leases).where(_wanted, _leases.c.holder == bindparam("by"))
_FORGET_LANES = delete(_leases).where(_leases.c.leased_until < bindparam("before"))

# As it will be: with the attempt that is about to be made.
_next = select(*[column + 1 if column is _t.c.attempts else column for column in _all]).where(
    _t.c.lane == bindparam("of"), _may_go(_t)
)
# In the order of the index, so that no more of a lane is looked at than goes out.
_NEXT = _next.order_by(_t.c.next_attempt_at, _t.c.created_at).limit(bindparam("most"))
_NEXT_IN_ORDER = _next.where(_is_next(_t)).order_by(_t.c.place).limit(bindparam("most"))
_NOTE = (
    update(_t)
    .where(_t.c.delivery_id == bindparam("of"), _pending)
    .values(leased_until=bindparam("until"), attempts=bindparam("so_many"))
)
_in_lane = and_(_t.c.lane == bindparam("of"), _pending)
_WAITING_IN = select(func.count()).where(_in_lane)
_FIRST_WAITING = select(func.min(_t.c.place)).where(_in_lane)
_HAS_ARRIVED = select(_t.c.delivery_id).where(
    _t.c.kind == bindparam("kind"),
    _t.c.client_id == bindparam("of"),
    _t.c.once == bindparam("once"),
    _t.c.delivered_at.is_not(None),
)
_WITHDRAW = delete(_t).where(_in_lane)
_settle = update(_t).values(
    leased_until=None,
    attempts=bindparam("so_many"),
    delivered_at=bindparam("new_delivered_at"),
    dead_at=bindparam("new_dead_at"),
    next_attempt_at=bindparam("new_next_attempt_at"),
    last_status=bindparam("new_last_status"),
    last_error=bindparam("new_last_error"),
)
# An arrival is a fact, and counts though the lease was lost meanwhile. Any other outcome is for who holds the lane to write.
# There are many arrivals, and on PostgreSQL each statement costs a message and a plan: there it is one for all of them.
_arrived = select(
    func.unnest(bindparam("ids", type_=ARRAY(String))).label("delivery_id"),
    func.unnest(bindparam("instants", type_=ARRAY(Double))).label("delivered_at"),
    func.unnest(bindparam("statuses", type_=ARRAY(Integer))).label("last_status"),
    func.unnest(bindparam("attempts", type_=ARRAY(Integer))).label("attempts"),
).subquery()
_ARRIVED = {
    "sqlite": _settle.where(_t.c.delivery_id == bindparam("of"), _t.c.delivered_at.is_(None)),
    "postgresql": update(_t)
    .where(_t.c.delivery_id == _arrived.c.delivery_id, _t.c.delivered_at.is_(None))
    .values(
        leased_until=None,
        attempts=_arrived.c.attempts,
        delivered_at=_arrived.c.delivered_at,
        dead_at=None,
        last_status=_arrived.c.last_status,
        last_error=None,
    ),
}
_SETTLE = _settle.where(
    _t.c.delivery_id == bindparam("of"), _pending, exists().where(_leases.c.lane == bindparam("in_lane"), _held)
)

_RETRY = (
    update(_t)
    .where(
        _t.c.delivery_id == bindparam("of"),
        _t.c.delivered_at.is_(None),
        or_(_t.c.dead_at.is_not(None), _t.c.leased_until.is_(None), _t.c.leased_until <= bindparam("now")),
    )
    .values(dead_at=None, leased_until=None, next_attempt_at=bindparam("now"), expires_at=bindparam("new_expires_at"))
    .returning(*_all)
)
_RETRY_OF_CLIENT = (
    update(_t)
    .where(_t.c.client_id == bindparam("of"), _t.c.delivered_at.is_(None), _t.c.dead_at.is_not(None))
    .values(
        dead_at=None,
        next_attempt_at=bindparam("now"),
        expires_at=case((_t.c.expires_at < bindparam("at_least"), bindparam("at_least")), else_=_t.c.expires_at),
    )
    .returning(_t.c.delivery_id)
)
_worst = (
    select(_t.c.delivery_id)
    .where(_pending)
    .order_by(_t.c.attempts.desc(), _t.c.created_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("worst")
)
_GIVE_UP = (
    update(_t)
    .where(_t.c.delivery_id.in_(select(_worst.c.delivery_id)))
    .values(dead_at=bindparam("now"), last_error=bindparam("error"))
)
_QUEUE = select(func.count(), func.min(_t.c.created_at)).where(_pending)
_ANSWERED_ALL = delete(_parties).where(
    or_(
        _parties.c.client_id == bindparam("of"),
        _parties.c.client_id.in_(select(_t.c.party).where(_t.c.client_id == bindparam("of"))),
    )
)
_ANSWERED = delete(_parties).where(_parties.c.client_id.in_(bindparam("of", expanding=True)))
_PARTIES = select_of(PartyRow, Party).order_by(_parties.c.failing_since)
_PARTY = select_of(PartyRow, Party).where(_parties.c.client_id == bindparam("of"))
_failed = ("failures", "open_until", "last_error")
_on_sqlite, _on_postgresql = sqlite.insert(_parties), postgresql.insert(_parties)
_FAILED = {
    "sqlite": _on_sqlite.on_conflict_do_update(
        index_elements=["client_id"], set_={name: _on_sqlite.excluded[name] for name in _failed}
    ),
    "postgresql": _on_postgresql.on_conflict_do_update(
        index_elements=["client_id"], set_={name: _on_postgresql.excluded[name] for name in _failed}
    ),
}
_IN_STATE = {
    State.WAITING: and_(_pending, or_(_t.c.leased_until.is_(None), _t.c.leased_until <= bindparam("now"))),
    State.IN_FLIGHT: _leased,
    State.DELIVERED: _t.c.delivered_at.is_not(None),
    State.DEAD: and_(_t.c.dead_at.is_not(None), _t.c.delivered_at.is_(None)),
}


@dataclass(frozen=True, slots=True)
class Head:
    """A lane in which something may go, and which worker holds it just now."""

    lane: str
    holder: str | None


def add(tx: Transaction, dialect: str, deliveries: Sequence[Delivery]) -> None:
    """Insert the deliveries, save those that were written down before."""
    tx.execute(_INSERT[dialect], [asdict(delivery) for delivery in deliveries])


def by_id(tx: Transaction, delivery_id: str) -> Delivery | None:
    """The delivery."""
    return tx.one(Delivery, _BY_ID, {"of": delivery_id})


def of_session(tx: Transaction, sid: str) -> list[Delivery]:
    """The deliveries of one session, oldest first."""
    return tx.all(Delivery, _OF_SESSION, {"sid": sid})


def heads(tx: Transaction) -> list[Head]:
    """The lanes in which something may go, first attempts before others."""
    return tx.all(Head, _HEADS, {"now": tx.now})


def next_due(tx: Transaction) -> Instant | None:
    """When the next delivery will be due that is not due yet."""
    found: Instant | None = tx.execute(_NEXT_DUE, {"now": tx.now}).scalar()
    return found


def take(tx: Transaction, by: str, lanes: Collection[str], until: Instant) -> set[str]:
    """Lease those of the lanes that nobody holds, for the worker `by`, until `until`; returns which."""
    if not lanes:
        return set()
    leasing = {"by": by, "until": until}
    taken = {row.lane for row in tx.execute(_TAKE_OVER, leasing | {"of": list(lanes), "now": tx.now})}
    # In one order always: two workers that wait for each other's rows would wait for ever.
    rows = [{"lane": lane, "holder": by, "leased_until": until} for lane in sorted(set(lanes) - taken)]
    if rows:
        taken |= {row.lane for row in tx.execute(_TAKE[tx.connection.dialect.name], rows)}
    return taken


def renew(tx: Transaction, by: str, lanes: Collection[str], until: Instant) -> set[str]:
    """Hold on to lanes until `until`; returns those that `by` still holds."""
    if not lanes:
        return set()
    return {row.lane for row in tx.execute(_RENEW, {"of": list(lanes), "by": by, "now": tx.now, "until": until})}


def give_back(tx: Transaction, by: str, lanes: Collection[str]) -> None:
    """Hold lanes no more."""
    if lanes:
        tx.execute(_GIVE_BACK, {"of": list(lanes), "by": by})


def forget_lanes(tx: Transaction, before: Instant) -> int:
    """Delete what workers that died have left of lanes that nobody took over; returns the number."""
    return tx.execute(_FORGET_LANES, {"before": before}).rowcount


def next_of(tx: Transaction, lane: str, most: int) -> list[Delivery]:
    """What may go in a lane, in the order in which it is to go, each counted as attempted once more. For who holds the lane."""
    return tx.all(Delivery, _NEXT_IN_ORDER if rules.is_in_order(lane) else _NEXT, {"of": lane, "most": most, "now": tx.now})


def note(tx: Transaction, deliveries: Collection[Delivery], until: Instant) -> None:
    """These are being attempted, and may be until `until`."""
    if deliveries:
        tx.execute(_NOTE, [{"of": one.delivery_id, "so_many": one.attempts, "until": until} for one in deliveries])


def settle_arrived(tx: Transaction, dialect: str, outcomes: Sequence[tuple[Delivery, Outcome]]) -> None:
    """Write down what arrived."""
    if dialect == "sqlite":
        tx.execute(_ARRIVED[dialect], [_values(delivery, outcome) for delivery, outcome in outcomes])
        return
    columns = {
        "ids": [delivery.delivery_id for delivery, _ in outcomes],
        "instants": [outcome.delivered_at for _, outcome in outcomes],
        "statuses": [outcome.last_status for _, outcome in outcomes],
        "attempts": [delivery.attempts for delivery, _ in outcomes],
    }
    tx.execute(_ARRIVED[dialect], columns)


def settle_other(tx: Transaction, by: str, delivery: Delivery, outcome: Outcome) -> bool:
    """Write down what an attempt came to; False when `by` has lost the lane and somebody else answers for it now."""
    held = {"in_lane": delivery.lane, "by": by, "now": tx.now}
    return tx.execute(_SETTLE, _values(delivery, outcome) | held).rowcount == 1


def _values(delivery: Delivery, outcome: Outcome) -> dict[str, object]:
    return {
        "of": delivery.delivery_id,
        "so_many": delivery.attempts,
        "new_delivered_at": outcome.delivered_at,
        "new_dead_at": outcome.dead_at,
        "new_next_attempt_at": outcome.next_attempt_at,
        "new_last_status": outcome.last_status,
        "new_last_error": outcome.last_error,
    }


def retry(tx: Transaction, delivery_id: str, expires_at: Instant) -> Delivery | None:
    """Make it due now; None when it was delivered, is in flight, or never was."""
    return tx.one(Delivery, _RETRY, {"of": delivery_id, "now": tx.now, "new_expires_at": expires_at})


def retry_of_client(tx: Transaction, client_id: str, at_least: Instant) -> int:
    """Make every dead delivery of a client due now, with a life until `at_least`; returns their number."""
    return len(tx.execute(_RETRY_OF_CLIENT, {"of": client_id, "now": tx.now, "at_least": at_least}).all())


def give_up(tx: Transaction, most: int, error: str) -> int:
    """Let die what was attempted most often, at most `most` of it; returns the number."""
    return tx.execute(_GIVE_UP, {"most": most, "now": tx.now, "error": error}).rowcount


def queue(tx: Transaction) -> Queue:
    """How much waits, and since when."""
    return tx.one(Queue, _QUEUE, {}) or Queue(0, None)


def parties(tx: Transaction) -> list[Party]:
    """Who does not answer, the longest first."""
    return tx.all(Party, _PARTIES)


def party(tx: Transaction, client_id: str) -> Party | None:
    """The party, if it did not answer lately."""
    return tx.one(Party, _PARTY, {"of": client_id})


def waiting_in(tx: Transaction, lane: str) -> int:
    """How much waits in a lane, or is in flight."""
    return int(tx.execute(_WAITING_IN, {"of": lane}).scalar_one())


def first_waiting(tx: Transaction, lane: str) -> int | None:
    """The first place in a lane that waits or is in flight."""
    found: int | None = tx.execute(_FIRST_WAITING, {"of": lane}).scalar()
    return found


def arrived(tx: Transaction, kind: str, client_id: str, once: str) -> bool:
    """Whether it was delivered."""
    return tx.execute(_HAS_ARRIVED, {"kind": kind, "of": client_id, "once": once}).first() is not None


def withdraw(tx: Transaction, lane: str) -> int:
    """Delete what waits in a lane, or is in flight; returns the number."""
    return tx.execute(_WITHDRAW, {"of": lane}).rowcount


def answered_all(tx: Transaction, client_id: str) -> None:
    """Nothing is held against a client any more, nor against its lanes."""
    tx.execute(_ANSWERED_ALL, {"of": client_id})


def answered(tx: Transaction, client_ids: Collection[str]) -> None:
    """These parties answer: nothing is held against them any more."""
    tx.execute(_ANSWERED, {"of": sorted(client_ids)})


def failed(tx: Transaction, dialect: str, party: Party) -> None:
    """Write down that a party did not answer."""
    tx.execute(_FAILED[dialect], asdict(party))


def listed(tx: Transaction, state: State | None, limit: int) -> list[Delivery]:
    """The deliveries, of one state if named: newest first, the dead by the moment of their death."""
    order = _t.c.dead_at if state is State.DEAD else _t.c.created_at
    query = select_of(DeliveryRow, Delivery).order_by(order.desc()).limit(limit)
    if state is None:
        return tx.all(Delivery, query)
    query = query.where(_IN_STATE[state])
    return tx.all(Delivery, query, {"now": tx.now} if state in {State.WAITING, State.IN_FLIGHT} else {})
