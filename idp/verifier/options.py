"""What an app decides about its verifier, checked at once: a promise that cannot be kept stops the start."""

from collections.abc import Iterable
from math import inf
from typing import Literal, Required, TypeAlias, TypedDict

from idp.verifier.backchannel import BackChannel
from idp.verifier.claims import Expected
from idp.verifier.clock import Clock, HeldClock, SystemClock
from idp.verifier.compact import MAXIMUM_LENGTH
from idp.verifier.lists import StatusList
from idp.verifier.poll import Poll
from idp.verifier.provider import Credentials, ProviderMetadata
from idp.verifier.push import Push

OnStale: TypeAlias = Literal["refuse", "introspect", "accept"]
Source: TypeAlias = Poll | Push | StatusList | BackChannel
#: A wait is whole seconds, and three of them are in each promise (`poll`): a shorter one would break again and again.
SHORTEST_STALENESS = 3.0
#: The provider tells of an ending, and a status list shows it, for its `IDP_KEYS_CLOCK_SKEW` (60 s) longer than the tokens last
#: that it names. Half of that is for clocks that are wrong; with more leeway than the other half a dead token would live again.
LONGEST_LEEWAY = 30.0


class Choices(TypedDict, total=False):
    """What `Verifier` and `AsyncVerifier` take by name.

    `follow`: how it hears of endings. `max_staleness`: the promise in seconds, 30 by default. `on_stale`: what happens to a
    good token while the promise cannot be kept, "refuse" by default. `credentials`: a client that may introspect, where
    `follow` has none. `typ`: that of access tokens, "at+jwt" by default. `leeway`: seconds by which `exp` may be over, none by
    default and 30 at most. `maximum_length`: of a token. `clock`: for tests.
    """

    follow: Required[Source]
    max_staleness: float | None
    on_stale: OnStale
    credentials: tuple[str, str] | None
    typ: str
    leeway: float
    maximum_length: int
    clock: Clock | None


class VerifierOptions:
    """Them, checked. Raises ValueError with a sentence that says what to change."""

    def __init__(
        self,
        issuer: str,
        audience: str | Iterable[str],
        *,
        follow: Source,
        max_staleness: float | None = 30.0,
        on_stale: OnStale = "refuse",
        credentials: tuple[str, str] | None = None,
        typ: str = "at+jwt",
        leeway: float = 0.0,
        maximum_length: int = MAXIMUM_LENGTH,
        clock: Clock | None = None,
    ) -> None:
        audiences = frozenset([audience] if isinstance(audience, str) else audience)
        problem = _problem(audiences, follow, max_staleness, on_stale, leeway)
        if problem is not None:
            raise ValueError(problem)
        self.follow = follow
        self.max_staleness = max_staleness
        self.on_stale = on_stale
        self.credentials = _credentials(follow, credentials)
        if on_stale == "introspect" and self.credentials is None:
            message = "on_stale='introspect' needs credentials=(client_id, client_secret) of a client that may introspect"
            raise ValueError(message)
        self.expected = Expected(issuer, audiences, typ.lower().removeprefix("application/"), leeway, maximum_length)
        self.clock = HeldClock(clock or SystemClock())
        self.provider = ProviderMetadata(issuer)


def _credentials(follow: Source, given: tuple[str, str] | None) -> Credentials | None:
    if given is not None:
        return Credentials(*given)
    return follow.credentials if isinstance(follow, Poll | Push) else None


def _problem(
    audiences: frozenset[str], follow: object, max_staleness: float | None, on_stale: str, leeway: float
) -> str | None:
    if not audiences or not all(audiences):
        return "audience must name what access tokens are for here: an empty one would accept those of other apps"
    if not isinstance(follow, Source):
        return f"follow must be a Poll, Push, StatusList or BackChannel, not {follow!r}"
    if isinstance(follow, BackChannel) and max_staleness is not None:
        return (
            "BackChannel hears of endings and proves nothing by silence, so no max_staleness can be promised:"
            " pass max_staleness=None, or follow by Poll, Push or StatusList"
        )
    if isinstance(follow, Poll | Push) and max_staleness is None:
        return "max_staleness must be a number of seconds: Poll and Push can prove it"
    if max_staleness is not None and not SHORTEST_STALENESS <= max_staleness < inf:
        return f"max_staleness must be at least {SHORTEST_STALENESS:g} s"
    if on_stale not in {"refuse", "introspect", "accept"}:
        return f"on_stale must be 'refuse', 'introspect' or 'accept', not {on_stale!r}"
    if not 0 <= leeway <= LONGEST_LEEWAY:
        return f"leeway must be 0 to {LONGEST_LEEWAY:g} s: the provider remembers an ending not much longer than tokens last"
    return None
