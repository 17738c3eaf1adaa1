"""Following by long poll (RFC 8936): each answer says what ended, and an answer proves that nothing else did."""

from dataclasses import dataclass

from idp.verifier.core import Core
from idp.verifier.errors import EventError, UnknownKeyError
from idp.verifier.events import Addressee, Event, read
from idp.verifier.following import Follower
from idp.verifier.freshness import Freshness
from idp.verifier.jwks import KeyFetcher
from idp.verifier.provider import Access, Credentials, ProviderMetadata, parsed
from idp.verifier.streams import POLL, StreamClient, post
from idp.verifier.wire import Answer, Backoff, ExchangeError, Flow, Pause, expect

#: The longest wait between two proofs, as a part of `max_staleness`: another such part is left for an answer that gets lost.
_PART = 1 / 3
#: An empty answer that comes sooner than this was not waited for: the provider is not asked without end.
_TOO_SOON = 0.2
_MOST_EVENTS = 256


@dataclass(frozen=True, slots=True)
class Poll:
    """Follow by long poll, as a client that may have the scopes `ssf.manage` and `ssf.read`."""

    client_id: str
    client_secret: str

    @property
    def credentials(self) -> Credentials:
        """As what it asks."""
        return Credentials(self.client_id, self.client_secret)

    def __repr__(self) -> str:
        return f"Poll({self.client_id!r})"


class Poller(Follower):
    """The flow of one process that polls."""

    def __init__(
        self, core: Core, provider: ProviderMetadata, keys: KeyFetcher, access: Access, client_id: str, fresh: Freshness
    ) -> None:
        self._core = core
        self._keys = keys
        self._fresh = fresh
        self._to = Addressee(provider.issuer, client_id)
        self._stream = StreamClient(provider, access, client_id, {"method": POLL})
        self._staleness = fresh.max_staleness or 0.0
        self._wait = max(1, int(self._staleness * _PART))
        self._acknowledged: list[str] = []
        self._at_once = True

    def follow(self) -> Flow[None]:
        """Without end. What goes wrong is tried again, ever more slowly, and is seen as staleness meanwhile."""
        backoff = Backoff(min(5.0, self._staleness / 6))
        while True:
            try:
                yield from self._stream.open()
                yield from self._poll()
            except ExchangeError as error:
                self._core.note("poll", str(error))
                self._at_once = True
                yield Pause(backoff.next(error.retry_after))
            else:
                self._core.note("poll", "")
                backoff.reset()

    def farewell(self) -> Flow[None]:
        """Delete the stream."""
        yield from self._stream.abandon()

    def _poll(self) -> Flow[None]:
        wait, told = (0 if self._at_once else self._wait), self._acknowledged
        body = {"maxEvents": _MOST_EVENTS, "returnImmediately": self._at_once, "ack": told}
        sent_at = self._core.clock.elapsed()
        request = post(self._stream.endpoint_url, body, {"Prefer": f"wait={wait}"}, wait + max(1.0, self._staleness / 6))
        answer = yield from self._stream.ask(request)
        expect(answer, "a poll", 200)
        self._acknowledged = []
        sets, more = _understood(answer)
        problem = None
        for text in sets:
            try:
                yield from self._take_in(text)
            except (EventError, UnknownKeyError) as error:
                problem = f"an event is not to be believed: {error}"
        if problem is not None:
            # It is not acknowledged, and nothing is proved: what cannot be read may be an ending.
            raise ExchangeError(problem)
        self._at_once = more
        if not more:
            self._fresh.confirm(sent_at)
            self._core.watch()
        if not sets and (more or wait > 0) and self._core.clock.elapsed() - sent_at < _TOO_SOON:
            yield Pause(min(1.0, self._staleness / 10))

    def _take_in(self, text: str) -> Flow[None]:
        now = self._core.clock.wall()
        event: Event = yield from self._keys.reading(lambda keys: read(text, keys, self._to, now), trusted=True)
        self._core.take_in(event.ended)
        self._acknowledged.append(event.jti)
        if any(one.ending.kind == "kid" for one in event.ended):
            yield from self._keys.fetch(anew=True)
        if event.status not in {None, "enabled"}:
            yield from self._stream.abandon()
            message = f"the provider has set our stream to {event.status!r}"
            raise ExchangeError(message)


def _understood(answer: Answer) -> tuple[list[str], bool]:
    """The SETs of an answer, and whether there are more (RFC 8936 §2.3)."""
    found = parsed(answer, "a poll")
    sets, more = found.get("sets"), found.get("moreAvailable", False)
    if not isinstance(sets, dict) or not isinstance(more, bool):
        message = "a poll was answered without events"
        raise ExchangeError(message)
    return [text if isinstance(text, str) else "" for text in sets.values()], more
