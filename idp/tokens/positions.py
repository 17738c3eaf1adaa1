"""Where a family stands in the status lists: one list is filled after the other, each in a random order (docs/adr/0016)."""

from idp.runtime import secrets
from idp.runtime.database import Transaction
from idp.tokens import rules, store


class Positions:
    """Draws places. What this process knows of the lists' seeds it has read from what was committed."""

    def __init__(self) -> None:
        self._seeds: dict[int, bytes] = {}

    def draw(self, tx: Transaction) -> int:
        """A place that no other family has, or had, or will have."""
        number, nth = divmod(store.count(tx), rules.STATUS_LIST_SIZE)
        return number * rules.STATUS_LIST_SIZE + rules.drawn(self._seed(tx, number), nth)

    def _seed(self, tx: Transaction, number: int) -> bytes:
        known = self._seeds.get(number)
        if known is not None:
            return known
        found = store.seed(tx, number, secrets.token(rules.SEED_BYTES).encode())
        # After the commit only: one that is rolled back is nobody's, and another process makes another.
        tx.after_commit(lambda: self._keep(number, found))
        return found

    def _keep(self, number: int, seed: bytes) -> None:
        self._seeds = {number: seed}  # nobody goes back to a list that is full
