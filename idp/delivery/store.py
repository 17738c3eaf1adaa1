"""Statements on the outbox, prepared once.

What goes out is written once, when its outcome is known. Only an attempt that takes long is noted in its row, for operators.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from idp.delivery import rules
from idp.delivery.lane_store import held, pending
from idp.delivery.lease_clock import instants
from idp.delivery.models import DeliveryRow, LaneRow, PartyRow
from idp.delivery.rules import REFUSED, Delivery, DeliveryState, Outcome, Party, Queue
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted
from idp.runtime.paging import Page

_t = table_of(DeliveryRow)
_leases = table_of(LaneRow)
_parties = table_of(PartyRow)
_all = columns_for(DeliveryRow, Delivery)
_leased = and_(pending, _t.c.leased_until > bindparam("now"))

_INSERT = {
    "sqlite": sqlite.insert(_t).on_conflict_do_nothing(index_elements=["delivery_id"]),
    "postgresql": postgresql.insert(_t).on_conflict_do_nothing(index_elements=["delivery_id"]),
}
_OF_SESSIONS = (
    select_of(DeliveryRow, Delivery)
    .where(_t.c.sid.in_(bindparam("these", expanding=True)))
    .order_by(_t.c.created_at, _t.c.delivery_id)
)
_BY_ID = select_of(DeliveryRow, Delivery).where(_t.c.delivery_id == bindparam("of"))

# What was withdrawn and is owed again has its old id (`rules.delivery_id`): what came of the old one is not the new one's.
_is_it = and_(_t.c.delivery_id == bindparam("of"), _t.c.created_at == bindparam("made_at"))

_NOTE = update(_t).where(_is_it, pending).values(leased_until=bindparam("until"), attempts=bindparam("so_many"))
#: Of `which` delivery.
IS_PENDING = select(exists().where(_is_it, pending))
_in_lane = and_(_t.c.lane == bindparam("of"), pending)
_WAITING_IN = select(func.count()).where(_in_lane)
_FIRST_WAITING = select(func.min(_t.c.place)).where(_in_lane)
_HAVE_ARRIVED = select(_t.c.delivery_id).where(
    _t.c.delivery_id.in_(bindparam("these", expanding=True)), _t.c.delivered_at.is_not(None)
)
# In their order, as `_HOLD` does it: two that wait for each other's rows would wait for ever.
_withdrawn = select(_t.c.delivery_id).where(_in_lane).order_by(_t.c.place).with_for_update().cte("withdrawn")
_WITHDRAW = delete(_t).where(_t.c.delivery_id.in_(select(_withdrawn.c.delivery_id))).returning(_t.c.delivery_id)
_settle = (
    update(_t)
    .where(_is_it)
    .values(
        leased_until=None,
        attempts=bindparam("new_attempts"),
        delivered_at=bindparam("new_delivered_at"),
        dead_at=bindparam("new_dead_at"),
        next_attempt_at=bindparam("new_next_attempt_at"),
        last_status=bindparam("new_last_status"),
        last_error=bindparam("new_last_error"),
    )
)
# An arrival is a fact, and counts though the lease was lost meanwhile. Any other outcome is for who holds the lane to write.
_arrived = _t.c.delivered_at.is_(None)
_is_mine = exists().where(_leases.c.lane == _t.c.lane, held)
_ARRIVED = _settle.where(_arrived)
_SETTLE = _settle.where(pending, _is_mine)
# On PostgreSQL each statement costs a message and a plan: there it is one for all that arrived, and one for all the rest.
# That one locks rows as its plan comes upon them, so what has a place is locked before, in its order.
_HOLD = (
    select(_t.c.delivery_id)
    .where(_t.c.delivery_id == func.any(bindparam("of", type_=ARRAY(_t.c.delivery_id.type))))
    .order_by(_t.c.place)
    .with_for_update()
)
_WHICH = ("delivery_id", "created_at")
_OF_ARRIVALS = ("attempts", "delivered_at", "last_status")
_OF_OTHERS = ("attempts", "dead_at", "next_attempt_at", "last_status", "last_error")


def _settle_each(names: Sequence[str]) -> Update:
    all_of_it = (*_WHICH, *names)
    arrays = {name: func.unnest(bindparam(f"each_{name}", type_=ARRAY(_t.c[name].type))) for name in all_of_it}
    each = select(*[array.label(name) for name, array in arrays.items()]).subquery()
    is_it = and_(*[_t.c[name] == each.c[name] for name in _WHICH])
    return update(_t).where(is_it).values(leased_until=None, **{name: each.c[name] for name in names})


_EACH_ARRIVED = _settle_each(_OF_ARRIVALS).where(_arrived).values(dead_at=None, last_error=None)
_SETTLE_EACH = _settle_each(_OF_OTHERS).where(pending, _is_mine).returning(_t.c.delivery_id)
_waiting = and_(pending, or_(_t.c.leased_until.is_(None), _t.c.leased_until <= bindparam("now")))
_expired = (
    select(_t.c.delivery_id)
    .where(_waiting, _t.c.expires_at <= bindparam("now"))
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("expired")
)
_EXPIRE = (
    update(_t)
    .where(_t.c.delivery_id.in_(select(_expired.c.delivery_id)))
    .values(
        dead_at=bindparam("now"),
        leased_until=None,
        last_error=func.substr("expired; " + func.coalesce(_t.c.last_error, "never attempted"), 1, rules.ERROR_LENGTH),
    )
    .returning(*_all)
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
_dead_of_client = (
    select(_t.c.delivery_id)
    .where(_t.c.client_id == bindparam("of"), _t.c.dead_at.is_not(None), _t.c.delivered_at.is_(None))
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("dead_of_client")
)
_RETRY_OF_CLIENT = (
    update(_t)
    .where(_t.c.delivery_id.in_(select(_dead_of_client.c.delivery_id)))
    .values(
        dead_at=None,
        next_attempt_at=bindparam("now"),
        expires_at=case((_t.c.expires_at < bindparam("at_least"), bindparam("at_least")), else_=_t.c.expires_at),
    )
    .returning(_t.c.delivery_id)
)
# What has a place is not given up: what is behind it would overtake it. Whoever hands it over bounds how much there is.
_worst = (
    select(_t.c.delivery_id)
    .where(pending, _t.c.place.is_(None))
    .order_by(_t.c.attempts.desc(), _t.c.created_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("worst")
)
_GIVE_UP = (
    update(_t)
    .where(_t.c.delivery_id.in_(select(_worst.c.delivery_id)))
    .values(dead_at=bindparam("now"), last_error=bindparam("error"))
    .returning(_t.c.delivery_id)
)
# One process gives up at a time: several that had counted the same surplus would give it up once each.
_GIVING_UP_LOCK = 0x1D9_DE_AD
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
_DEPTH = select(func.count()).where(pending)
_QUEUE = select(func.count(), func.min(_t.c.created_at)).where(pending)
_FIRST_EXPIRY = select(func.min(_t.c.expires_at)).where(pending)
# Parties are few, and what waits in a lane is found by one step into its index: a lane with a circuit of its own has its name.
_ANSWERED_ALL = delete(_parties).where(
    or_(
        _parties.c.client_id == bindparam("of"),
        select(_t.c.client_id).where(_t.c.lane == _parties.c.client_id, pending).limit(1).scalar_subquery() == bindparam("of"),
    )
)
# What waits is tried every few minutes, and each failure is noted: of whom nothing was noted for so long nothing waits.
_FORGET_PARTIES = delete_at_most(_parties, _parties.c.open_until < bindparam("before"))
_ANSWERED = delete(_parties).where(_parties.c.client_id.in_(bindparam("of", expanding=True)))
_HAS_TAKEN = select(_t.c.delivery_id).where(_t.c.client_id == bindparam("of"), _t.c.delivered_at.is_not(None)).limit(1)
_taken = _t.alias("taken")
_REFUSING = (
    select(_t.c.client_id, func.count(), func.min(_t.c.dead_at), literal(0.0), func.max(_t.c.last_error))
    .where(
        _t.c.dead_at.is_not(None),
        _t.c.last_status == bindparam("status"),
        ~select(_taken.c.delivery_id)
        .where(_taken.c.client_id == _t.c.client_id, _taken.c.delivered_at.is_not(None))
        .correlate(_t)
        .exists(),
    )
    .group_by(_t.c.client_id)
    .order_by(_t.c.client_id)
    .limit(bindparam("most"))
    .offset(bindparam("skipped"))
)
_PARTIES = (
    select_of(PartyRow, Party)
    .order_by(_parties.c.failing_since, _parties.c.client_id)
    .limit(bindparam("most"))
    .offset(bindparam("skipped"))
)
_THESE_PARTIES = select_of(PartyRow, Party).where(_parties.c.client_id.in_(bindparam("of", expanding=True)))


def _failing(insert: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    failed = ("failures", "open_until", "last_error")
    return insert.on_conflict_do_update(index_elements=["client_id"], set_={name: insert.excluded[name] for name in failed})


_FAILED = {"sqlite": _failing(sqlite.insert(_parties)), "postgresql": _failing(postgresql.insert(_parties))}
_IN_STATE = {
    DeliveryState.WAITING: _waiting,
    DeliveryState.IN_FLIGHT: _leased,
    DeliveryState.DELIVERED: _t.c.delivered_at.is_not(None),
    DeliveryState.DEAD: and_(_t.c.dead_at.is_not(None), _t.c.delivered_at.is_(None)),
}


def add(tx: Transaction, dialect: str, deliveries: Sequence[Delivery]) -> None:
    """Insert the deliveries, save those that were written down before."""
    tx.execute(_INSERT[dialect], [asdict(delivery) for delivery in deliveries])


def by_id(tx: Transaction, delivery_id: str) -> Delivery | None:
    """The delivery."""
    return tx.one(Delivery, _BY_ID, {"of": delivery_id})


def of_sessions(tx: Transaction, sids: Collection[str]) -> list[Delivery]:
    """The deliveries of these sessions, oldest first."""
    return tx.all(Delivery, _OF_SESSIONS, {"these": sorted(sids)}) if sids else []


def note(tx: Transaction, deliveries: Collection[Delivery], until: Instant) -> None:
    """These are being attempted, and may be until `until`."""
    if deliveries:
        tx.execute(_NOTE, [{**which(one), "so_many": one.attempts, "until": until} for one in deliveries])


def settle(tx: Transaction, dialect: str, by: str, outcomes: Sequence[tuple[Delivery, Outcome]]) -> set[str]:
    """Write down what attempts came to; returns which: of a lane that `by` has lost, somebody else answers for the rest."""
    arrivals = [_values(delivery, outcome) for delivery, outcome in outcomes if outcome.delivered_at is not None]
    others = [_values(delivery, outcome) for delivery, outcome in outcomes if outcome.delivered_at is None]
    settled = {str(values["of"]) for values in arrivals}
    who: dict[str, object] = {"by": by, **instants(tx)}
    if dialect == "postgresql":
        if placed := [delivery.delivery_id for delivery, _ in outcomes if delivery.place is not None]:
            tx.execute(_HOLD, {"of": placed})
        if arrivals:
            tx.execute(_EACH_ARRIVED, _as_arrays(_OF_ARRIVALS, arrivals))
        if others:
            settled |= {row.delivery_id for row in tx.execute(_SETTLE_EACH, _as_arrays(_OF_OTHERS, others) | who)}
    else:
        if arrivals:
            tx.execute(_ARRIVED, arrivals)
        settled |= {str(values["of"]) for values in others if tx.execute(_SETTLE, values | who).rowcount}
    return settled


def first_expiry(tx: Transaction) -> Instant | None:
    """When the first of what waits expires."""
    found: Instant | None = tx.execute(_FIRST_EXPIRY).scalar()
    return found


def expire(tx: Transaction, most: int) -> list[Delivery]:
    """Let die what has expired and is not being attempted, at most `most` of it; returns it."""
    return tx.all(Delivery, _EXPIRE, {"most": most, "now": tx.now})


def which(delivery: Delivery) -> dict[str, object]:
    """Which row a delivery is."""
    return {"of": delivery.delivery_id, "made_at": delivery.created_at}


def _values(delivery: Delivery, outcome: Outcome) -> dict[str, object]:
    return {
        **which(delivery),
        "new_attempts": delivery.attempts,
        "new_delivered_at": outcome.delivered_at,
        "new_dead_at": outcome.dead_at,
        "new_next_attempt_at": outcome.next_attempt_at,
        "new_last_status": outcome.last_status,
        "new_last_error": outcome.last_error,
    }


def _as_arrays(names: Sequence[str], rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    arrays: dict[str, object] = {f"each_{name}": [row[f"new_{name}"] for row in rows] for name in names}
    return arrays | {f"each_{name}": [row[key] for row in rows] for name, key in zip(_WHICH, ("of", "made_at"), strict=True)}


def retry(tx: Transaction, delivery_id: str, expires_at: Instant) -> Delivery | None:
    """Make it due now; None when it was delivered, is in flight, or never was."""
    return tx.one(Delivery, _RETRY, {"of": delivery_id, "now": tx.now, "new_expires_at": expires_at})


def retry_of_client(tx: Transaction, client_id: str, at_least: Instant, most: int) -> int:
    """Make dead deliveries of a client due now, at most `most`, with a life until `at_least`; returns their number."""
    values = {"of": client_id, "now": tx.now, "at_least": at_least, "most": most}
    return len(tx.execute(_RETRY_OF_CLIENT, values).all())


def give_up(tx: Transaction, dialect: str, limit: int, most: int, error: str) -> int:
    """Let die what was attempted most often of all that waits beyond `limit`, at most `most` of it; returns the number."""
    if dialect == "postgresql" and not tx.execute(_TRY_LOCK, {"lock": _GIVING_UP_LOCK}).scalar():
        return 0
    surplus = int(tx.execute(_DEPTH).scalar_one()) - limit
    if surplus <= 0:
        return 0
    return len(tx.execute(_GIVE_UP, {"most": min(surplus, most), "now": tx.now, "error": error}).all())


def queue(tx: Transaction) -> Queue:
    """How much waits, and since when."""
    return tx.one(Queue, _QUEUE, {}) or Queue(0, None)


def has_taken(tx: Transaction, client_id: str) -> bool:
    """Whether a client ever took anything, as far as is known still."""
    return tx.execute(_HAS_TAKEN, {"of": client_id}).first() is not None


def refusing(tx: Transaction, page: Page) -> list[Party]:
    """Who answered 400 and never took anything: how often, since when, and what the last error was. One page of it."""
    return tx.all(Party, _REFUSING, {"status": REFUSED, "most": page.size, "skipped": page.skipped})


def parties(tx: Transaction, page: Page) -> list[Party]:
    """Who does not answer, the longest first: one page of it."""
    return tx.all(Party, _PARTIES, {"most": page.size, "skipped": page.skipped})


def parties_of(tx: Transaction, names: Collection[str]) -> dict[str, Party]:
    """Those of these parties that did not answer lately."""
    return {party.client_id: party for party in tx.all(Party, _THESE_PARTIES, {"of": sorted(names)})}


def waiting_in(tx: Transaction, lane: str) -> int:
    """How much waits in a lane, or is in flight."""
    return int(tx.execute(_WAITING_IN, {"of": lane}).scalar_one())


def first_waiting(tx: Transaction, lane: str) -> int | None:
    """The first place in a lane that waits or is in flight."""
    found: int | None = tx.execute(_FIRST_WAITING, {"of": lane}).scalar()
    return found


def arrived(tx: Transaction, delivery_ids: Collection[str]) -> set[str]:
    """Those of the deliveries that arrived."""
    return set(tx.execute(_HAVE_ARRIVED, {"these": sorted(delivery_ids)}).scalars()) if delivery_ids else set()


def withdraw(tx: Transaction, lane: str) -> int:
    """Delete what waits in a lane, or is in flight; returns the number."""
    return len(tx.execute(_WITHDRAW, {"of": lane}).all())


def answered_all(tx: Transaction, client_id: str) -> None:
    """Nothing is held against a client any more, nor against its lanes."""
    tx.execute(_ANSWERED_ALL, {"of": client_id})


def forget_parties(tx: Transaction, before: Instant) -> int:
    """Delete some of the parties that were last tried before `before`; returns the number."""
    return deleted(tx, _FORGET_PARTIES, AT_ONCE, {"before": before})


def answered(tx: Transaction, client_ids: Collection[str]) -> None:
    """These parties answer: nothing is held against them any more."""
    tx.execute(_ANSWERED, {"of": sorted(client_ids)})


def failed(tx: Transaction, dialect: str, parties: Collection[Party]) -> None:
    """Write down that parties did not answer."""
    # In one order always: two workers that wait for each other's rows would wait for ever.
    tx.execute(_FAILED[dialect], [asdict(party) for party in sorted(parties, key=attrgetter("client_id"))])


def listed(tx: Transaction, state: DeliveryState | None, page: Page) -> list[Delivery]:
    """The deliveries, of one state if named: newest first, the dead by the moment of their death; one page of them."""
    order = _t.c.dead_at if state is DeliveryState.DEAD else _t.c.created_at
    query = select_of(DeliveryRow, Delivery).order_by(order.desc(), _t.c.delivery_id).limit(page.size).offset(page.skipped)
    if state is None:
        return tx.all(Delivery, query)
    query = query.where(_IN_STATE[state])
    return tx.all(Delivery, query, {"now": tx.now} if state in {DeliveryState.WAITING, DeliveryState.IN_FLIGHT} else {})


# Found by the index of `created_at`: hardly anything is old and not done with.
_done_at = func.coalesce(_t.c.delivered_at, _t.c.dead_at)
_before: BindParameter[float] = bindparam("before")
_FORGET = delete_at_most(_t, _t.c.created_at < _before, _done_at < _before, first=_t.c.created_at)


def forget(tx: Transaction, before: Instant, most: int) -> int:
    """Delete what arrived or died before `before`, at most `most` of it; returns the number."""
    return deleted(tx, _FORGET, most, {"before": before})
