"""The statements of health: a proof that the database takes writes."""

from sqlalchemy import bindparam, delete, insert, select

from idp.discovery.models import HealthCheckRow
from idp.runtime import secrets
from idp.runtime.database import Transaction, table_of

#: About as much as a sign-in writes: where there is no room for it on the disk, there is none for a sign-in.
_FILLING = bytes(32 * 1024)
_ID_BYTES = 16

_t = table_of(HealthCheckRow)
_WRITE = insert(_t).values(check_id=bindparam("check_id"), checked_at=bindparam("checked_at"), filling=bindparam("filling"))
# What another process is just clearing away, too, is left to it: nobody waits here for anybody.
_OTHERS = select(_t.c.check_id).where(_t.c.check_id != bindparam("own")).with_for_update(skip_locked=True).cte("others")
_CLEAR = delete(_t).where(_t.c.check_id.in_(select(_OTHERS.c.check_id)))


def prove(tx: Transaction) -> None:
    """Write something. What was written before goes, so that there is never more than a few rows."""
    check_id = secrets.token(_ID_BYTES)
    tx.execute(_WRITE, {"check_id": check_id, "checked_at": tx.now, "filling": _FILLING})
    tx.execute(_CLEAR, {"own": check_id})
