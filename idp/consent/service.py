"""Remembering what people allowed."""

from collections.abc import Sequence

from idp.consent import rules, store
from idp.consent.rules import Consent
from idp.runtime import audit, secrets
from idp.runtime.database import Transaction

CONSENT_ID_BYTES = 16


class ConsentService:
    """What people allowed clients."""

    def find(self, tx: Transaction, subject: str, client_id: str) -> Consent | None:
        """What the person allows the client now."""
        return store.alive(tx, subject, client_id)

    def covers(self, tx: Transaction, subject: str, client_id: str, asked: Sequence[str]) -> bool:
        """Whether the person need not be asked for `asked` again."""
        return rules.covers(self.find(tx, subject, client_id), asked)

    def remember(self, tx: Transaction, subject: str, client_id: str, allowed: Sequence[str]) -> None:
        """The person allowed `allowed`, beside what was allowed before."""
        before = self.find(tx, subject, client_id)
        if rules.covers(before, allowed):
            return
        store.end(tx, subject, client_id)
        scope = rules.widened(before, allowed)
        store.add(tx, Consent(secrets.token(CONSENT_ID_BYTES), subject, client_id, scope, tx.now, None))
        tx.after_commit(lambda: audit.record("consent.given", subject=subject, client_id=client_id, scope=scope))
