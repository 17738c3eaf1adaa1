"""Statements on buckets of failed sign-ins. Counting is one statement, so that no two guesses count as one."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import bindparam, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.accounts.models import SignInThrottleRow
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, table_of
from idp.runtime.deleting import delete_at_most, deleted

_throttles = table_of(SignInThrottleRow)
_failures, _expires_at = _throttles.c.failures, _throttles.c.expires_at
# A window is over by the clock; one that would end too late is, too: the clock was set back, or the setting changed.
_over = or_(_expires_at <= bindparam("now"), _expires_at > bindparam("latest"))


@dataclass(frozen=True, slots=True)
class Count:
    """What a bucket holds, the attempt that asked included, and when it is emptied."""

    bucket: str
    failures: int
    expires_at: Instant


def _counting(insert: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    return insert.on_conflict_do_update(
        index_elements=[_throttles.c.bucket],
        set_={
            "failures": case((_over, insert.excluded.failures), else_=_failures + insert.excluded.failures),
            "expires_at": case((_over, insert.excluded.expires_at), else_=_expires_at),
        },
    )


_RETURNED = (_throttles.c.bucket, _failures, _expires_at)
_COUNT = {
    "sqlite": _counting(sqlite.insert(_throttles)).returning(*_RETURNED),
    "postgresql": _counting(postgresql.insert(_throttles)).returning(*_RETURNED),
}
_GIVE_BACK = (
    update(_throttles)
    .where(_throttles.c.bucket == bindparam("of"), _expires_at == bindparam("window"), _failures > 0)
    .values(failures=_failures - 1)
)
_GET = select(*_RETURNED).where(_throttles.c.bucket == bindparam("of"), ~_over)
# Strangers fill this table, and SQLite has no index for LIKE. In the order of bytes "/" is next to "."; PostgreSQL may have
# another order, and holds up nobody meanwhile.
_FORGET_WITHIN = {
    "sqlite": delete(_throttles).where(
        _throttles.c.bucket >= bindparam("of") + ".", _throttles.c.bucket < bindparam("of") + "/"
    ),
    "postgresql": delete(_throttles).where(func.starts_with(_throttles.c.bucket, bindparam("of") + ".")),
}
_FORGET_THESE = delete(_throttles).where(_throttles.c.bucket.in_(bindparam("these", expanding=True)))
_FORGET = delete_at_most(_throttles, _expires_at <= bindparam("now"))


def count(tx: Transaction, bucket: str, window: int) -> Count:
    """Count one attempt, in the window that is open or in a new one."""
    values = {
        "bucket": bucket,
        "failures": 1,
        "expires_at": tx.now + window,
        "now": tx.now,
        "latest": tx.now + 2 * window,
    }
    row = tx.execute(_COUNT[tx.connection.dialect.name], values).one()
    return Count(row.bucket, row.failures, row.expires_at)


def get(tx: Transaction, bucket: str, window: int) -> Count | None:
    """What is counted in a bucket whose window is open."""
    row = tx.execute(_GET, {"of": bucket, "now": tx.now, "latest": tx.now + 2 * window}).first()
    return None if row is None else Count(row.bucket, row.failures, row.expires_at)


def forget(tx: Transaction, bucket: str) -> int:
    """Delete a bucket, and those whose names begin with its name and a dot. Returns how many."""
    return forget_these(tx, [bucket]) + tx.execute(_FORGET_WITHIN[tx.connection.dialect.name], {"of": bucket}).rowcount


def forget_these(tx: Transaction, buckets: Collection[str]) -> int:
    """Delete these buckets and no others. Returns how many."""
    return tx.execute(_FORGET_THESE, {"these": sorted(buckets)}).rowcount


def give_back(tx: Transaction, counted: Count) -> None:
    """Uncount one attempt, if its window is still open."""
    tx.execute(_GIVE_BACK, {"of": counted.bucket, "window": counted.expires_at})


def forget_expired(tx: Transaction) -> int:
    """Delete some buckets whose window is over, save those that a sign-in holds at this moment. Returns how many."""
    return deleted(tx, _FORGET, AT_ONCE, {"now": tx.now})
