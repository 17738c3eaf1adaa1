"""The two clocks of a verifier: the time of day, which tokens speak, and the time that passes, which measures staleness."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a verifier learns of time. A test hands in its own."""

    def wall(self) -> float:
        """Seconds since the epoch; may jump."""

    def elapsed(self) -> float:
        """Seconds since some moment; never jumps."""


#: CLOCK_MONOTONIC stands still while a machine sleeps: one that wakes up would believe what it knew hours ago.
_PASSING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The clocks of this machine."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def elapsed(self) -> float:
        """Seconds that have passed, those of a machine that slept included."""
        return time.clock_gettime(_PASSING)


class HeldClock:
    """The time of day, never going back: a clock that jumps back must not bring back a token that was forgotten as expired."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest = 0.0

    def wall(self) -> float:
        """The latest time of day that was ever seen."""
        now = self._clock.wall()
        if now >= self._latest:
            self._latest = now
            return now
        return self._latest

    def elapsed(self) -> float:
        """Seconds that have passed."""
        return self._clock.elapsed()
