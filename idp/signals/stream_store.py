"""Statements on streams, prepared once."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.deleting import delete_at_most
from idp.runtime.paging import Page
from idp.signals.models import StreamRow
from idp.signals.rules import ENABLED, PUSH, Stream, StreamProgress

_t = table_of(StreamRow)
_all = columns_for(StreamRow, Stream)
_NAMES = [column.name for column in _all]
_LISTS = ("events_requested", "acked_ahead", "removed_subjects")

_INSERT = insert(_t)
_every = select_of(StreamRow, Stream)
_BY_ID = _every.where(_t.c.stream_id == bindparam("of"))
_HOLD = _BY_ID.with_for_update()
_BY_IDS = _every.where(_t.c.stream_id.in_(bindparam("of", expanding=True)))
_HOLD_ALL = _BY_IDS.order_by(_t.c.stream_id).with_for_update()
_OF_CLIENT = _every.where(_t.c.client_id == bindparam("of")).order_by(_t.c.created_at, _t.c.stream_id)
_ENABLED = _every.where(_t.c.status == ENABLED)
_LISTED = _every.order_by(_t.c.client_id, _t.c.created_at, _t.c.stream_id).limit(bindparam("most")).offset(bindparam("skipped"))
_PUSHED = _every.where(
    _t.c.method == PUSH, _t.c.status == ENABLED, _t.c.cursor < bindparam("last"), _t.c.endpoint_url.is_not(None)
).order_by(_t.c.stream_id)
_PUSHED_HELD = _PUSHED.with_for_update()
_SLOWEST = select(func.count(), func.min(_t.c.cursor)).where(_t.c.status == ENABLED)
_PROGRESS = (
    update(_t)
    .where(_t.c.stream_id == bindparam("of"))
    .values(cursor=bindparam("new_cursor"), acked_ahead=bindparam("new_acked_ahead"), seen_at=bindparam("now"))
)
_END = delete(_t).where(_t.c.stream_id == bindparam("of"), _t.c.client_id == bindparam("by")).returning(_t.c.stream_id)
_END_UNSEEN = delete_at_most(_t, _t.c.method == bindparam("method_is"), _t.c.seen_at < bindparam("before")).returning(
    _t.c.client_id
)


def _read(*row: Any) -> Stream:
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    values.update({name: tuple(values[name]) for name in _LISTS})
    return Stream(**values)


def _written(values: Mapping[str, object]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def add(tx: Transaction, stream: Stream) -> None:
    """Insert a stream."""
    tx.execute(_INSERT, _written({column.name: getattr(stream, column.name) for column in _all}))


def by_id(tx: Transaction, stream_id: str) -> Stream | None:
    """The stream."""
    return tx.one(_read, _BY_ID, {"of": stream_id})


def hold(tx: Transaction, stream_id: str) -> Stream | None:
    """The stream, its row locked until the commit."""
    return tx.one(_read, _HOLD, {"of": stream_id})


def hold_all(tx: Transaction, stream_ids: Collection[str]) -> list[Stream]:
    """Those of the streams that there are, locked until the commit.

    In one order always: two processes that lock the same rows in different orders would wait for each other.
    """
    return tx.all(_read, _HOLD_ALL, {"of": list(stream_ids)})


def by_ids(tx: Transaction, stream_ids: Collection[str]) -> list[Stream]:
    """Those of the streams that there are."""
    return tx.all(_read, _BY_IDS, {"of": list(stream_ids)})


def of_client(tx: Transaction, client_id: str) -> list[Stream]:
    """A client's streams, oldest first."""
    return tx.all(_read, _OF_CLIENT, {"of": client_id})


def enabled(tx: Transaction) -> list[Stream]:
    """The streams that are enabled."""
    return tx.all(_read, _ENABLED)


def listed(tx: Transaction, page: Page) -> list[Stream]:
    """One page of all streams, client by client."""
    return tx.all(_read, _LISTED, {"most": page.size, "skipped": page.skipped})


def pushed(tx: Transaction, last: int) -> list[Stream]:
    """The push streams that are enabled and have not come to `last` yet."""
    return tx.all(_read, _PUSHED, {"last": last})


def pushed_held(tx: Transaction, last: int) -> list[Stream]:
    """As `pushed`, their rows locked until the commit."""
    return tx.all(_read, _PUSHED_HELD, {"last": last})


def slowest(tx: Transaction) -> tuple[int, int | None]:
    """How many streams are enabled, and the cursor of the one furthest behind."""
    row: Any = tx.execute(_SLOWEST).one()
    return int(row[0]), row[1]


def change(tx: Transaction, stream_id: str, **values: object) -> None:
    """Write some members of a stream anew."""
    tx.execute(update(_t).where(_t.c.stream_id == stream_id).values(**_written(values)))


def note_progress(tx: Transaction, progress: Mapping[str, StreamProgress]) -> None:
    """Write down how far streams have come, and that their followers were here now."""
    rows = [
        {"of": name, "new_cursor": one.cursor, "new_acked_ahead": list(one.acked_ahead), "now": tx.now}
        for name, one in progress.items()
    ]
    if rows:
        tx.execute(_PROGRESS, rows)


def end(tx: Transaction, stream_id: str, client_id: str) -> bool:
    """Delete a stream; False when this client has none of that name."""
    return tx.changed(_END, {"of": stream_id, "by": client_id})


def end_unseen(tx: Transaction, method: str, before: Instant) -> list[tuple[str, str]]:
    """Delete some streams of a method whose follower was last here before `before`; returns (stream, client) of each."""
    gone = tx.execute(_END_UNSEEN, {"method_is": method, "before": before, "most": AT_ONCE})
    return [(row.stream_id, row.client_id) for row in gone]
