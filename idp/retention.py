"""For how long what has ended is kept, and what deletes it then (`IDP_RETENTION`)."""

from collections.abc import Callable
from typing import TypeAlias

from idp.config import Settings
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.tokens.rules import LEEWAY

#: Deletes what was over before an instant, at most so many rows of a kind; returns their number.
Forget: TypeAlias = Callable[[Transaction, Instant, int], int]


def kept_for(settings: Settings, longest_token: int) -> int:
    """Seconds: what the setting names, and for as long as anything can come back that names what has ended."""
    life = max(
        longest_token,
        settings.tokens_refresh_token_lifetime,
        settings.sessions_absolute_timeout,
        settings.signals_retention,
    )
    return max(settings.retention, life + max(settings.keys_clock_skew, LEEWAY))


def tidies(kept: int, *rooms: Forget) -> list[Callable[[Transaction], int]]:
    """What a housekeeper runs, so that each of `rooms` forgets what has been over for `kept` seconds."""

    def tidy(forget: Forget) -> Callable[[Transaction], int]:
        return lambda tx: forget(tx, tx.now - kept, AT_ONCE)

    return [tidy(forget) for forget in rooms]
