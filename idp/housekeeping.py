"""Forgetting what nobody can ask for any more, now and then, beside the requests."""

import threading
from collections.abc import Callable, Sequence

from idp.runtime import audit
from idp.runtime.database import Database, Transaction

INTERVAL_SECONDS = 600


class Housekeeper:
    """Runs every room's `tidy`, each in a transaction of its own. Several instances do no harm to each other."""

    def __init__(self, database: Database, tidies: Sequence[Callable[[Transaction], int]]) -> None:
        self._database = database
        self._tidies = tidies
        self._stopping = threading.Event()

    def start(self) -> None:
        """Tidy in the background for as long as the process lives."""
        threading.Thread(target=self._run, name="idp-housekeeping", daemon=True).start()

    def stop(self) -> None:
        """Stop tidying."""
        self._stopping.set()

    def tidy(self) -> int:
        """Tidy every room once; returns the number of rows that went."""
        gone = 0
        for tidy in self._tidies:
            with self._database.writing() as tx:
                gone += tidy(tx)
        return gone

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            try:
                self.tidy()
            except Exception as error:  # noqa: BLE001 - a database that is away comes back; the next round finds the rest
                audit.warn("housekeeping.failed", error=type(error).__name__)
