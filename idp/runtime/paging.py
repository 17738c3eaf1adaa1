"""Long lists are read page by page: nothing that people or programs look at loads a whole table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """The page of that `number`, counted from 1, where each has `size` entries."""

    size: int
    number: int = 1

    @property
    def skipped(self) -> int:
        """How many entries are on the pages before it."""
        return self.size * (self.number - 1)
