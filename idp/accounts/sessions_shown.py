"""A person's sessions as the account page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from idp.accounts import devices
from idp.accounts.signed_in import SignedIn
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.runtime.paging import Page
from idp.sessions.rules import Session
from idp.sessions.service import SessionService

#: Sessions on the page.
MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class SessionShown:
    """A session as its owner sees it."""

    sid: str
    device: str
    address: str
    signed_in_at: Instant
    last_used_at: Instant
    is_current: bool
    clients: list[str]


def sessions_of(tx: Transaction, sessions: SessionService, clients: ClientService, person: SignedIn) -> list[SessionShown]:
    """The present one first, then those that were used last: a person may have thousands, and nobody reads so many."""
    listed = sessions.listed(tx, Page(MOST_SHOWN), subject=person.account.subject)
    shown = [person.session, *(each for each in listed if each.sid != person.session.sid)][:MOST_SHOWN]
    parts = sessions.taken_part_in(tx, [session.sid for session in shown])
    known = clients.get_each(tx, {part.client_id for each in parts.values() for part in each})
    return [
        _shown(session, person, [known[part.client_id] for part in parts[session.sid] if part.client_id in known])
        for session in shown
    ]


def _shown(session: Session, person: SignedIn, clients: Sequence[Client]) -> SessionShown:
    return SessionShown(
        sid=session.sid,
        device=devices.in_words(session.user_agent),
        address=session.address,
        signed_in_at=session.auth_time,
        last_used_at=session.last_used_at,
        is_current=session.sid == person.session.sid,
        clients=[client.name for client in clients],
    )
