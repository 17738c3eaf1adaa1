"""Work that is done again and again beside the requests, in a thread of its own, until the process stops."""

import threading
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
        self._woken = threading.Event()

    def rest(self, seconds: float) -> bool:
        """Wait in the midst of the work, which goes on; whether it should come to its end, which it is told at once."""
        self.beat()
        return self.wait(seconds)

    def wake(self) -> None:
        """Do it now. Any thread may say so, and goes on at once."""
        self._woken.set()

    def stop(self) -> None:
        """Do it no more."""
        super().stop()
        self._woken.set()

    def _is_over(self) -> bool:
        """Wait for the next time, which comes after `seconds` or when it is woken; whether there is none."""
        self._woken.wait(self._seconds)
        self._woken.clear()  # before the work: what is said meanwhile sets it again
        return self.is_stopping

    def _go_on(self) -> None:
        """The first time after `seconds`."""
        while not self._is_over():
            self.beat()
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the next round finds what this one left
                self._failed(error)
            self.beat()
