"""What followers need of the database, for many of them at once: who they are, what they acknowledge, what they are owed.

All of it blocks, and happens in the followers' one thread (`poll`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import OAuth2Error

from idp.keys.signer import SigningUnavailableError
from idp.protocol import scopes
from idp.runtime import audit
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.figures import Histogram
from idp.signals import rules
from idp.signals.bearer import client_of
from idp.signals.requests import PollBody
from idp.signals.rules import Signal, Stream
from idp.signals.sequencer import Sequencer
from idp.signals.set_signer import SetSigner
from idp.signals.streams import StreamService
from idp.tokens.service import TokenService

_RETRY_AFTER = 1
_SECONDS = Histogram(
    "idp_signals_seconds",
    "From the transaction of what happened to the answer of a poll",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600),
)
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class PollRequest:
    """A poll, of which stream, and whose it says it is."""

    stream_id: str
    authorization: str
    poll: PollBody


class PollRefusal(Exception):  # noqa: N818 - it is an answer, and is handed on as one
    """Why there are no events: RFC 8936 §2.5 and RFC 8935 §2.4 name the codes."""

    def __init__(self, status: int, err: str, description: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(description)
        self.status = status
        self.err = err
        self.description = description
        self.headers = tuple(headers)


@dataclass(frozen=True, slots=True)
class Collected:
    """What goes into an answer: the SETs by their `jti`, and whether there are more."""

    sets: dict[str, str]
    more: bool


class PollService:
    """The side of polling that blocks."""

    def __init__(
        self, database: Database, tokens: TokenService, streams: StreamService, sets: SetSigner, hub: Sequencer
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._streams = streams
        self._sets = sets
        self._hub = hub

    def admit(self, batch: Sequence[PollRequest]) -> list[Stream | PollRefusal]:
        """Whose polls these are; what they acknowledge is written down, in one transaction for all."""
        with self._database.reading() as tx:
            clients = [self._client(tx, asked) for asked in batch]
            streams = self._streams.found(tx, {asked.stream_id for asked in batch})
            now = tx.now
        admitted = [
            _admitted(asked, client, streams.get(asked.stream_id)) for asked, client in zip(batch, clients, strict=True)
        ]
        told: dict[str, set[str]] = {}
        for asked, stream in zip(batch, admitted, strict=True):
            if isinstance(stream, Stream) and (asked.poll.acked or self._is_due(stream, now)):
                told.setdefault(asked.stream_id, set()).update(asked.poll.acked)
                _report(stream, asked.poll)
        if not told:
            return admitted
        with self._database.writing() as tx:
            streams = self._streams.acknowledge(tx, told, self._hub.after)
        return [streams.get(one.stream_id, one) if isinstance(one, Stream) else one for one in admitted]

    def _is_due(self, stream: Stream, now: Instant) -> bool:
        """Whether its progress should be written down though nothing was acknowledged.

        One that is further behind than anybody remembers may only have been passed over by what was not for it.
        """
        return now - stream.seen_at >= rules.SEEN_SECONDS or self._hub.remembered(stream, 1) is None

    def _client(self, tx: Transaction, asked: PollRequest) -> str | PollRefusal:
        try:
            return client_of(tx, self._tokens, asked.authorization, (scopes.SSF_READ,))
        except OAuth2Error as error:
            err = "authentication_failed" if error.status_code == _UNAUTHORIZED else "access_denied"
            return PollRefusal(error.status_code, err, str(error.description or "A bearer token is needed."), _challenge(error))

    def collect(self, batch: Sequence[tuple[str, int]]) -> list[Collected | PollRefusal]:
        """What each stream is owed now, signed."""
        with self._database.reading() as tx:
            streams = self._streams.found(tx, {stream_id for stream_id, _ in batch})
            owed = [self._owed(tx, streams.get(stream_id), most) for stream_id, most in batch]
            now = tx.now
        return [self._signed(one, now) if not isinstance(one, PollRefusal) else one for one in owed]

    def _owed(self, tx: Transaction, stream: Stream | None, most: int) -> tuple[str, list[Signal], bool] | PollRefusal:
        if stream is None:
            return PollRefusal(404, "access_denied", "This client has no such stream.")
        if stream.status != rules.ENABLED:
            return _not_enabled(stream)
        found, more = self._hub.remembered(stream, most) or self._streams.owed(tx, stream, most)
        return stream.client_id, found, more

    def _signed(self, owed: tuple[str, list[Signal], bool], now: Instant) -> Collected | PollRefusal:
        audience, found, more = owed
        for signal in found:
            _SECONDS.observe(max(0.0, now - signal.occurred_at))
        try:
            return Collected({signal.signal_id: self._sets.sign(signal, audience, now) for signal in found}, more)
        except SigningUnavailableError as error:
            audit.warn("key.cannot_sign", error=str(error))
            return busy("Events cannot be signed at this moment.")


def _admitted(asked: PollRequest, client: str | PollRefusal, stream: Stream | None) -> Stream | PollRefusal:
    if isinstance(client, PollRefusal):
        return client
    if stream is None or stream.client_id != client or stream.method != rules.POLL:
        return PollRefusal(404, "access_denied", f"This client has no such stream: {asked.stream_id}.")
    return stream if stream.status == rules.ENABLED else _not_enabled(stream)


def _not_enabled(stream: Stream) -> PollRefusal:
    """An empty answer would say that nothing happened, which nobody knows of a stream that is held."""
    return PollRefusal(403, "access_denied", f"The stream is {stream.status}.")


def _report(stream: Stream, poll: PollBody) -> None:
    for jti, err in poll.errors.items():
        audit.warn("signals.refused_by_receiver", client_id=stream.client_id, signal_id=jti[:64], error=err[:40])


def _challenge(error: OAuth2Error) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in error.get_headers() if pair[0].lower() == "www-authenticate")


def busy(description: str) -> PollRefusal:
    """Come again in a moment."""
    return PollRefusal(503, "temporarily_unavailable", description, (("Retry-After", str(_RETRY_AFTER)),))
