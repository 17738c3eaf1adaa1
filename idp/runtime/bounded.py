"""What a process remembers of others, of whom there may be any number in its life: never more than it was told."""

import threading
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
#: Clients, origins and their like of which one process remembers something: some megabytes.
MOST = 10_000


class Bounded(dict[_Key, _Value]):
    """A dict for several threads, with at most `MOST` entries: for one more, the one that came first goes."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def __setitem__(self, key: _Key, value: _Value) -> None:
        with self._lock:
            super().__setitem__(key, value)
            while len(self) > MOST:
                super().pop(next(iter(self)))

    def forget(self, key: _Key) -> None:
        """Remember it no more."""
        with self._lock:  # else what was there goes while somebody looks for the first
            super().pop(key, None)
