"""Work that is done again and again beside the requests, in a thread of its own, until the process stops."""

import threading
from collections.abc import Callable


class Periodic:
    """Does `work` every `seconds`. An error is told to `failed` and ends nothing: a database that is away comes back."""

    def __init__(self, name: str, seconds: float, work: Callable[[], object], failed: Callable[[Exception], None]) -> None:
        self._name = name
        self._seconds = seconds
        self._work = work
        self._failed = failed
        self._stopping = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether work in progress should come to its end."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin, the first time after `seconds`."""
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Do it no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the next round finds what this one left
                self._failed(error)
