"""Statements on families and single tokens, prepared once."""

from collections.abc import Iterator, Sequence

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    LargeBinary,
    Select,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, columns_for, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted
from idp.tokens.models import (
    STATUS_INDICES,
    EndedTokenRow,
    FamilyClosingRow,
    FamilyRow,
    PairwiseSubjectRow,
    StatusCountRow,
    StatusListRow,
)
from idp.tokens.refresh import RefreshToken
from idp.tokens.rules import FAMILY_ID_LENGTH, LEEWAY, Family, FamilyClosing, OpenFamily

_families = table_of(FamilyRow)
_ended = table_of(EndedTokenRow)
_subjects = table_of(PairwiseSubjectRow)
_closings, _lists, _count = table_of(FamilyClosingRow), table_of(StatusListRow), table_of(StatusCountRow)
_index = _families.c.status_index
_names = tuple(Family.__dataclass_fields__)
#: How many values one statement may hold on any database.
_MANY = 1000

_INSERT = insert(_families)
_BY_ID = select_of(FamilyRow, Family).where(_families.c.family_id == bindparam("family_id"))
# A table that is empty nearly always: what this costs is not to be measured.
_is_closed = exists().where(
    or_(_closings.c.subject.is_(None), _closings.c.subject == _families.c.subject),
    or_(_closings.c.client_id.is_(None), _closings.c.client_id == _families.c.client_id),
)
_OPEN_BY_ID = _BY_ID.where(_families.c.ended_at.is_(None), ~_is_closed)
_ROTATE = (
    update(_families)
    .where(
        _families.c.family_id == bindparam("of"),
        _families.c.client_id == bindparam("by"),
        _families.c.generation == bindparam("at"),
        _families.c.secret_hash == bindparam("presented"),
        _families.c.ended_at.is_(None),
        _families.c.expires_at > bindparam("now"),
        ~_is_closed,
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
        ~_is_closed,
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
_FORGET = delete_at_most(_ended, _ended.c.expires_at <= bindparam("now"))
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
_FORGET_NAMES = delete_at_most(_subjects, _subjects.c.subject == bindparam("of"))
# Where a family has its place: it is counted first, and its place drawn then (`rules.drawn`).
_COUNT: dict[str, Executable] = {
    "sqlite": sqlite_insert(_count)
    .values(only=1, given=1)
    .on_conflict_do_update(index_elements=["only"], set_={"given": _count.c.given + 1})
    .returning(_count.c.given - 1),
    "postgresql": select(STATUS_INDICES.next_value()),
}
_COUNTED: dict[str, Executable] = {
    "sqlite": select(func.coalesce(func.max(_count.c.given), 0)),
    "postgresql": text("SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM token_family_indices"),
}
_SEED = select(_lists.c.seed).where(_lists.c.number == bindparam("of"))
_ADD_SEED = {
    "sqlite": sqlite_insert(_lists).on_conflict_do_nothing(),
    "postgresql": postgresql_insert(_lists).on_conflict_do_nothing(),
}
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
_before: BindParameter[float] = bindparam("before")
_FORGET_FAMILIES = (
    delete_at_most(_families, _families.c.ended_at < _before, first=_families.c.ended_at),
    # None but an offline one runs out without being marked.
    delete_at_most(
        _families,
        _families.c.started_at < _before,
        _families.c.expires_at < _before,
        _families.c.offline,
        _families.c.ended_at.is_(None),
        first=_families.c.started_at,
    ),
)


def add(tx: Transaction, family: Family) -> None:
    """Insert a family."""
    tx.execute(_INSERT, {name: getattr(family, name) for name in _names})


def by_id(tx: Transaction, family_id: str) -> Family | None:
    """The family, ended or not."""
    return tx.one(Family, _BY_ID, {"family_id": family_id})


def open_by_id(tx: Transaction, family_id: str) -> Family | None:
    """The family, if nothing has ended it."""
    return tx.one(Family, _OPEN_BY_ID, {"family_id": family_id})


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


def _end_each_where(*conditions: ColumnElement[bool], most: bool = False):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Locked in one order, by whatever name they are found: two that wait for each other's rows would wait for ever.

    That of who ends an account: session by session as Python sorts their names, so by their bytes and not as the
    database's language has it, and what outlives them at last.
    """
    sid = cast(_families.c.sid, LargeBinary)
    found = (
        select(_families.c.family_id)
        .where(*conditions, _families.c.ended_at.is_(None))
        .order_by(_families.c.offline, sid, _families.c.family_id)
        .with_for_update()
    )
    ending = (found.limit(bindparam("most")) if most else found).cte("ending")
    return _end_where(_families.c.family_id.in_(select(ending.c.family_id)))


def _free(*conditions: ColumnElement[bool]) -> Select[tuple[str]]:
    """What nobody else holds, in whatever order the index has it: whoever waits for nothing is in nobody's way."""
    found = select(_families.c.family_id).where(*conditions, _families.c.ended_at.is_(None))
    return select(found.limit(bindparam("most")).with_for_update(skip_locked=True).cte("free").c.family_id)


_END = _end_where(_families.c.family_id == bindparam("of"))
_END_THESE = _end_each_where(_families.c.family_id.in_(bindparam("these", expanding=True)))
_OPEN_OF_CLIENT = (
    select(_families.c.family_id, _families.c.subject, _families.c.scope, _families.c.secret_hash.is_not(None))
    .where(_families.c.client_id == bindparam("of"), _families.c.ended_at.is_(None))
    .order_by(_families.c.family_id)
)
_END_OF_SESSIONS = _end_each_where(_families.c.sid.in_(bindparam("these", expanding=True)), _families.c.offline.is_(False))
_of_subject, _of_client = _families.c.subject == bindparam("of"), _families.c.client_id == bindparam("by")
#: By what a closing names: a person, a client, or both.
_NAMED = {(True, False): (_of_subject,), (False, True): (_of_client,), (True, True): (_of_subject, _of_client)}
_END_SOME = {which: _end_each_where(*named, most=True) for which, named in _NAMED.items()}
_END_FREE = {which: _end_where(_families.c.family_id.in_(_free(*named))) for which, named in _NAMED.items()}
_COUNT_TO_END = {
    which: select(func.count()).select_from(_families).where(*named, _families.c.ended_at.is_(None))
    for which, named in _NAMED.items()
}
_CLOSE = insert(_closings)
_CLOSING = select_of(FamilyClosingRow, FamilyClosing).order_by(_closings.c.closing_id)
_TAKE_CLOSING = _CLOSING.where(_closings.c.closing_id > bindparam("after")).limit(1).with_for_update(skip_locked=True)
_CLOSED = delete(_closings).where(_closings.c.closing_id == bindparam("of"))
#: Whether there are any that name a person.
ANY_CLOSING = select(exists(select(_closings.c.closing_id).where(_closings.c.subject.is_not(None))))
#: A part of somebody else's statement: whether nothing may begin just now that this person allows this client.
IS_CLOSING = exists().where(
    or_(_closings.c.subject.is_(None), _closings.c.subject == bindparam("subject")),
    or_(_closings.c.client_id.is_(None), _closings.c.client_id == bindparam("client_id")),
)
_OPEN_OF_CLOSED = [
    select(_index).where(
        column.in_(select(of_closing).where(of_closing.is_not(None))), _families.c.ended_at.is_(None), _is_closed
    )
    for column, of_closing in ((_families.c.subject, _closings.c.subject), (_families.c.client_id, _closings.c.client_id))
]


def end(tx: Transaction, family_id: str, reason: str) -> bool:
    """Mark a family ended; False when it was already, or never was."""
    return tx.changed(_END, {"of": family_id, "now": tx.now, "reason": reason})


def end_of_sessions(tx: Transaction, sids: Sequence[str], reason: str) -> int:
    """End every family that one of these sessions stands behind."""
    if not sids:
        return 0
    return len(tx.execute(_END_OF_SESSIONS, {"these": sids, "now": tx.now, "reason": reason}).all())


def end_some(tx: Transaction, closing: FamilyClosing, most: int, *, free: bool) -> list[str]:
    """End families that a closing names, the offline ones too, at most `most`; returns their names.

    Those that nobody else holds, or waiting for who does.
    """
    statement = (_END_FREE if free else _END_SOME)[_which(closing)]
    values = _named(closing) | {"most": most, "now": tx.now, "reason": closing.reason}
    return list(tx.execute(statement, values).scalars())


def count_to_end(tx: Transaction, closing: FamilyClosing) -> int:
    """How many families a closing names that are not marked ended."""
    return int(tx.execute(_COUNT_TO_END[_which(closing)], _named(closing)).scalar_one())


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


def _which(closing: FamilyClosing) -> tuple[bool, bool]:
    return closing.subject is not None, closing.client_id is not None


def _named(closing: FamilyClosing) -> dict[str, object]:
    named = {"of": closing.subject, "by": closing.client_id}
    return {name: value for name, value in named.items() if value is not None}


def close(tx: Transaction, closing: FamilyClosing) -> None:
    """Insert a closing."""
    tx.execute(_CLOSE, {name: getattr(closing, name) for name in FamilyClosing.__dataclass_fields__})


def closings(tx: Transaction) -> list[FamilyClosing]:
    """What goes on."""
    return tx.all(FamilyClosing, _CLOSING)


def take_closing(tx: Transaction, after: str) -> FamilyClosing | None:
    """The next closing after that name which nobody else works at, locked until the commit."""
    return tx.one(FamilyClosing, _TAKE_CLOSING, {"after": after})


def closed(tx: Transaction, closing_id: str) -> None:
    """Delete a closing: it is carried out."""
    tx.execute(_CLOSED, {"of": closing_id})


def any_closing(tx: Transaction) -> bool:
    """Whether families of any person are closed that are not marked ended yet."""
    return bool(tx.execute(ANY_CLOSING).scalar())


def end_token(tx: Transaction, jti: str, expires_at: Instant) -> bool:
    """Mark one access token ended; False when it was already."""
    values = {"jti": jti, "expires_at": expires_at, "ended_at": tx.now}
    return tx.changed(_END_TOKEN[tx.connection.dialect.name], values)


def is_ended(tx: Transaction, jti: str) -> bool:
    """Whether this one access token was ended."""
    return tx.changed(_IS_ENDED, {"jti": jti})


def forget_expired(tx: Transaction) -> int:
    """Delete some of what is known of single tokens that have expired by every clock; returns their number."""
    return deleted(tx, _FORGET, AT_ONCE, {"now": tx.now - LEEWAY})


def forget_families(tx: Transaction, before: Instant, most: int) -> int:
    """Delete families that ended, or ran out unmarked, before `before`; at most `most` of each. Returns the number."""
    return sum(deleted(tx, each, most, {"before": before}) for each in _FORGET_FAMILIES)


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


def forget_names(tx: Transaction, subject: str, most: int) -> int:
    """Delete names of a person who is gone, at most `most`; returns the number."""
    return deleted(tx, _FORGET_NAMES, most, {"of": subject})


# -- for the status lists: status indices of families ---------------------------------------------------------------------


def count(tx: Transaction) -> int:
    """Count one more family; returns how many there were before. No number comes twice."""
    return int(tx.execute(_COUNT[tx.connection.dialect.name]).scalar_one())


def allocated(tx: Transaction) -> int:
    """How many families have been counted: as many status indices have been given, or will be."""
    return int(tx.execute(_COUNTED[tx.connection.dialect.name]).scalar_one())


def seed(tx: Transaction, number: int, made: bytes) -> bytes:
    """The seed of a status list: the one that it has, else `made`."""
    found: bytes | None = tx.execute(_SEED, {"of": number}).scalar_one_or_none()
    if found is None:
        tx.execute(_ADD_SEED[tx.connection.dialect.name], {"number": number, "seed": made})
        found = tx.execute(_SEED, {"of": number}).scalar_one()  # another process may have been first
    return bytes(found)


def open_of_closed(tx: Transaction) -> Iterator[int]:
    """Of families that are closed, and that nobody marked ended yet."""
    for query in _OPEN_OF_CLOSED:
        yield from tx.execute(query).scalars()


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
