"""Clocks that a test moves."""

import time


class Clock:
    """The real ones, each moved by so many seconds."""

    def __init__(self) -> None:
        self.wall_moved = 0.0
        self.elapsed_moved = 0.0

    def wall(self) -> float:
        return time.time() + self.wall_moved

    def elapsed(self) -> float:
        return time.monotonic() + self.elapsed_moved

    def pass_by(self, seconds: float) -> None:
        """Time passes."""
        self.wall_moved += seconds
        self.elapsed_moved += seconds
