"""Statements on the outbox, prepared once.

A claim sets `leased_until` and moves `next_attempt_at` to the same instant: a lease whose worker died is due again by
the same condition as every other row, and by the same index.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import and_, bindparam, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.delivery.models import DeliveryRow, PartyRow
from idp.delivery.rules import Delivery, Outcome, Party, Queue, State
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of

_t = table_of(DeliveryRow)
_parties = table_of(PartyRow)
_all = columns_for(DeliveryRow, Delivery)
_once = ("kind", "client_id", "once")
_pending = and_(_t.c.delivered_at.is_(None), _t.c.dead_at.is_(None))
_leased = and_(_pending, _t.c.leased_until > bindparam("now"))
_due = and_(_pending, _t.c.next_attempt_at <= bindparam("now"))

_INSERT = {
    "sqlite": sqlite.insert(_t).on_conflict_do_nothing(index_elements=_once),
    "postgresql": postgresql.insert(_t).on_conflict_do_nothing(index_elements=_once),
}
_OF_SESSION = select_of(DeliveryRow, Delivery).where(_t.c.sid == bindparam("sid")).order_by(_t.c.created_at)
_BY_ID = select_of(DeliveryRow, Delivery).where(_t.c.delivery_id == bindparam("of"))

# The clients that something waits for, each found by one step into the index: a party with 100,000 waiting rows
# costs the same as one with a single row, and hides nobody.
_lanes = select(func.min(_t.c.client_id).label("client_id")).where(_pending).cte("lanes", recursive=True)
_following = select(func.min(_t.c.client_id)).where(_pending, _t.c.client_id > _lanes.c.client_id).scalar_subquery()
_lanes = _lanes.union_all(select(_following).where(_lanes.c.client_id.is_not(None)))
_first = _t.alias("first")
_open = exists().where(_parties.c.client_id == _first.c.client_id, _parties.c.open_until > bindparam("now"))
_first_of_lane = (
    select(_first.c.delivery_id)
    .where(
        _first.c.client_id == _lanes.c.client_id,
        _first.c.delivered_at.is_(None),
        _first.c.dead_at.is_(None),
        _first.c.next_attempt_at <= bindparam("now"),
        # What has expired is not sent, so that an open circuit does not keep it from dying.
        or_(_first.c.expires_at <= bindparam("now"), ~_open),
    )
    .order_by(_first.c.next_attempt_at)
    .limit(1)
    .correlate(_lanes)
    .scalar_subquery()
)
# First attempts go first: where threads are short, parties that failed before are the ones that wait.
_HEADS = (
    select(_t.c.client_id, _t.c.delivery_id)
    .select_from(_lanes.join(_t, _t.c.delivery_id == _first_of_lane))
    .order_by(_t.c.attempts, _t.c.next_attempt_at)
)
_NEXT_DUE = select(func.min(_t.c.next_attempt_at)).where(_pending, _t.c.next_attempt_at > bindparam("now"))

_CLAIM = (
    update(_t)
    .where(
        # SQLite has no row locks, and there the clause is left out: BEGIN IMMEDIATE has let only one in.
        _t.c.delivery_id.in_(
            select(_t.c.delivery_id)
            .where(_t.c.delivery_id.in_(bindparam("of", expanding=True)), _due)
            .with_for_update(skip_locked=True)
        )
    )
    .values(leased_until=bindparam("until"), next_attempt_at=bindparam("until"), attempts=_t.c.attempts + 1)
    .returning(*_all)
)
_settle = update(_t).values(
    leased_until=None,
    delivered_at=bindparam("new_delivered_at"),
    dead_at=bindparam("new_dead_at"),
    next_attempt_at=bindparam("new_next_attempt_at"),
    last_status=bindparam("new_last_status"),
    last_error=bindparam("new_last_error"),
)
# An arrival is a fact, and counts though the lease was lost meanwhile. Any other outcome is the lease holder's to write.
_SETTLE_ARRIVED = _settle.where(_t.c.delivery_id == bindparam("of"), _t.c.delivered_at.is_(None))
_SETTLE = _settle.where(_t.c.delivery_id == bindparam("of"), _t.c.leased_until == bindparam("lease"), _pending)

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
_QUEUE = select(func.count(), func.min(_t.c.created_at)).where(_pending)
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
    """The first due delivery of a client."""

    client_id: str
    delivery_id: str


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
    """For each client that something is due for, what is due first; clients without failures before others."""
    return tx.all(Head, _HEADS, {"now": tx.now})


def next_due(tx: Transaction) -> Instant | None:
    """When the next delivery will be due that is not due yet."""
    found: Instant | None = tx.execute(_NEXT_DUE, {"now": tx.now}).scalar()
    return found


def claim(tx: Transaction, delivery_ids: Sequence[str], until: Instant) -> list[Delivery]:
    """Lease those that are still due until `until`, for one attempt each. What another worker took is not among them."""
    return tx.all(Delivery, _CLAIM, {"of": delivery_ids, "now": tx.now, "until": until})


def settle(tx: Transaction, delivery: Delivery, outcome: Outcome) -> bool:
    """Write down what an attempt came to; False when the lease was lost and somebody else answers for it now."""
    values: dict[str, object] = {f"new_{name}": value for name, value in asdict(outcome).items()}
    values["of"] = delivery.delivery_id
    if outcome.delivered_at is not None:
        return tx.execute(_SETTLE_ARRIVED, values).rowcount == 1
    return tx.execute(_SETTLE, values | {"lease": delivery.leased_until}).rowcount == 1


def retry(tx: Transaction, delivery_id: str, expires_at: Instant) -> Delivery | None:
    """Make it due now; None when it was delivered, is in flight, or never was."""
    return tx.one(Delivery, _RETRY, {"of": delivery_id, "now": tx.now, "new_expires_at": expires_at})


def retry_of_client(tx: Transaction, client_id: str, at_least: Instant) -> int:
    """Make every dead delivery of a client due now, with a life until `at_least`; returns their number."""
    return len(tx.execute(_RETRY_OF_CLIENT, {"of": client_id, "now": tx.now, "at_least": at_least}).all())


def queue(tx: Transaction) -> Queue:
    """How much waits, and since when."""
    return tx.one(Queue, _QUEUE, {}) or Queue(0, None)


def parties(tx: Transaction) -> list[Party]:
    """Who does not answer, the longest first."""
    return tx.all(Party, _PARTIES)


def party(tx: Transaction, client_id: str) -> Party | None:
    """The party, if it did not answer lately."""
    return tx.one(Party, _PARTY, {"of": client_id})


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
