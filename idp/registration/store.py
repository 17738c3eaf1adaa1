"""Statements on initial access tokens and on quotas. Counting and using up are one statement each: nobody slips between."""

from sqlalchemy import bindparam, case, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.registration.models import RegistrationQuotaRow, RegistrationTokenRow
from idp.registration.rules import InitialToken
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted
from idp.runtime.paging import Page

_tokens, _quotas = table_of(RegistrationTokenRow), table_of(RegistrationQuotaRow)
_good = (_tokens.c.expires_at > bindparam("now")) & (_tokens.c.uses_left > 0)
_ADD = insert(_tokens)
_LISTED = select_of(RegistrationTokenRow, InitialToken).where(_good).order_by(_tokens.c.created_at, _tokens.c.token_id)
_LISTED = _LISTED.limit(bindparam("most")).offset(bindparam("skipped"))
_IS_GOOD = select(_tokens.c.token_id).where(_good, _tokens.c.token_hash == bindparam("hash"))
_USE = (
    update(_tokens)
    .where(_good, _tokens.c.token_hash == bindparam("hash"))
    .values(uses_left=_tokens.c.uses_left - 1)
    .returning(_tokens.c.token_id)
)
_REVOKE = delete(_tokens).where(_tokens.c.token_id == bindparam("of")).returning(_tokens.c.token_id)
_FORGET_TOKENS = delete_at_most(_tokens, or_(_tokens.c.expires_at <= bindparam("now"), _tokens.c.uses_left <= 0))
_FORGET_QUOTAS = delete_at_most(_quotas, _quotas.c.expires_at <= bindparam("now"))
# A window is over by the clock; one that would end too late is, too: the clock was set back.
_over = or_(_quotas.c.expires_at <= bindparam("now"), _quotas.c.expires_at > bindparam("latest"))


def _counting(insert_: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    return insert_.on_conflict_do_update(
        index_elements=[_quotas.c.bucket],
        set_={
            "used": case((_over, 1), else_=_quotas.c.used + 1),
            "expires_at": case((_over, insert_.excluded.expires_at), else_=_quotas.c.expires_at),
        },
    )


_COUNT = {
    "sqlite": _counting(sqlite.insert(_quotas)).returning(_quotas.c.used, _quotas.c.expires_at),
    "postgresql": _counting(postgresql.insert(_quotas)).returning(_quotas.c.used, _quotas.c.expires_at),
}


def add_token(tx: Transaction, token: InitialToken, token_hash: str) -> None:
    """Insert an initial access token."""
    values = {name: getattr(token, name) for name in InitialToken.__dataclass_fields__}
    tx.execute(_ADD, values | {"token_hash": token_hash})


def listed_tokens(tx: Transaction, page: Page) -> list[InitialToken]:
    """Those that somebody may still register with, oldest first: one page of them."""
    return tx.all(InitialToken, _LISTED, {"now": tx.now, "most": page.size, "skipped": page.skipped})


def is_good(tx: Transaction, token_hash: str) -> bool:
    """Whether somebody may register with it now."""
    return tx.execute(_IS_GOOD, {"hash": token_hash, "now": tx.now}).first() is not None


def use_token(tx: Transaction, token_hash: str) -> bool:
    """Use it up by one; False when it is not good any more."""
    return tx.changed(_USE, {"hash": token_hash, "now": tx.now})


def revoke_token(tx: Transaction, token_id: str) -> bool:
    """Delete it; False when there was none."""
    return tx.changed(_REVOKE, {"of": token_id})


def count(tx: Transaction, bucket: str, window: float) -> tuple[int, Instant]:
    """Count one more, in the window that is open or in a new one. How many there are, and when the window is over."""
    values = {"bucket": bucket, "used": 1, "expires_at": tx.now + window, "now": tx.now, "latest": tx.now + 2 * window}
    row = tx.execute(_COUNT[tx.connection.dialect.name], values).one()
    return int(row.used), float(row.expires_at)


def forget(tx: Transaction) -> int:
    """Delete some of what is used up or over. Returns how many rows went."""
    return sum(deleted(tx, each, AT_ONCE, {"now": tx.now}) for each in (_FORGET_TOKENS, _FORGET_QUOTAS))
