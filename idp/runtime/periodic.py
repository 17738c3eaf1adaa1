"""Work that is done again and again beside the requests, in a thread of its own, until the process stops."""

from collections.abc import Callable

from idp.runtime.supervision import SLACK, Supervised


class Periodic(Supervised):
    """Does `work` every `seconds`. An error is told to `failed` and ends nothing: a database that is away comes back.

    Work that takes long beats in between.
    """

    def __init__(self, name: str, seconds: float, work: Callable[[], object], failed: Callable[[Exception], None]) -> None:
        super().__init__(name, self._go_on, seconds + SLACK)
        self._seconds = seconds
        self._work = work
        self._failed = failed

    def _go_on(self) -> None:
        """The first time after `seconds`."""
        while not self.wait(self._seconds):
            self.beat()
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the next round finds what this one left
                self._failed(error)
            self.beat()
