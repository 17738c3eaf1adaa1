"""Lanes: in which of them something waits, which worker holds them, and what may go out next.

A worker leases a lane, not each delivery that waits in it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Double, FromClause, and_, bindparam, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.delivery import rules
from idp.delivery.lease_clock import LeaseClock, instants
from idp.delivery.models import DeliveryRow, LaneRow, PartyRow
from idp.delivery.rules import Delivery
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, table_of
from idp.runtime.deleting import delete_at_most, deleted

_t = table_of(DeliveryRow)
_leases = table_of(LaneRow)
_parties = table_of(PartyRow)
#: It is neither delivered nor dead.
pending = and_(_t.c.delivered_at.is_(None), _t.c.dead_at.is_(None))
_live = _leases.c.leased_until > LeaseClock()
_CLAIM = "worker "

# The lanes in which something waits, each found by one step into the index: one with 100,000 waiting rows costs the
# same as one with a single row, and hides nobody. There must be no other index of what waits: as long as PostgreSQL has no
# statistics it would take that one, and read everything at every step.
_lanes = select(func.min(_t.c.lane).label("lane")).where(pending).cte("lanes", recursive=True)
_following = select(func.min(_t.c.lane)).where(pending, _t.c.lane > _lanes.c.lane).scalar_subquery()
_lanes = _lanes.union_all(select(_following).where(_lanes.c.lane.is_not(None)))


def _may_go(row: FromClause) -> ColumnElement[bool]:
    """It is due, and nothing of the same session waits before it."""
    before = _t.alias("before")
    # Not an EXISTS, of which PostgreSQL would make a join of everything, and not `pending`, for which it would take the
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
    select(_first.c.delivery_id)
    .where(_first.c.lane == _lanes.c.lane, _may_go(_first), _is_next(_first))
    .order_by(_first.c.next_attempt_at, _first.c.created_at)
    .limit(1)
    .correlate(_lanes)
)
# Asked once for a lane, all of which has the same party: there may be very much that waits for one that does not answer.
_any = _t.alias("any_of_lane")
_party_of_lane = (
    select(_any.c.party)
    .where(_any.c.lane == _lanes.c.lane, _any.c.delivered_at.is_(None), _any.c.dead_at.is_(None))
    .order_by(_any.c.next_attempt_at, _any.c.created_at)
    .limit(1)
    .correlate(_lanes)
    .scalar_subquery()
)
_is_open = exists().where(_parties.c.client_id == _party_of_lane, _parties.c.open_until > bindparam("now"))
_later = _t.alias("later")
_next_due_of_lane = (
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
_holder = select(_leases.c.holder).where(_leases.c.lane == _lanes.c.lane, _live)
_others = select(func.count(_leases.c.holder.distinct())).where(_live, _leases.c.holder != bindparam("by"))
_claims = _others.where(_leases.c.lane.startswith(_CLAIM))
# Materialized: PostgreSQL would search a lane anew at each mention of what was found in it.
_found = (
    select(
        _lanes.c.lane,
        _holder.scalar_subquery().label("holder"),
        case((_is_open, None), else_=_first_of_lane.scalar_subquery()).label("first"),
        _next_due_of_lane.scalar_subquery().label("next_due"),
    )
    .where(_lanes.c.lane.is_not(None))
    .cte("found")
    .prefix_with("MATERIALIZED")
)
_head = _t.alias("head")
_of_head = select(_head.c.attempts).where(_head.c.delivery_id == _found.c.first).correlate(_found)
# First attempts go first: where threads are short, parties that failed before are the ones that wait.
_WAITING = select(
    _found.c.lane,
    _found.c.holder,
    _found.c.first.is_not(None).label("may_go"),
    _found.c.next_due,
    _others.scalar_subquery().label("others"),
    _claims.scalar_subquery().label("claims"),
).order_by(_of_head.scalar_subquery(), _of_head.with_only_columns(_head.c.next_attempt_at).scalar_subquery())


# Lanes are taken in two steps. One whose worker died is found in its row, and whoever else is just taking it is not waited for;
# SQLite has no row locks, and there the clause is left out: BEGIN IMMEDIATE has let only one in. Any other has no row.
# A CTE, and not a subquery: PostgreSQL may run a subquery with locks more than once, and lock more each time.
_wanted = _leases.c.lane.in_(bindparam("of", expanding=True))
_is_free = or_(~_live, _leases.c.holder == bindparam("by"))
_abandoned = select(_leases.c.lane).where(_wanted, _is_free).with_for_update(skip_locked=True).cte("abandoned")
_until = LeaseClock() + bindparam("lease", type_=Double())
_leasing: dict[str, ColumnElement[Any]] = {"holder": bindparam("by"), "leased_until": _until}
_TAKE_OVER = update(_leases).where(_leases.c.lane.in_(select(_abandoned.c.lane))).values(_leasing).returning(_leases.c.lane)
_taken = _leasing | {"lane": bindparam("each")}
_TAKE = {
    "sqlite": sqlite.insert(_leases).values(_taken).on_conflict_do_nothing(index_elements=["lane"]).returning(_leases.c.lane),
    "postgresql": postgresql.insert(_leases)
    .values(_taken)
    .on_conflict_do_nothing(index_elements=["lane"])
    .returning(_leases.c.lane),
}
held = and_(_leases.c.holder == bindparam("by"), _live)
_RENEW = update(_leases).where(_wanted, held).values(leased_until=_until).returning(_leases.c.lane)
_GIVE_BACK = delete(_leases).where(_wanted, _leases.c.holder == bindparam("by"))
_FORGET = delete_at_most(_leases, _leases.c.leased_until < LeaseClock() - bindparam("age", type_=Double()))

# As it will be: with the attempt that is about to be made.
_next = select(*[column + 1 if column is _t.c.attempts else column for column in columns_for(DeliveryRow, Delivery)]).where(
    _t.c.lane == bindparam("of"), _may_go(_t)
)
# In the order of the index, so that no more of a lane is looked at than goes out.
_NEXT = _next.order_by(_t.c.next_attempt_at, _t.c.created_at).limit(bindparam("most"))
_NEXT_IN_ORDER = _next.where(_is_next(_t)).order_by(_t.c.place).limit(bindparam("most"))


@dataclass(frozen=True, slots=True)
class Head:
    """A lane in which something may go, its party's circuit not being open, and which worker holds it just now."""

    lane: str
    holder: str | None


