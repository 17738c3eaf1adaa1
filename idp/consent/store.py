"""Statements on consents."""

from sqlalchemy import bindparam, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idp.consent.models import ConsentRow
from idp.consent.rules import Consent
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction, select_of, table_of
from idp.runtime.deleting import delete_at_most, deleted
from idp.runtime.paging import Page

_consents = table_of(ConsentRow)
_ALIVE = select_of(ConsentRow, Consent).where(
    _consents.c.subject == bindparam("subject"),
    _consents.c.client_id == bindparam("client_id"),
    _consents.c.ended_at.is_(None),
)
_OF_PERSON = (
    select_of(ConsentRow, Consent)
    .where(_consents.c.subject == bindparam("subject"), _consents.c.ended_at.is_(None))
    .order_by(_consents.c.granted_at.desc(), _consents.c.consent_id)
    .limit(bindparam("most"))
    .offset(bindparam("skipped"))
)
_of_pair = (_consents.c.subject == bindparam("subject"), _consents.c.client_id == bindparam("client_id"))
#: Parts of somebody else's statement: what the person allows the client now, and whether that was less or other `since`.
SCOPE = select(_consents.c.scope).where(*_of_pair, _consents.c.ended_at.is_(None)).scalar_subquery()
ENDED = exists().where(*_of_pair, _consents.c.ended_at >= bindparam("since"))
_FORGET = delete_at_most(_consents, _consents.c.ended_at < bindparam("before"), first=_consents.c.ended_at)
_FORGET_OF_PERSON = delete_at_most(_consents, _consents.c.subject == bindparam("of"))
_FORGET_OF_CLIENT = delete_at_most(_consents, _consents.c.client_id == bindparam("of"))
# At most one is alive (`uq_consents_alive`): whoever allows at the same moment and comes second inserts nothing.
_pair, _is_alive = ["subject", "client_id"], _consents.c.ended_at.is_(None)
_INSERT = {
    "sqlite": sqlite.insert(_consents)
    .on_conflict_do_nothing(index_elements=_pair, index_where=_is_alive)
    .returning(_consents.c.consent_id),
    "postgresql": postgresql.insert(_consents)
    .on_conflict_do_nothing(index_elements=_pair, index_where=_is_alive)
    .returning(_consents.c.consent_id),
}
_END = (
    update(_consents)
    .where(_consents.c.subject == bindparam("of"), _consents.c.client_id == bindparam("by"), _consents.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
    .returning(_consents.c.consent_id)
)
_END_ONE = (
    update(_consents)
    .where(_consents.c.consent_id == bindparam("of"), _consents.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
    .returning(_consents.c.consent_id)
)


def alive(tx: Transaction, subject: str, client_id: str) -> Consent | None:
    """What the person allows the client now."""
    return tx.one(Consent, _ALIVE, {"subject": subject, "client_id": client_id})


def of_person(tx: Transaction, subject: str, page: Page) -> list[Consent]:
    """What the person allows now, newest first: one page of it."""
    return tx.all(Consent, _OF_PERSON, {"subject": subject, "most": page.size, "skipped": page.skipped})


def add(tx: Transaction, consent: Consent) -> bool:
    """Insert a consent; False, and nothing inserted, when another one is alive."""
    values = {name: getattr(consent, name) for name in Consent.__dataclass_fields__}
    return tx.changed(_INSERT[tx.connection.dialect.name], values)


def replace(tx: Transaction, consent: Consent) -> bool:
    """End this very consent, for another one to take its place; False when it is over already."""
    return tx.changed(_END_ONE, {"of": consent.consent_id, "now": tx.now})


def end(tx: Transaction, subject: str, client_id: str) -> bool:
    """End what the person allows the client; False when there was nothing."""
    return tx.changed(_END, {"of": subject, "by": client_id, "now": tx.now})


def forget(tx: Transaction, before: Instant, most: int) -> int:
    """Delete what was allowed until some instant before `before`, at most `most` of it; returns the number."""
    return deleted(tx, _FORGET, most, {"before": before})


def forget_of_person(tx: Transaction, subject: str, most: int) -> int:
    """Delete what a person who is gone ever allowed, at most `most` of it; returns the number."""
    return deleted(tx, _FORGET_OF_PERSON, most, {"of": subject})


def forget_of_client(tx: Transaction, client_id: str, most: int) -> int:
    """Delete what a client that is gone was ever allowed, at most `most` of it; returns the number."""
    return deleted(tx, _FORGET_OF_CLIENT, most, {"of": client_id})
