"""Statements on families and single tokens, prepared once."""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, LargeBinary, Select, bindparam, cast, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import ReturningDelete

from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.tokens.models import EndedTokenRow, FamilyRow, PairwiseSubjectRow
from idp.tokens.refresh import RefreshToken
from idp.tokens.rules import FAMILY_ID_LENGTH, LEEWAY, Family, OpenFamily

_families = table_of(FamilyRow)
_ended = table_of(EndedTokenRow)
_subjects = table_of(PairwiseSubjectRow)
_index = _families.c.status_index
_names = tuple(name for name in Family.__dataclass_fields__ if name != _index.name)
#: How many values one statement may hold on any database.
_MANY = 1000

_INSERT = insert(_families).returning(_index)
_BY_ID = select_of(FamilyRow, Family).where(_families.c.family_id == bindparam("family_id"))
_ROTATE = (
    update(_families)
    .where(
        _families.c.family_id == bindparam("of"),
        _families.c.client_id == bindparam("by"),
        _families.c.generation == bindparam("at"),
        _families.c.secret_hash == bindparam("presented"),
        _families.c.ended_at.is_(None),
        _families.c.expires_at > bindparam("now"),
    )
    .values(
        generation=_families.c.generation + 1,
        secret_hash=bindparam("successor"),
        rotated_at=bindparam("now"),
        expires_at=bindparam("until"),
        retried_at=None,
        seen_at=None,
    )
    .returning(*columns_for(FamilyRow, Family))
)
_REPLACE = (
    update(_families)
    .where(
        _families.c.family_id == bindparam("of"),
        _families.c.generation == bindparam("at"),
        _families.c.secret_hash == bindparam("lost"),
        _families.c.seen_at.is_(None),
        _families.c.ended_at.is_(None),
        _families.c.expires_at > bindparam("now"),
    )
    .values(generation=_families.c.generation + 1, secret_hash=bindparam("successor"), retried_at=bindparam("now"))
    .returning(*columns_for(FamilyRow, Family))
)
_SEEN = (
    update(_families)
    .where(_families.c.family_id == bindparam("of"), _families.c.generation == bindparam("at"), _families.c.seen_at.is_(None))
    .values(seen_at=bindparam("now"))
)
_END_TOKEN = {
    "sqlite": sqlite_insert(_ended).on_conflict_do_nothing().returning(_ended.c.jti),
    "postgresql": postgresql_insert(_ended).on_conflict_do_nothing().returning(_ended.c.jti),
}
_FORGET = delete(_ended).where(_ended.c.expires_at <= bindparam("now"))
_IS_ENDED = select(_ended.c.jti).where(_ended.c.jti == bindparam("jti"))
_SUB_IN = select(_subjects.c.sub).where(_subjects.c.sector == bindparam("sector"), _subjects.c.subject == bindparam("subject"))
_SUBJECT_IN = select(_subjects.c.subject).where(_subjects.c.sector == bindparam("sector"), _subjects.c.sub == bindparam("sub"))
_NAMES = (
    select(_subjects.c.sector, _subjects.c.sub).where(_subjects.c.subject == bindparam("subject")).order_by(_subjects.c.sector)
)
_NAME = {
    "sqlite": sqlite_insert(_subjects).on_conflict_do_nothing(),
    "postgresql": postgresql_insert(_subjects).on_conflict_do_nothing(),
}
_LAST_INDEX = select(func.max(_index))
_ENDED_SINCE = select(_index).where(_families.c.ended_at > bindparam("since"))
_OPEN_OF_SESSIONS = select(_index).where(
    _families.c.sid.in_(bindparam("these", expanding=True)), _families.c.offline.is_(False), _families.c.ended_at.is_(None)
)
_OPEN_OF_CLIENTS = select(_index).where(
    _families.c.client_id.in_(bindparam("these", expanding=True)), _families.c.ended_at.is_(None)
)
_OF_ENDED_TOKENS = (
    select(_index)
    .join_from(_ended, _families, _families.c.family_id == func.substr(_ended.c.jti, 1, FAMILY_ID_LENGTH))
    .where(_ended.c.expires_at > bindparam("since"))
)
# The newest one stays, for its status index: the next one goes on from there, and so does the length of the status lists.
_not_newest = _index < _LAST_INDEX.scalar_subquery()


def _forget_by(instant: ColumnElement[float], *conditions: ColumnElement[bool]) -> ReturningDelete[tuple[str]]:
    over = (
        select(_families.c.family_id)
        .where(instant < bindparam("before"), *conditions, _not_newest)
        .order_by(instant)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte("over")
    )
    return delete(_families).where(_families.c.family_id.in_(select(over.c.family_id))).returning(_families.c.family_id)


