"""What a verifier knows, and its judgement of a token: no threads, no network, the clocks handed in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Protocol, TypeVar

from idp.verifier import claims as rules_of_claims
from idp.verifier import compact
from idp.verifier.claims import Expected
from idp.verifier.clock import Clock
from idp.verifier.errors import EndedTokenError, StaleError
from idp.verifier.events import Ended
from idp.verifier.keyring import KeyRing
from idp.verifier.revocations import Revocations
from idp.verifier.rules import Claims, EndedListener, Ending, Kind, StaleListener, Staleness

#: Where no staleness is promised: for how long keys are believed beyond their `max-age`, in seconds.
_KEYS_LAST = 3600.0
_News = TypeVar("_News")


class Proof(Protocol):
    """How far the endings were known that were known at some moment."""

    def check(self, claims: Claims, now: float) -> None:
        """Raise TokenError where that does not suffice, at `now`, for a token with these claims."""


class Knowledge(Protocol):
    """How far a source knows of endings."""

    max_staleness: float | None

    def age(self, now: float) -> float:
        """Seconds since the youngest instant before which everything is known."""

    def is_stale(self, now: float) -> bool:
        """Whether it is older than it may be."""

    def has_ended(self, place: str) -> bool:
        """Whether a status list says that the tokens of this place have ended."""

    def has_left(self, uri: str) -> bool:
        """Whether nothing would be heard of what a status list says."""

    def proof(self) -> Proof:
        """What is proved at this moment, whatever is proved later."""


@dataclass(slots=True)
class Counts:
    """For operators: near enough where threads count at once."""

    requests: int = 0
    failures: int = 0
    refused: int = 0


class Core:
    """Judges tokens. Any thread may ask; endings are taken in one at a time."""

    def __init__(self, expected: Expected, clock: Clock, knowledge: Knowledge) -> None:
        """`clock` never goes back (`HeldClock`)."""
        self.expected = expected
        self.clock = clock
        self.knowledge = knowledge
        self.keys = KeyRing()
        most = knowledge.max_staleness
        self._keys_last = _KEYS_LAST if most is None else most
        self.revocations = Revocations(expected.leeway)
        self.counts = Counts()
        self._problems: dict[str, str] = {}
        self._lock = Lock()
        self._watching = Lock()
        self._ended_listeners: list[EndedListener] = []
        self._stale_listeners: list[StaleListener] = []
        self._told_stale = True

    # -- tokens ---------------------------------------------------------------------------------------------------

    def judge(self, token: str) -> Claims:
        """The claims of a token that is good as far as is known, and known far enough. Raises TokenError."""
        # What comes is taken in first and called fresh then. So it is first asked how fresh things are, and then what they say:
        # the other way round, an ending that comes in between would be passed over on the strength of its own proof.
        keys_last, proof = self.keys.fresh_until + self._keys_last, self.knowledge.proof()
        expected = self.expected
        found, kid = compact.read(token, self.keys.keys, expected.typ, expected.maximum_length)
        claims = Claims(found, kid)
        ended = self.revocations.find(claims, kid)
        # And after that the clocks: what is forgotten meanwhile, or takes long, can only be refused the more.
        rules_of_claims.check(found, expected, self.clock.wall())
        if ended is not None:
            raise EndedTokenError(*ended)
        now = self.clock.elapsed()
        if now > keys_last:
            message = "the published keys have not been seen for too long"
            raise StaleError(message, claims)
        proof.check(claims, now)
        return claims

    def has_ended(self, names: Iterable[tuple[Kind, str]]) -> bool:
        """Whether one of these is known to have ended."""
        return any(self._has_ended(kind, value) for kind, value in names)

    def _has_ended(self, kind: Kind, value: str) -> bool:
        if kind == "status":
            return self.knowledge.has_ended(value)
        if kind == "status_list":
            return self.knowledge.has_left(value)
        return self.revocations.has(kind, value)

    # -- what is learnt -------------------------------------------------------------------------------------------

    def take_in(self, ended: Iterable[Ended]) -> None:
        """Things ended. Listeners hear of what is news, after it is known here."""
        with self._lock:
            news = [one.ending for one in ended if self.revocations.add(one.ending.kind, one.ending.value, one.tokens_until)]
        self.tell(news)

    def tell(self, news: Iterable[Ending]) -> None:
        """Tell the listeners of endings that are known already."""
        for ending in news:
            self._tell(self._ended_listeners, ending)

    def note(self, where: str, problem: str) -> None:
        """Something goes wrong there, or no longer (empty)."""
        self._problems[where] = problem

    @property
    def problem(self) -> str:
        """What goes wrong, for operators; empty when all is well."""
        return "; ".join(problem for problem in self._problems.values() if problem)

    def tidy(self) -> None:
        """Forget what can name no living token."""
        with self._lock:
            self.revocations.forget(self.clock.wall())

    # -- staleness ------------------------------------------------------------------------------------------------

    def staleness(self) -> Staleness:
        """How fresh the knowledge is at this moment."""
        now = self.clock.elapsed()
        stale = self.knowledge.is_stale(now) or self._keys_are_stale(now)
        return Staleness(stale, self.knowledge.age(now), self.problem)

    def stale_in(self) -> float:
        """Seconds until it would be stale; infinite when it never will be."""
        now, most = self.clock.elapsed(), self.knowledge.max_staleness
        left = inf if most is None else most - self.knowledge.age(now)
        return min(left, self._keys_last - self.keys.age(now))

    def watch(self) -> None:
        """Tell the listeners when that has changed. Called by the clock, and after every proof."""
        with self._watching:  # looking and telling are one, or an older look could be told last
            now = self.staleness()
            if now.is_stale != self._told_stale:
                self._told_stale = now.is_stale
                self._tell(self._stale_listeners, now)

    def _keys_are_stale(self, now: float) -> bool:
        return self.keys.age(now) > self._keys_last

    # -- listeners ------------------------------------------------------------------------------------------------

    def on_ended(self, listener: EndedListener) -> Callable[[], None]:
        """Have `listener` called at every ending that is news; what undoes that."""
        return _added(self._ended_listeners, listener)

    def on_stale(self, listener: StaleListener) -> Callable[[], None]:
        """Have `listener` called at every change between fresh and stale; what undoes that."""
        return _added(self._stale_listeners, listener)

    def _tell(self, listeners: list[Callable[[_News], None]], news: _News) -> None:
        problem = ""
        for listener in tuple(listeners):
            try:
                listener(news)
            except Exception as error:  # noqa: BLE001 - an app's fault must not make it deaf to the next ending
                problem = f"a listener failed ({type(error).__name__})"
        self.note("listener", problem)


def _added(listeners: list[Callable[[_News], None]], listener: Callable[[_News], None]) -> Callable[[], None]:
    listeners.append(listener)

    def undo() -> None:
        if listener in listeners:
            listeners.remove(listener)

    return undo
