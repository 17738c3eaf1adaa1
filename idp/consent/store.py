"""Statements on consents."""

from sqlalchemy import bindparam, insert, update

from idp.consent.models import ConsentRow
from idp.consent.rules import Consent
from idp.runtime.database import Transaction, select_of, table_of

_consents = table_of(ConsentRow)
_ALIVE = select_of(ConsentRow, Consent).where(
    _consents.c.subject == bindparam("subject"),
    _consents.c.client_id == bindparam("client_id"),
    _consents.c.ended_at.is_(None),
)
_OF_PERSON = (
    select_of(ConsentRow, Consent)
    .where(_consents.c.subject == bindparam("subject"), _consents.c.ended_at.is_(None))
    .order_by(_consents.c.granted_at.desc())
)
_INSERT = insert(_consents)
_END = (
    update(_consents)
    .where(_consents.c.subject == bindparam("of"), _consents.c.client_id == bindparam("by"), _consents.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"))
    .returning(_consents.c.consent_id)
)


def alive(tx: Transaction, subject: str, client_id: str) -> Consent | None:
    """What the person allows the client now."""
    return tx.one(Consent, _ALIVE, {"subject": subject, "client_id": client_id})


def of_person(tx: Transaction, subject: str) -> list[Consent]:
    """Everything that the person allows now, newest first."""
    return tx.all(Consent, _OF_PERSON, {"subject": subject})


def add(tx: Transaction, consent: Consent) -> None:
    """Insert a consent."""
    tx.execute(_INSERT, {name: getattr(consent, name) for name in Consent.__dataclass_fields__})


def end(tx: Transaction, subject: str, client_id: str) -> bool:
    """End what the person allows the client; False when there was nothing."""
    return tx.changed(_END, {"of": subject, "by": client_id, "now": tx.now})
