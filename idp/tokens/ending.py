"""Marking what was issued as ended. Only `logout`, the one door, may import this."""

from idp.runtime import secrets
from idp.runtime.database import Transaction
from idp.tokens import store
from idp.tokens.rules import CLOSING_BYTES, FamilyClosing
from idp.tokens.store import (
    close,
    closed,
    count_to_end,
    end,
    end_of_sessions,
    end_these,
    end_token,
    forget_names,
    open_of_client,
    take_closing,
)

__all__ = [
    "close",
    "closed",
    "closing",
    "count_to_end",
    "end",
    "end_of_sessions",
    "end_these",
    "end_token",
    "forget_names",
    "left",
    "mark_next",
    "mark_some",
    "open_of_client",
    "take_closing",
]


def closing(reason: str, *, subject: str | None = None, client_id: str | None = None) -> FamilyClosing:
    """What ends all families of a person, of a client, or of what one allowed the other. It is not written down."""
    return FamilyClosing(secrets.token(CLOSING_BYTES), subject, client_id, reason)


def mark_some(tx: Transaction, of: FamilyClosing, most: int) -> list[str]:
    """Mark families ended that a closing names, at most `most`, and waiting for those that somebody holds; their names."""
    return store.end_some(tx, of, most, free=False)


def mark_next(tx: Transaction, of: FamilyClosing, most: int) -> list[str]:
    """Mark families ended that a closing names and that nobody holds, at most `most`; returns their names."""
    return store.end_some(tx, of, most, free=True)


def left(tx: Transaction) -> int:
    """How many families are closed and not marked ended yet, one more for each closing that is not forgotten yet."""
    return sum(1 + store.count_to_end(tx, each) for each in store.closings(tx))
