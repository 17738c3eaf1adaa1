"""What `Verifier` and `AsyncVerifier` have in common: everything that neither waits nor asks anybody."""

from collections.abc import Callable, Iterable
from typing import Unpack

from idp.verifier.engine import Engine
from idp.verifier.options import Choices, VerifierOptions
from idp.verifier.rules import EndedListener, Kind, StaleListener
from idp.verifier.state import State


class Face:
    """Any thread may ask."""

    def __init__(self, issuer: str, audience: str | Iterable[str], **choices: Unpack[Choices]) -> None:
        options = VerifierOptions(issuer, audience, **choices)
        self._clock = options.clock
        self._engine = Engine(options)
        self._core = self._engine.core

    @property
    def state(self) -> State:
        """What it knows, and how fresh that is, at this moment."""
        return State.of(self._core)

    @property
    def is_stale(self) -> bool:
        """Whether what it knows is older than it may be."""
        return self._core.staleness().is_stale

    @property
    def refuses(self) -> bool:
        """Whether it refuses every token now, since it cannot know what has ended."""
        return self._engine.refuses

    def now(self) -> float:
        """The time by which `exp` is judged, the leeway taken off: a token is over when its `exp` is not later."""
        return self._clock.wall() - self._core.expected.leeway

    def has_ended(self, names: Iterable[tuple[Kind, str]]) -> bool:
        """Whether one of them has ended."""
        return self._core.has_ended(names)

    def on_ended(self, listener: EndedListener) -> Callable[[], None]:
        """Have `listener` called when something ends, after `has_ended` knows of it; what undoes that."""
        return self._core.on_ended(listener)

    def on_stale(self, listener: StaleListener) -> Callable[[], None]:
        """Have `listener` called when this becomes stale and when it no longer is, after `refuses` says so; what undoes it."""
        return self._core.on_stale(listener)
