"""Marking a client removed. Only `logout`, the one door, may import this: whoever else did would forget what follows."""

from idp.clients import store
from idp.runtime.database import Transaction


def mark_removed(tx: Transaction, client_id: str) -> bool:
    """Mark the client removed; False when there was nothing to remove."""
    return store.end(tx, client_id)
