"""The one place that asks what time it is.

An instant is a `float`: seconds since the epoch, UTC. It is what JWTs speak (RFC 7519 §2, NumericDate), it needs no
conversion on a token path, and the database keeps it as a double.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Instant: TypeAlias = float
#: Seconds within which something is of this moment.
_JUST_NOW = 45
Clock: TypeAlias = Callable[[], Instant]


def system_clock() -> Instant:
    """Now."""
    return time.time()


def elapsed() -> float:
    """Seconds since an instant that stays the same for this process: nobody who sets the machine's clock moves them."""
    return time.monotonic()


def in_words(instant: Instant | None) -> str:
    """`instant` for people: UTC, to the second; a dash for none."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if instant is not None else "-"


def time_of_day(instant: Instant) -> str:
    """`instant` for people who are there at the time: UTC, to the second, never too early."""
    return datetime.fromtimestamp(math.ceil(instant), UTC).strftime("%H:%M:%S UTC")


def in_iso(instant: Instant) -> str:
    """`instant` for programs: RFC 3339, UTC, to the second."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(instant: Instant, now: Instant) -> str:
    """How long `instant` is past, for people: the largest unit alone, and the day itself after a month."""
    since = now - instant
    if since < _JUST_NOW:
        return "just now"
    for unit, size, most in (("minute", 60, 60), ("hour", 3_600, 24), ("day", 86_400, 31)):
        number = round(since / size) or 1
        if number < most:
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return datetime.fromtimestamp(instant, UTC).strftime("on %-d %B %Y")


def lasting(seconds: float) -> str:
    """A time that passes, for people: its two largest units, such as `3 d 4 h` or `50 s`."""
    left, parts = int(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"
