"""How slow this machine is at the moment, for bounds in seconds that others' work would break."""

import statistics
import time

_SPIN_SECONDS = 0.02
_TIMES = 5


def slowness() -> float:
    """How many times longer than alone something takes now: elapsed time over the processor time of a little work; 1 at least."""
    return max(1.0, statistics.median(_spin() for _ in range(_TIMES)))


def _spin() -> float:
    began, worked = time.perf_counter(), time.thread_time()
    while time.thread_time() - worked < _SPIN_SECONDS:
        pass
    return (time.perf_counter() - began) / _SPIN_SECONDS
