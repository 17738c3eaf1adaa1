"""A verifier in a process of its own, under load: it verifies without pause, and notes when it accepted each token last.

Each follows in a way of its own.

Instants are CLOCK_MONOTONIC's, which all processes of a machine share.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection

from idp.verifier import AsyncVerifier, EndedTokenError, Poll, Push, StatusList, TokenError, UncertainError, Verifier
from tests.verifier.endpoint import pushed_to

#: A status list that says that single tokens of a family were revoked does not say which: without credentials they all go.
_REFUSED = (EndedTokenError, UncertainError)

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


Verify = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Setup:
    """How a verifier follows ("poll", "poll in a loop", "push" or "status list"), and which clock its machine has."""

    way: str
    clock: Skewed


def run(issuer: str, credentials: tuple[str, str], max_staleness: float, setup: Setup, end: Connection) -> None:
    """Verify until told to stop. Sends True once it is fresh, and after that a `Report` for each list of new tokens."""
    made = partial(_WAYS[setup.way], issuer, credentials, max_staleness=max_staleness, clock=setup.clock)
    with made() as (is_fresh, verify):
        end.send(is_fresh)
        Watcher(verify).watch(end)


@contextmanager
def _polling(issuer: str, credentials: tuple[str, str], **choices: object) -> Iterator[tuple[bool, Verify]]:
    with Verifier(issuer, issuer, follow=Poll(*credentials), **choices) as verifier:
        yield verifier.wait(60), verifier.verify


@contextmanager
def _pushed_to(issuer: str, credentials: tuple[str, str], **choices: object) -> Iterator[tuple[bool, Verify]]:
    with (
        pushed_to(lambda url: Verifier(issuer, issuer, follow=Push(*credentials, url), **choices)) as made,
        made as verifier,
    ):
        yield verifier.wait(60), verifier.verify


@contextmanager
def _listing(issuer: str, _credentials: tuple[str, str], **choices: object) -> Iterator[tuple[bool, Verify]]:
    with Verifier(issuer, issuer, follow=StatusList(), **choices) as verifier:
        yield verifier.wait(60), verifier.verify


@contextmanager
def _polling_in_a_loop(issuer: str, credentials: tuple[str, str], **choices: object) -> Iterator[tuple[bool, Verify]]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def done(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    async def made() -> AsyncVerifier:
        return await AsyncVerifier(issuer, issuer, follow=Poll(*credentials), **choices).start()

    verifier = done(made())
    try:
        yield done(verifier.wait(60)), lambda token: done(verifier.verify(token))
    finally:
        done(verifier.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


_WAYS = {"poll": _polling, "poll in a loop": _polling_in_a_loop, "push": _pushed_to, "status list": _listing}


class Watcher:
    """Verifies what it was told to watch: first what may end, then what must not, and what has."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
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
            self._verify(watched.token)
        except _REFUSED:
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
                self._verify(token)
            except TokenError as error:
                self._note(error)
            else:
                count += 1
        return count

    def _has_ended(self, token: str) -> bool:
        try:
            self._verify(token)
        except _REFUSED:
            return True
        except TokenError as error:
            self._note(error)
        else:
            self._report.accepted += 1
        return False

    def _note(self, error: TokenError) -> None:
        if type(error).__name__ == "StaleError":
            self._report.stale += 1
        elif not isinstance(error, _REFUSED):
            self._report.other.append(f"{type(error).__name__}: {error}"[:200])
