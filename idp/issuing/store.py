"""One statement that says how a person and a client stand. Each room says what of its tables answers for it."""

from sqlalchemy import select

from idp.accounts.service import ACCOUNT_IS_OPEN
from idp.clients.service import REGISTERED_METADATA
from idp.consent.service import CONSENT_ENDED, CONSENT_SCOPE
from idp.issuing.rules import Standing
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.tokens.service import IS_CLOSING

_STANDING = select(REGISTERED_METADATA, ACCOUNT_IS_OPEN, CONSENT_SCOPE, CONSENT_ENDED, IS_CLOSING)


def standing(tx: Transaction, subject: str, client_id: str, since: Instant) -> Standing:
    """How they stand now. `since` is when the authorization began."""
    named = {"subject": subject, "client_id": client_id, "since": since}
    registered, account_is_open, consent_scope, consent_ended, is_closing = tuple(tx.execute(_STANDING, named).one())
    return Standing(registered, bool(account_is_open), consent_scope, bool(consent_ended), bool(is_closing))
