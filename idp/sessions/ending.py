"""Marking a session ended. Only `logout`, the one door, may import this: whoever else did would forget what follows."""

from idp.runtime.database import Transaction
from idp.sessions import store
from idp.sessions.rules import Session


def mark_ended(tx: Transaction, sid: str, reason: str) -> Session | None:
    """Mark the session ended with a reason; None when there was nothing to end any more."""
    return store.end(tx, sid, reason)
