"""Following by push (RFC 8935): events come to an endpoint of the app, and a verification event proves that none is missing."""

from dataclasses import dataclass
from secrets import token_urlsafe

from idp.verifier.core import Core
from idp.verifier.errors import EventError, UnknownKeyError
from idp.verifier.events import Addressee, Event, read
from idp.verifier.following import Follower
from idp.verifier.freshness import Freshness
from idp.verifier.jwks import KeyFetcher
from idp.verifier.provider import Access, Credentials, ProviderMetadata
from idp.verifier.received import ACCEPTED, TRY_AGAIN, Reply, refused
from idp.verifier.streams import PUSH, StreamClient, post
from idp.verifier.wire import Backoff, ExchangeError, Flow, Pause, expect

#: How often a proof is asked for, as a part of `max_staleness`.
_PART = 1 / 3
#: And at most such a part, where the provider allows no more: the rest is for the event to arrive.
_LONGEST_PART = 3 / 4
#: So much longer than the provider's interval, in seconds: it counts by another clock.
_MARGIN = 0.5
#: One that comes late proves something, too.
_MOST_ASKED = 8
#: While a proof is waited for, it is looked for this often, in seconds.
_LOOK = 0.25


@dataclass(frozen=True, slots=True)
class Push:
    """Be pushed at `endpoint_url`, whose handler calls `receive(body)`; as a client that may have the scope `ssf.manage`.

    `authorization` is the header that the provider is to send along; checking it is the handler's. The endpoint must
    reach this very process, for it alone learns what is pushed there.
    """

    client_id: str
    client_secret: str
    endpoint_url: str
    authorization: str | None = None

    @property
    def credentials(self) -> Credentials:
        """As what it asks."""
        return Credentials(self.client_id, self.client_secret)

    def __repr__(self) -> str:
        return f"Push({self.client_id!r}, endpoint_url={self.endpoint_url!r})"

    @property
    def delivery(self) -> dict[str, str]:
        """How the stream is to be delivered (SSF 1.0 §6.1.1)."""
        delivery = {"method": PUSH, "endpoint_url": self.endpoint_url}
        return delivery if self.authorization is None else delivery | {"authorization_header": self.authorization}


class Pushed(Follower):
    """The flow of one process that is pushed to, and the reading of what comes."""

    def __init__(
        self, core: Core, provider: ProviderMetadata, keys: KeyFetcher, access: Access, config: Push, fresh: Freshness
    ) -> None:
        self._core = core
        self._provider = provider
        self._keys = keys
        self._fresh = fresh
        self._to = Addressee(provider.issuer, config.client_id)
        self._stream = StreamClient(provider, access, config.client_id, config.delivery)
        self._staleness = fresh.max_staleness or 0.0
        #: The `state`s of the verifications of this stream that were asked for, and when.
        self._asked: dict[str, float] = {}
        self._broken = ""

    def follow(self) -> Flow[None]:
        """Without end: ask for proofs, and make the stream anew where it is gone or told something that was not understood."""
        backoff = Backoff(min(5.0, self._staleness / 6))
        while True:
            try:
                if self._broken:
                    self._asked.clear()
                    self._broken = ""
                    yield from self._stream.abandon()
                yield from self._stream.open()
                yield from self._prove()
            except ExchangeError as error:
                self._core.note("push", str(error))
                yield Pause(backoff.next(error.retry_after))
            else:
                self._core.note("push", "")
                backoff.reset()

    def _interval(self) -> float:
        """Seconds between two proofs. Raises ExchangeError where the provider allows so few that the promise cannot be kept."""
        interval = max(self._staleness * _PART, self._stream.min_verification_interval + _MARGIN)
        if interval > self._staleness * _LONGEST_PART:
            message = (
                f"the provider verifies a stream every {self._stream.min_verification_interval:g} s at most,"
                f" so max_staleness must be at least {(interval / _LONGEST_PART):.0f} s"
            )
            raise ExchangeError(message)
        return interval

    def farewell(self) -> Flow[None]:
        """Delete the stream."""
        yield from self._stream.abandon()

    def _prove(self) -> Flow[None]:
        """Ask for a verification event (SSF 1.0 §8.1.4) and wait until it has come, and then until the next is due."""
        interval = self._interval()
        url = yield from self._provider.ssf("verification_endpoint")
        state, sent_at = token_urlsafe(16), self._core.clock.elapsed()
        while len(self._asked) >= _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[state] = sent_at
        answer = yield from self._stream.ask(post(url, {"stream_id": self._stream.stream_id, "state": state}))
        expect(answer, "the request for a verification event", 200, 202, 204)
        while self._fresh.age(sent_at) > 0:
            if self._broken:
                raise ExchangeError(self._broken)
            if self._core.clock.elapsed() - sent_at > interval:
                message = "the verification event that was asked for does not come"
                raise ExchangeError(message)
            yield Pause(_LOOK)
        while (left := sent_at + interval - self._core.clock.elapsed()) > 0 and not self._broken:
            yield Pause(min(1.0, left))

    def receive(self, body: bytes) -> Flow[Reply]:
        """Take in what was posted; what to answer (RFC 8935 §2.2, §2.3)."""
        now = self._core.clock.wall()
        try:
            event: Event = yield from self._keys.reading(
                lambda keys: read(body.decode("ascii"), keys, self._to, now), trusted=False
            )
        except UnknownKeyError:
            return TRY_AGAIN  # it may be genuine, and must not be lost: the keys could not be fetched again already
        except UnicodeDecodeError:
            return refused("invalid_request", "not a security event token")
        except EventError as error:
            if error.is_ours:
                self._broken = f"an event cannot be understood: {error}"
            return refused(error.code, str(error))
        self._core.take_in(event.ended)
        if event.status not in {None, "enabled"}:
            self._broken = f"the provider has set our stream to {event.status!r}"
        asked_at = self._asked.pop(event.state or "", None)
        if asked_at is not None and not self._broken:
            self._fresh.confirm(asked_at)
            self._core.watch()
        return ACCEPTED
