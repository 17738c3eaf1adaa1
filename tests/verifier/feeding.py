"""A verifier that knows only what a test tells it: what ended, whether it is stale, and what time it is."""

import time
from collections.abc import Callable, Iterable

from idp.verifier.rules import EndedListener, Ending, Kind, StaleListener, Staleness

SID = "sid-of-alice"


class ToldFeed:
    """What a guard asks of a verifier. `clock` is None for the machine's own."""

    def __init__(self, clock: float | None = None) -> None:
        self.clock = clock
        self.known: set[tuple[str, str]] = set()
        self.refuses = False
        self.ended: list[EndedListener] = []
        self.stale: list[StaleListener] = []

    def now(self) -> float:
        return time.time() if self.clock is None else self.clock

    def has_ended(self, names: Iterable[tuple[str, str]]) -> bool:
        return not self.known.isdisjoint(names)

    def on_ended(self, listener: EndedListener) -> Callable[[], object]:
        self.ended.append(listener)
        return lambda: self.ended.remove(listener)

    def on_stale(self, listener: StaleListener) -> Callable[[], object]:
        self.stale.append(listener)
        return lambda: self.stale.remove(listener)

    def end(self, kind: Kind, value: str) -> None:
        """Something ended: known first, told then."""
        self.known.add((kind, value))
        for listener in list(self.ended):
            listener(Ending(kind, value, "test", self.now()))

    def lose(self, *, refuses: bool = True) -> None:
        """The provider is not heard any more."""
        self.refuses = refuses
        for listener in list(self.stale):
            listener(Staleness(is_stale=True, seconds=31.0, problem="no answer"))

    def find(self) -> None:
        """The provider is heard again."""
        self.refuses = False
        for listener in list(self.stale):
            listener(Staleness(is_stale=False, seconds=0.0, problem=""))


def claims(number: int = 0, *, sid: str | None = SID, expires: float = 2_000_000_300, **changed: object) -> dict[str, object]:
    """An access token's claims; each `number` has a `jti` of its own, in the family that the session has."""
    told = {
        "iss": "https://idp.example",
        "sub": "alice",
        "client_id": "app",
        "jti": f"family-of-{sid}.{number}",
        "exp": expires,
    }
    return told | ({"sid": sid} if sid else {}) | changed


def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)
