"""Forgetting what nobody can ask for any more, now and then, beside the requests."""

from collections.abc import Callable, Sequence

from idp.runtime import audit
from idp.runtime.availability import is_told
from idp.runtime.batches import in_batches
from idp.runtime.database import Database, Transaction
from idp.runtime.periodic import Periodic

INTERVAL_SECONDS = 600


class Housekeeper:
    """Runs every room's `tidy`, batch by batch. Several instances do no harm to each other."""

    def __init__(self, database: Database, tidies: Sequence[Callable[[Transaction], int]]) -> None:
        self._database = database
        self._tidies = tidies
        self.rounds = Periodic("idp-housekeeping", INTERVAL_SECONDS, self.tidy, _failed)
        self.start, self.stop = self.rounds.start, self.rounds.stop

    def tidy(self) -> int:
        """Tidy every room until nothing is left; returns the number of rows that went.

        A room that cannot be tidied keeps none of the others.
        """
        return sum(self._gone_by(tidy) for tidy in self._tidies)

    def _gone_by(self, tidy: Callable[[Transaction], int]) -> int:
        total = 0
        try:
            for gone in in_batches(self._database, tidy, self.rounds.rest):
                total += gone
        except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
            _failed(error, getattr(tidy, "__qualname__", ""))
        return total


def _failed(error: Exception, what: str = "") -> None:
    if not is_told(error):
        audit.warn("housekeeping.failed", what=what, error=type(error).__name__)
