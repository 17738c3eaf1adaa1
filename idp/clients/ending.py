"""Marking a client removed. Only `logout`, the one door, may import this: whoever else did would forget what follows."""

from idp.clients import store
from idp.runtime.database import Transaction


def mark_removed(tx: Transaction, client_id: str) -> bool:
    """Mark the client removed; False when there was nothing to remove."""
    return store.end(tx, client_id)


def mark_lapsed(tx: Transaction, client_id: str) -> bool:
    """Mark a client removed whose registration has lapsed; False when it is in use again, or was removed already."""
    return store.end(tx, client_id, unused=True)
