"""A verifier in a process of its own, under load: it verifies without pause, and notes when it accepted each token last.

Instants are CLOCK_MONOTONIC's, which all processes of a machine share.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from idp.verifier import EndedTokenError, Poll, TokenError, Verifier

#: A pass over the tokens that are watched takes at least this long: what is measured is not the length of a queue.
_PASS_SECONDS = 0.004
#: Tokens that were refused are tried again, so many in each pass: none may come back to life.
_AGAIN = 4


@dataclass(frozen=True, slots=True)
class Skewed:
    """The clock of a machine that is wrong by `skew` seconds, now this way and then that way if it `jumps`."""

    skew: float
    jumps: bool = False

    def wall(self) -> float:
        """Seconds since the epoch, as this machine has them."""
        ahead = not self.jumps or int(time.monotonic()) % 10 < 5
        return time.time() + (self.skew if ahead else -self.skew)

    def elapsed(self) -> float:
        """Seconds that pass."""
        return time.monotonic()


@dataclass(slots=True)
class Watched:
    """A token, and what became of it here."""

    token: str
    accepted_at: float = 0.0
    refused_at: float = 0.0


@dataclass(slots=True)
class Report:
    """What one verifier did. `ended` are (token's number, accepted last, refused first)."""

    ended: list[tuple[int, float, float]] = field(default_factory=list)
    accepted: int = 0
    stale: int = 0
    revived: int = 0
    collateral: int = 0
    other: list[str] = field(default_factory=list)


def run(issuer: str, credentials: tuple[str, str], max_staleness: float, clock: Skewed, end: Connection) -> None:
    """Verify until told to stop. Sends True once it is fresh, and after that a `Report` for each list of new tokens."""
    with Verifier(issuer, issuer, follow=Poll(*credentials), max_staleness=max_staleness, clock=clock) as verifier:
        end.send(verifier.wait(60))
        Watcher(verifier).watch(end)


class Watcher:
    """Verifies what it was told to watch: first what may end, then what must not, and what has."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._watched: dict[int, Watched] = {}
        self._refused: list[str] = []
        self._alive: list[str] = []
        self._report = Report()

    def watch(self, end: Connection) -> None:
        """Until None comes."""
        while True:
            began = time.monotonic()
            while end.poll():
                news = end.recv()
                if news is None:
                    return
                self._watched |= {number: Watched(token) for number, token in news["watch"]}
                self._alive = news["alive"] or self._alive
                end.send(self._report)
                self._report = Report()
            self._pass()
            time.sleep(max(0.0, began + _PASS_SECONDS - time.monotonic()))

    def _pass(self) -> None:
        for number in list(self._watched):
            watched = self._watched[number]
            if self._is_refused(watched):
                self._report.ended.append((number, watched.accepted_at, watched.refused_at))
                self._refused.append(watched.token)
                del self._watched[number]
        self._report.revived += self._accepted(random.sample(self._refused, min(_AGAIN, len(self._refused))))
        for token in random.sample(self._alive, min(1, len(self._alive))):
            self._report.collateral += self._has_ended(token)

    def _is_refused(self, watched: Watched) -> bool:
        try:
            self._verifier.verify(watched.token)
        except EndedTokenError:
            watched.refused_at = time.monotonic()
            return True
        except TokenError as error:
            self._note(error)
        else:
            watched.accepted_at = time.monotonic()
            self._report.accepted += 1
        return False

    def _accepted(self, tokens: Iterable[str]) -> int:
        count = 0
        for token in tokens:
            try:
                self._verifier.verify(token)
            except TokenError as error:
                self._note(error)
            else:
                count += 1
        return count

    def _has_ended(self, token: str) -> bool:
        try:
            self._verifier.verify(token)
        except EndedTokenError:
            return True
        except TokenError as error:
            self._note(error)
        else:
            self._report.accepted += 1
        return False

    def _note(self, error: TokenError) -> None:
        if type(error).__name__ == "StaleError":
            self._report.stale += 1
        elif not isinstance(error, EndedTokenError):
            self._report.other.append(f"{type(error).__name__}: {error}"[:200])