_FORGET_FAMILIES = (
    _forget_by(_families.c.ended_at),
    # None but an offline one runs out without being marked.
    _forget_by(
        _families.c.started_at,
        _families.c.expires_at < bindparam("before"),
        _families.c.offline,
        _families.c.ended_at.is_(None),
    ),
)


def add(tx: Transaction, family: Family) -> int:
    """Insert a family; returns the status index that it was given."""
    return int(tx.execute(_INSERT, {name: getattr(family, name) for name in _names}).scalar_one())


def by_id(tx: Transaction, family_id: str) -> Family | None:
    """The family, ended or not."""
    return tx.one(Family, _BY_ID, {"family_id": family_id})


def rotate(tx: Transaction, client_id: str, presented: RefreshToken, successor: RefreshToken, until: Instant) -> Family | None:
    """Consume the live token and put its successor in its place, in one statement; None when it is not the live one."""
    return tx.one(
        Family,
        _ROTATE,
        {
            "of": presented.family_id,
            "by": client_id,
            "at": presented.generation,
            "presented": presented.stored,
            "successor": successor.stored,
            "now": tx.now,
            "until": until,
        },
    )


def replace(tx: Transaction, family: Family, successor: RefreshToken) -> Family | None:
    """Put another successor in the place of the live one, whose answer was lost; None when something happened meanwhile.

    What happened is that the live one was spent, that something of its answer was used, or that the family ended.
    """
    return tx.one(
        Family,
        _REPLACE,
        {
            "of": family.family_id,
            "at": family.generation,
            "lost": family.secret_hash,
            "successor": successor.stored,
            "now": tx.now,
        },
    )


def seen(tx: Transaction, family_id: str, generation: int) -> None:
    """Note that something of the answer with that generation was used, if it is the last answer and nothing was yet."""
    tx.execute(_SEEN, {"of": family_id, "at": generation, "now": tx.now})


