"""Marking sessions ended. Only `logout`, the one door, may import this: whoever else did would forget what follows."""

from collections.abc import Sequence

from idp.runtime import secrets
from idp.runtime.database import Transaction
from idp.sessions import store
from idp.sessions.rules import CLOSING_BYTES, Participation, Session, SessionClosing, SessionPolicy


def mark_ended(tx: Transaction, sid: str, reason: str) -> Session | None:
    """Mark the session ended with a reason; None when there was nothing to end any more."""
    return store.end(tx, sid, reason)


def mark_stale(tx: Transaction, sids: Sequence[str], reasons: tuple[str, str], policy: SessionPolicy) -> list[Session]:
    """Mark those of the sessions ended that are not alive; `reasons` are for idle ones and expired ones. Returns them."""
    return store.end_stale(tx, sids, reasons, policy)


def leave(tx: Transaction, subject: str, client_id: str, policy: SessionPolicy, most: int) -> list[Participation]:
    """Let a client leave live sessions of a person, at most `most`; returns what it took part in."""
    return store.leave(tx, subject, client_id, policy, most)


def leave_these(tx: Transaction, sids: Sequence[str], client_id: str) -> list[Participation]:
    """Let a client leave these sessions; returns what it took part in."""
    return store.leave_these(tx, sids, client_id)


def closing(tx: Transaction, subject: str, reason: str, keep: str | None) -> SessionClosing:
    """What ends all sessions of a person that there are, save `keep`. It is not written down.

    Each of them began before this instant by the clock of the instance that began it, which may be ahead of ours.
    """
    last = store.last_started(tx, subject)
    before = tx.now if last is None else max(tx.now, last)
    return SessionClosing(secrets.token(CLOSING_BYTES), subject, keep, before, reason)


def mark_some(tx: Transaction, of: SessionClosing, most: int) -> list[Session]:
    """Mark sessions ended that a closing names, at most `most`, and waiting for those that somebody holds."""
    return store.end_some(tx, of, most, free=False)


def close(tx: Transaction, of: SessionClosing) -> int:
    """Write a closing down: what it names is over. Returns how many of these are not marked yet; for none it is not needed."""
    left = store.count_to_end(tx, of)
    if left:
        store.close(tx, of)
    return left


def mark_next(tx: Transaction, most: int) -> tuple[str, list[Session]]:
    """Mark the next sessions ended, at most `most`, of some closing that nobody else works at.

    Returns the reason with them. What is carried out is forgotten; no sessions where there is nothing to do.
    """
    after = ""
    while (of := store.take_closing(tx, after)) is not None:
        ended = store.end_some(tx, of, most, free=True)
        if len(ended) < most and store.count_to_end(tx, of) == 0:
            store.closed(tx, of.closing_id)
        if ended:
            return of.reason, ended
        after = of.closing_id
    return "", []


def left(tx: Transaction) -> int:
    """How many sessions are closed and not marked ended yet, one more for each closing that is not forgotten yet."""
    return sum(1 + store.count_to_end(tx, each) for each in store.closings(tx))
