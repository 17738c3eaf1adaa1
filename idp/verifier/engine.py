"""Everything of a verifier but threads and sockets: its parts put together, and its flows for others to walk."""

from collections.abc import Callable

from idp.verifier import log
from idp.verifier.backchannel import BackChannel, BackChannelReceiver
from idp.verifier.core import Core
from idp.verifier.errors import (
    DoubtError,
    EndedTokenError,
    KeysUnseenError,
    MissingError,
    StaleError,
    TokenError,
    UnknownKeyError,
    UnknownListError,
)
from idp.verifier.following import Follower
from idp.verifier.freshness import Freshness
from idp.verifier.introspection import is_active
from idp.verifier.jwks import KeyFetcher
from idp.verifier.lists import ListFetcher, StatusList, StatusLists
from idp.verifier.options import VerifierOptions
from idp.verifier.poll import Poll, Poller
from idp.verifier.provider import Access
from idp.verifier.push import Pushed
from idp.verifier.received import TRY_AGAIN, Reply
from idp.verifier.rules import Claims
from idp.verifier.wire import ExchangeError, Flow, Pause

#: What may be forgotten is looked for this often, in seconds.
_TIDY = 5.0
#: While it is stale, whether it still is.
_WHILE_STALE = 0.25


class Engine:
    """The parts of one verifier. Its flows raise nothing but what is said here."""

    def __init__(self, options: VerifierOptions) -> None:
        self._options = options
        self.core, self._keys, self._follower = _built(options)

    def flows(self) -> dict[str, Callable[[], Flow[None]]]:
        """What goes on beside verifying, by name, all at the same time."""
        return {"keys": self._keys.keep, "follow": self._follower.follow, "watch": self._watch}

    def farewell(self) -> Flow[None]:
        """What is done when nobody follows any more."""
        try:
            yield from self._follower.farewell()
        except ExchangeError as error:
            self.core.note("farewell", str(error))

    def receive(self, body: bytes) -> Flow[Reply]:
        """What to answer to what was posted, which is taken in. Raises ValueError where nothing is to be posted."""
        try:
            return (yield from self._follower.receive(body))
        except ExchangeError as error:
            self.core.note("receive", str(error))
            return TRY_AGAIN

    def find(self, missing: MissingError) -> Flow[None]:
        """Ask the provider for what a token names and is not known here, where that may be done again already."""
        if isinstance(missing, UnknownKeyError):
            yield from self._keys.find(missing.kid)
        elif isinstance(missing, UnknownListError):
            yield from self._follower.find_list(missing.uri)

    def decide(self, token: str, error: TokenError) -> Flow[Claims]:
        """The claims of a token that was refused, if it was only doubted and the policy lets it pass. Raises TokenError."""
        if isinstance(error, DoubtError):
            if isinstance(error, StaleError) and self._options.on_stale == "accept":
                return error.claims
            if self._may_ask(error):
                active = yield from self._ask(token, error)
                if active:
                    return error.claims
                error = EndedTokenError("jti", str(error.claims.get("jti")))
        self.core.counts.refused += 1
        log.refused(error)
        if isinstance(error, UnknownKeyError) and self.core.keys.age(self.core.clock.elapsed()) > 0:
            raise KeysUnseenError(error.kid)  # nobody is to be signed out because this has just started
        raise error

    def _may_ask(self, doubt: DoubtError) -> bool:
        return not isinstance(doubt, StaleError) or self._options.on_stale == "introspect"

    def _ask(self, token: str, doubt: DoubtError) -> Flow[bool]:
        credentials = self._options.credentials
        if credentials is None:
            raise doubt
        try:
            active = yield from is_active(self._options.provider, credentials, token)
        except ExchangeError as error:
            self.core.note("introspection", str(error))
            raise doubt from None
        self.core.note("introspection", "")
        return active

    @property
    def refuses(self) -> bool:
        """Whether every token is refused now because nothing fresh is known."""
        return self._options.on_stale == "refuse" and self.core.staleness().is_stale

    def _watch(self) -> Flow[None]:
        """Tell of staleness when it begins, not when somebody verifies; forget what is over."""
        while True:
            self.core.tidy()
            self.core.watch()
            left = self.core.stale_in()
            yield Pause(_WHILE_STALE if left < 0 else min(_TIDY, left + 0.001))


def _built(options: VerifierOptions) -> tuple[Core, KeyFetcher, Follower]:
    follow, provider = options.follow, options.provider
    if isinstance(follow, StatusList):
        lists = StatusLists(options.max_staleness)
        core = Core(options.expected, options.clock, lists)
        keys = KeyFetcher(core, provider)
        return core, keys, ListFetcher(core, provider, keys, lists)
    fresh = Freshness(options.max_staleness)
    core = Core(options.expected, options.clock, fresh)
    keys = KeyFetcher(core, provider)
    if isinstance(follow, BackChannel):
        return core, keys, BackChannelReceiver(core, keys, follow)
    access = Access(provider, follow.credentials, options.clock)
    if isinstance(follow, Poll):
        return core, keys, Poller(core, provider, keys, access, follow.client_id, fresh)
    return core, keys, Pushed(core, provider, keys, access, follow, fresh)
