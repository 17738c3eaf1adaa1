"""Statements on the log of security events, prepared once."""

from collections.abc import Collection, Sequence

from sqlalchemy import BigInteger, bindparam, exists, func, insert, or_, select, text, update

from idp.protocol.events import VERIFICATION
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted
from idp.signals.models import SignalRow
from idp.signals.rules import Signal

_t = table_of(SignalRow)
_all = columns_for(SignalRow, Signal)

_INSERT = insert(_t)
_AFTER = select_of(SignalRow, Signal).where(_t.c.seq > bindparam("after")).order_by(_t.c.seq).limit(bindparam("most"))
_BY_IDS = select_of(SignalRow, Signal).where(_t.c.signal_id.in_(bindparam("of", expanding=True)), _t.c.seq.is_not(None))
_OF_SESSIONS = select_of(SignalRow, Signal).where(_t.c.sid.in_(bindparam("these", expanding=True))).order_by(_t.c.occurred_at)
_LAST = select(func.coalesce(func.max(_t.c.seq), 0))
_FIRST_ALIVE = select(func.min(_t.c.seq)).where(_t.c.seq.is_not(None), _t.c.tokens_until > bindparam("now"))
_new = or_(_t.c.seq > bindparam("after"), _t.c.seq.is_(None))
_NEWS = select_of(SignalRow, Signal).where(_new).order_by(_t.c.seq).limit(bindparam("most"))
#: Whether there are any. Two indices, one question: it is asked many times a second.
ANY_NEWS = select(exists().where(_new))

# One process numbers at a time, and whoever finds it at work does something else meanwhile. The lock is held until the
# numbers are there to be seen, so that nobody who has seen one can later see a smaller one appear.
_NUMBERING_LOCK = 0x1D9_51_6A15
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")
#
# A verification says that everything before it was told. So it comes last: the instance that wrote an ending down before it
# may have a clock that is ahead.
_order = (_t.c.event == VERIFICATION, _t.c.occurred_at, _t.c.signal_id)
_fresh = (
    select(
        _t.c.signal_id,
        (_LAST.scalar_subquery() + func.row_number().over(order_by=_order).cast(BigInteger)).label("number"),
    )
    .where(_t.c.seq.is_(None))
    .order_by(*_order)
    .limit(bindparam("most"))
    .cte("fresh")
)
_NUMBER = update(_t).where(_t.c.signal_id == _fresh.c.signal_id).values(seq=_fresh.c.number).returning(_t.c.seq)

# The newest one stays, for its number: the next one goes on from there.
_FORGET = delete_at_most(
    _t,
    _t.c.occurred_at < bindparam("before"),
    _t.c.seq < _LAST.scalar_subquery(),
    _t.c.tokens_until <= bindparam("now"),
    first=_t.c.occurred_at,
)


def add(tx: Transaction, signals: Sequence[Signal]) -> None:
    """Insert events."""
    tx.execute(_INSERT, [{column.name: getattr(signal, column.name) for column in _all} for signal in signals])


def news(tx: Transaction, place: int, most: int) -> list[Signal]:
    """The events with numbers beyond `place`, in order, and committed ones that have no number yet; at most `most`."""
    return tx.all(Signal, _NEWS, {"after": place, "most": most})


def number(tx: Transaction, dialect: str, most: int) -> int | None:
    """Give committed events the next numbers, at most `most` of them; None when another process is at it just now."""
    if dialect == "postgresql" and not tx.execute(_TRY_LOCK, {"lock": _NUMBERING_LOCK}).scalar():
        return None
    return len(tx.execute(_NUMBER, {"most": most}).all())


def after(tx: Transaction, place: int, most: int) -> list[Signal]:
    """The events with numbers beyond `place`, in order."""
    return tx.all(Signal, _AFTER, {"after": place, "most": most})


def by_ids(tx: Transaction, signal_ids: Collection[str]) -> list[Signal]:
    """Those of the events that there are, and have numbers."""
    return tx.all(Signal, _BY_IDS, {"of": list(signal_ids)}) if signal_ids else []


def of_sessions(tx: Transaction, sids: Collection[str]) -> list[Signal]:
    """What was told about these sessions, oldest first."""
    return tx.all(Signal, _OF_SESSIONS, {"these": sorted(sids)}) if sids else []


def last(tx: Transaction) -> int:
    """The last number that was given."""
    return int(tx.execute(_LAST).scalar_one())


def first_alive(tx: Transaction) -> int | None:
    """The number of the first event that names tokens which may still be alive; None when there is none."""
    found: int | None = tx.execute(_FIRST_ALIVE, {"now": tx.now}).scalar()
    return found


def forget(tx: Transaction, before: Instant) -> int:
    """Delete some of the events that happened before `before` and name no token that could be alive; returns their number."""
    return deleted(tx, _FORGET, AT_ONCE, {"before": before, "now": tx.now})
