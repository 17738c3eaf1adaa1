"""Marking a session ended. Only `logout`, the one door, may import this: whoever else did would forget what follows."""

from idp.runtime.database import Transaction
from idp.sessions import store
from idp.sessions.rules import Participation, Policy, Session


def mark_ended(tx: Transaction, sid: str, reason: str) -> Session | None:
    """Mark the session ended with a reason; None when there was nothing to end any more."""
    return store.end(tx, sid, reason)


def mark_stale(tx: Transaction, sid: str, reasons: tuple[str, str], policy: Policy) -> Session | None:
    """Mark the session ended unless it is alive; `reasons` are for an idle one and an expired one. None when it is alive."""
    return store.end_stale(tx, sid, reasons, policy)


def leave(tx: Transaction, subject: str, client_id: str, policy: Policy) -> list[Participation]:
    """Let a client leave every live session of a person; returns what it took part in."""
    return store.leave(tx, subject, client_id, policy)