def _end_where(*conditions: ColumnElement[bool]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - SQLAlchemy's own type
    return (
        update(_families)
        .where(*conditions, _families.c.ended_at.is_(None))
        .values(ended_at=bindparam("now"), end_reason=bindparam("reason"))
        .returning(_families.c.family_id)
    )


def _end_each_where(*conditions: ColumnElement[bool]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as above
    """Locked in one order, by whatever name they are found: two that wait for each other's rows would wait for ever.

    That of who ends an account: session by session as Python sorts their names, so by their bytes and not as the
    database's language has it, and what outlives them at last.
    """
    sid = cast(_families.c.sid, LargeBinary)
    ending = (
        select(_families.c.family_id)
        .where(*conditions, _families.c.ended_at.is_(None))
        .order_by(_families.c.offline, sid, _families.c.family_id)
        .with_for_update()
        .cte("ending")
    )
    return _end_where(_families.c.family_id.in_(select(ending.c.family_id)))


_END = _end_where(_families.c.family_id == bindparam("of"))
_END_OF_SESSION = _end_each_where(_families.c.sid == bindparam("of"), _families.c.offline.is_(False))
_END_OF_SUBJECT = _end_each_where(_families.c.subject == bindparam("of"))
_END_THESE = _end_each_where(_families.c.family_id.in_(bindparam("these", expanding=True)))
_OPEN_OF_CLIENT = (
    select(_families.c.family_id, _families.c.subject, _families.c.scope, _families.c.secret_hash.is_not(None))
    .where(_families.c.client_id == bindparam("of"), _families.c.ended_at.is_(None))
    .order_by(_families.c.family_id)
)
_END_OF_CLIENT = _end_each_where(_families.c.client_id == bindparam("of"))
_END_OF_ACCESS = _end_each_where(_families.c.subject == bindparam("of"), _families.c.client_id == bindparam("by"))


def end(tx: Transaction, family_id: str, reason: str) -> bool:
    """Mark a family ended; False when it was already, or never was."""
    return tx.changed(_END, {"of": family_id, "now": tx.now, "reason": reason})


def end_of_session(tx: Transaction, sid: str, reason: str) -> int:
    """End every family that its session stands behind."""
    return len(tx.execute(_END_OF_SESSION, {"of": sid, "now": tx.now, "reason": reason}).all())


def end_of_subject(tx: Transaction, subject: str, reason: str) -> list[str]:
    """End every family of a person, the offline ones too; returns their names."""
    return list(tx.execute(_END_OF_SUBJECT, {"of": subject, "now": tx.now, "reason": reason}).scalars())


def end_of_client(tx: Transaction, client_id: str, reason: str) -> int:
    """End every family of a client."""
    return len(tx.execute(_END_OF_CLIENT, {"of": client_id, "now": tx.now, "reason": reason}).all())


def open_of_client(tx: Transaction, client_id: str) -> list[OpenFamily]:
    """What a client was given and that nobody marked ended."""
    return tx.all(OpenFamily, _OPEN_OF_CLIENT, {"of": client_id})


def end_these(tx: Transaction, family_ids: Sequence[str], reason: str) -> list[str]:
    """End families by their names; returns the names of those that had not ended."""
    batches = (family_ids[first : first + _MANY] for first in range(0, len(family_ids), _MANY))
    return [
        str(name)
        for batch in batches
        for name in tx.execute(_END_THESE, {"these": batch, "now": tx.now, "reason": reason}).scalars()
    ]


def end_of_access(tx: Transaction, subject: str, client_id: str, reason: str) -> list[str]:
    """End every family that a person allowed a client, the offline ones too; returns their names."""
    return list(tx.execute(_END_OF_ACCESS, {"of": subject, "by": client_id, "now": tx.now, "reason": reason}).scalars())


def end_token(tx: Transaction, jti: str, expires_at: Instant) -> bool:
    """Mark one access token ended; False when it was already."""
    values = {"jti": jti, "expires_at": expires_at, "ended_at": tx.now}
    return tx.changed(_END_TOKEN[tx.connection.dialect.name], values)


def is_ended(tx: Transaction, jti: str) -> bool:
    """Whether this one access token was ended."""
    return tx.changed(_IS_ENDED, {"jti": jti})


def forget_expired(tx: Transaction) -> int:
    """Delete what is known of single tokens that have expired by every clock; returns their number."""
    return tx.execute(_FORGET, {"now": tx.now - LEEWAY}).rowcount


def forget_families(tx: Transaction, before: Instant, most: int) -> int:
    """Delete families that ended, or ran out unmarked, before `before`; at most `most` of each. Returns the number."""
    return sum(len(tx.execute(each, {"before": before, "most": most}).all()) for each in _FORGET_FAMILIES)


# -- what people are called in a sector ---------------------------------------------------------------------------------------


def sub_in(tx: Transaction, sector: str, subject: str) -> str | None:
    """The person's name in a sector, if they have one."""
    found = tx.execute(_SUB_IN, {"sector": sector, "subject": subject}).scalar_one_or_none()
    return None if found is None else str(found)


def subject_in(tx: Transaction, sector: str, sub: str) -> str | None:
    """The person who has that name in that sector."""
    found = tx.execute(_SUBJECT_IN, {"sector": sector, "sub": sub}).scalar_one_or_none()
    return None if found is None else str(found)


def names(tx: Transaction, subject: str) -> list[tuple[str, str]]:
    """Every name that the person has in any sector, as (sector, sub)."""
    return [(row.sector, row.sub) for row in tx.execute(_NAMES, {"subject": subject})]


def name(tx: Transaction, subject: str, sector: str, sub: str) -> None:
    """Give the person a name in a sector, unless they have one."""
    tx.execute(_NAME[tx.connection.dialect.name], {"subject": subject, "sector": sector, "sub": sub})


# -- for the status lists: status indices of families ---------------------------------------------------------------------


def allocated(tx: Transaction) -> int:
    """How many status indices have been given."""
    last = tx.execute(_LAST_INDEX).scalar_one_or_none()
    return 0 if last is None else int(last) + 1


def ended_since(tx: Transaction, since: Instant) -> Iterator[int]:
    """Of families that ended after `since`."""
    yield from tx.execute(_ENDED_SINCE, {"since": since}).scalars()


def open_of_sessions(tx: Transaction, sids: Sequence[str]) -> Iterator[int]:
    """Of families that nobody marked ended and that these sessions stand behind."""
    return _of_these(tx, _OPEN_OF_SESSIONS, sids)


def open_of_clients(tx: Transaction, client_ids: Sequence[str]) -> Iterator[int]:
    """Of families that nobody marked ended and that these clients were given."""
    return _of_these(tx, _OPEN_OF_CLIENTS, client_ids)


def _of_these(tx: Transaction, query: Select[tuple[int]], these: Sequence[str]) -> Iterator[int]:
    for start in range(0, len(these), _MANY):
        yield from tx.execute(query, {"these": these[start : start + _MANY]}).scalars()


def of_ended_tokens(tx: Transaction, since: Instant) -> Iterator[int]:
    """Of families of which a single access token was revoked that expires after `since`."""
    yield from tx.execute(_OF_ENDED_TOKENS, {"since": since}).scalars()
