"""When each socket's token expires: one heap for all of them, and no more entries than a few for each live one."""

import heapq
import itertools
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing", bound=Hashable)

#: Entries that may lie in the heap beside the live ones before it is built anew.
SPARE = 64


class Deadlines(Generic[Thing]):
    """Things by the instant at which they are due. Not safe for several threads: whoever holds it holds a lock."""

    def __init__(self) -> None:
        self._at: dict[Thing, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Thing]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, thing: object) -> bool:
        return thing in self._at

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._at)

    @property
    def kept(self) -> int:
        """How many entries are in memory, those that count no longer included."""
        return len(self._heap)

    def put(self, thing: Thing, at: float) -> None:
        """Let `thing` be due at `at`, whenever it was due before: the former entry stays in the heap, and counts no more."""
        number = next(self._numbers)
        self._at[thing] = (at, number)
        heapq.heappush(self._heap, (at, number, thing))
        self._clear()

    def drop(self, thing: Thing) -> None:
        """Let `thing` never be due."""
        self._at.pop(thing, None)
        self._clear()

    def next(self) -> float | None:
        """When the next thing is due; None when there is none."""
        while self._heap and self._outdated(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Thing]:
        """What is due by now, in order. It is told once, and counts as kept until it is dropped."""
        due: list[Thing] = []
        while (at := self.next()) is not None and at <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due

    def _outdated(self, entry: tuple[float, int, Thing]) -> bool:
        at, number, thing = entry
        return self._at.get(thing) != (at, number)

    def _clear(self) -> None:
        if len(self._heap) > 2 * len(self._at) + SPARE:
            self._heap = [(at, number, thing) for thing, (at, number) in self._at.items()]
            heapq.heapify(self._heap)
