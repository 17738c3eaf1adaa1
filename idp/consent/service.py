"""Remembering what people allowed."""

from collections.abc import Sequence
from typing import Protocol

from idp.consent import rules, store
from idp.consent.rules import Consent
from idp.logout.rules import Reason
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.runtime.paging import Page

CONSENT_ID_BYTES = 16
#: How a consent stands, for the door to issue (`idp.issuing.store`).
CONSENT_SCOPE, CONSENT_ENDED = store.SCOPE, store.ENDED


class AccessEndings(Protocol):
    """The one door, as this room sees it; `logout` has it."""

    def end_access(self, tx: Transaction, subject: str, client_id: str, reason: str) -> None:
        """End what one client may do for one person."""


class ConsentService:
    """What people allowed clients."""

    def __init__(self, endings: AccessEndings) -> None:
        self._endings = endings

    def find(self, tx: Transaction, subject: str, client_id: str) -> Consent | None:
        """What the person allows the client now."""
        return store.alive(tx, subject, client_id)

    def covers(
        self, tx: Transaction, subject: str, client_id: str, asked: Sequence[str], redirect_origin: str | None = None
    ) -> bool:
        """Whether the person need not be asked for `asked` again, with an answer at `redirect_origin`."""
        consent = self.find(tx, subject, client_id)
        return rules.covers(consent, asked) and rules.covers_at(consent, redirect_origin)

    def of_person(self, tx: Transaction, subject: str, page: Page) -> list[Consent]:
        """What the person allows now, newest first: one page of it."""
        return store.of_person(tx, subject, page)

    def forget(self, tx: Transaction, before: Instant, most: int) -> int:
        """Delete what was allowed until some instant before `before`, at most `most` of it; returns the number."""
        return store.forget(tx, before, most)

    def withdraw(self, tx: Transaction, subject: str, client_id: str) -> None:
        """The person allows the client nothing any more: what it was given is dead, and it is told so."""
        store.end(tx, subject, client_id)
        self._endings.end_access(tx, subject, client_id, Reason.CONSENT_WITHDRAWN)

    def remember(
        self, tx: Transaction, subject: str, client_id: str, allowed: Sequence[str], redirect_origin: str | None = None
    ) -> None:
        """The person allowed `allowed`, beside what was allowed before, with an answer at `redirect_origin`.

        In another tab at the same moment, too: each turn of the loop that does not end it was lost to somebody who committed,
        so there are no more of them than tabs.
        """
        while True:
            before = self.find(tx, subject, client_id)
            if rules.covers(before, allowed) and rules.covers_at(before, redirect_origin):
                return
            scope, origin = rules.widened(before, allowed), rules.answered_at(before, redirect_origin)
            widened = Consent(secrets.token(CONSENT_ID_BYTES), subject, client_id, scope, tx.now, None, origin)
            if (before is None or store.replace(tx, before)) and store.add(tx, widened):
                break
        tx.after_commit(lambda: audit.record("consent.given", subject=subject, client_id=client_id, scope=scope))


def forget_of(tx: Transaction, subject: str | None, client_id: str | None, most: int) -> int:
    """Delete what was ever allowed by a person, or to a client, who is gone for good; at most `most` of it."""
    if subject is not None:
        return store.forget_of_person(tx, subject, most)
    return 0 if client_id is None else store.forget_of_client(tx, client_id, most)