class Waiting(NamedTuple):
    """The lanes in which something may go, first attempts before others, and when more of what waits will be due.

    `others` is how many other workers hold a lane, and `claims` how many of them ask for their share: 0 where nothing waits.
    """

    heads: list[Head]
    next_due: Instant | None
    others: int
    claims: int


def waiting(tx: Transaction, by: str) -> Waiting:
    """What waits, as the worker `by` sees it."""
    rows = tx.execute(_WAITING, {"by": by, **instants(tx)}).all()
    heads = [Head(row.lane, row.holder) for row in rows if row.may_go]
    next_due = min((row.next_due for row in rows if row.next_due is not None), default=None)
    return Waiting(heads, next_due, *((rows[0].others, rows[0].claims) if rows else (0, 0)))


def claim(by: str) -> str:
    """A lane of its own in which nothing ever waits: a worker that holds it asks the others for its share."""
    return f"{_CLAIM}{by}"


def take(tx: Transaction, by: str, lanes: Collection[str], lease: float) -> set[str]:
    """Lease those of the lanes that nobody holds, for the worker `by`, for `lease` seconds; returns which."""
    if not lanes:
        return set()
    leasing: dict[str, object] = {"by": by, "lease": lease, **instants(tx)}
    taken = {row.lane for row in tx.execute(_TAKE_OVER, leasing | {"of": list(lanes)})}
    # In one order always: two workers that wait for each other's rows would wait for ever.
    rows = [leasing | {"each": lane} for lane in sorted(set(lanes) - taken)]
    if rows:
        taken |= {row.lane for row in tx.execute(_TAKE[tx.connection.dialect.name], rows)}
    return taken


def renew(tx: Transaction, by: str, lanes: Collection[str], lease: float) -> set[str]:
    """Hold on to lanes for `lease` seconds from now; returns those that `by` still holds."""
    if not lanes:
        return set()
    return {row.lane for row in tx.execute(_RENEW, {"of": list(lanes), "by": by, "lease": lease, **instants(tx)})}


def give_back(tx: Transaction, by: str, lanes: Collection[str]) -> None:
    """Hold lanes no more."""
    if lanes:
        tx.execute(_GIVE_BACK, {"of": list(lanes), "by": by})


def forget(tx: Transaction, age: float) -> int:
    """Delete some of what workers that died have left of lanes that nobody took over in `age` seconds; returns the number."""
    return deleted(tx, _FORGET, AT_ONCE, {"age": age, **instants(tx)})


def next_of(tx: Transaction, lane: str, most: int) -> list[Delivery]:
    """What may go in a lane, in the order in which it is to go, each counted as attempted once more. For who holds the lane."""
    return tx.all(Delivery, _NEXT_IN_ORDER if rules.is_in_order(lane) else _NEXT, {"of": lane, "most": most, "now": tx.now})
