"""Streams: a receiver makes one, changes it, acknowledges what it heard, and leaves (SSF 1.0 §8.1)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from idp.clients.service import ClientService
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.runtime.paging import Page
from idp.signals import rules, store, stream_store
from idp.signals.push import Pushing
from idp.signals.requests import Configuration, Status, StreamDelivery
from idp.signals.rules import BATCH, Exposure, Lag, Signal, Stream, StreamProgress, Subject
from idp.signals.service import SignalService


class StreamError(Exception):
    """What was asked of a stream cannot be done: an HTTP status, and a sentence for developers."""

    def __init__(self, status: int, description: str, *, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Timing:
    """For how many seconds a poll stream may be left alone, and how often a verification may be asked for."""

    inactivity: int
    min_verification_interval: int


class StreamService:
    """Every client's own streams. To a client another's are not there."""

    def __init__(self, signals: SignalService, pushing: Pushing, timing: Timing, clients: ClientService) -> None:
        self._signals = signals
        self._clients = clients
        self._pushing = pushing
        self._timing = timing

    def create(self, tx: Transaction, client_id: str, asked: Configuration) -> Stream:
        """A new stream. It begins with what happens from now on: what ended before is nothing to a receiver of CAEP's events.

        One that verifies tokens begins with what still matters, so that an empty memory learns of every token that may be
        alive. Raises StreamError when the client has as many as it may have, and none of them was left behind.
        """
        self._make_room(tx, client_id)
        stream_id, client = secrets.token(rules.ID_BYTES), self._clients.find(client_id)
        delivery, requested = asked.delivery or _POLLED, asked.events_requested or rules.STANDARD
        stream = Stream(
            stream_id=stream_id,
            client_id=client_id,
            method=delivery.method,
            endpoint_url=delivery.endpoint_url,
            authorization=self._sealed(stream_id, delivery),
            events_requested=requested,
            description=asked.description,
            status=rules.ENABLED,
            status_reason=None,
            cursor=_beginning(tx, requested),
            acked_ahead=(),
            removed_subjects=(),
            created_at=tx.now,
            seen_at=tx.now,
            verified_at=None,
            sector=None if client is None else client.pairwise_sector,
        )
        stream_store.add(tx, stream)
        fields = {"stream_id": stream.stream_id, "client_id": client_id, "method": stream.method}
        tx.after_commit(lambda: audit.record("signals.stream_added", **fields))
        tx.wake_after_commit(self._signals.wake)
        return stream

    def _make_room(self, tx: Transaction, client_id: str) -> None:
        """An app that dies again and again leaves a stream behind each time: the one longest without a poll makes room."""
        streams = stream_store.of_client(tx, client_id)
        if len(streams) < rules.MOST_STREAMS:
            return
        left = [one for one in streams if one.is_left(tx.now)]
        if not left:
            raise StreamError(409, f"A client may have {rules.MOST_STREAMS} streams: delete one first.")
        self._end(tx, min(left, key=lambda one: one.seen_at), "left behind")

    def get(self, tx: Transaction, client_id: str, stream_id: str) -> Stream:
        """A client's stream. Raises StreamError when it has none of that name."""
        return _own(stream_store.by_id(tx, _possible(stream_id)), client_id)

    def note(self, tx: Transaction, stream: Stream) -> None:
        """Its receiver was here."""
        stream_store.change(tx, stream.stream_id, seen_at=tx.now)

    def of_client(self, tx: Transaction, client_id: str) -> list[Stream]:
        """A client's streams."""
        return stream_store.of_client(tx, client_id)

    def listed(self, tx: Transaction, page: Page) -> list[Stream]:
        """One page of all streams, for operators."""
        return stream_store.listed(tx, page)

    def found(self, tx: Transaction, stream_ids: Collection[str]) -> dict[str, Stream]:
        """Those of the streams that there are, by name."""
        return {stream.stream_id: stream for stream in stream_store.by_ids(tx, stream_ids)}

    def configure(self, tx: Transaction, client_id: str, stream_id: str, asked: Configuration, *, whole: bool) -> Stream:
        """Change what was given (PATCH), or put `asked` in the place of all there was (PUT: `whole`)."""
        stream = self._hold(tx, client_id, stream_id)
        changed: dict[str, object] = {}
        if whole or asked.events_requested is not None:
            changed["events_requested"] = asked.events_requested or rules.STANDARD
        if whole or asked.description is not None:
            changed["description"] = asked.description
        delivery = asked.delivery or (_POLLED if whole else None)
        if delivery is not None:
            changed |= {
                "method": delivery.method,
                "endpoint_url": delivery.endpoint_url,
                "authorization": self._sealed(stream_id, delivery),
                "cursor": self._pushing.withdraw(tx, stream),
            }
        return self._changed(tx, stream, changed)

    def _sealed(self, stream_id: str, delivery: StreamDelivery) -> bytes | None:
        return None if delivery.authorization is None else self._pushing.seal(stream_id, delivery.authorization)

    def end(self, tx: Transaction, client_id: str, stream_id: str) -> None:
        """Delete a stream. Raises StreamError when the client has none of that name."""
        self._end(tx, self._hold(tx, client_id, stream_id), "receiver")

    def _end(self, tx: Transaction, stream: Stream, reason: str) -> None:
        self._pushing.withdraw(tx, stream)
        stream_store.end(tx, stream.stream_id, stream.client_id)
        self._signals.stream_ended(tx, stream.stream_id)
        fields = {"stream_id": stream.stream_id, "client_id": stream.client_id, "reason": reason}
        tx.after_commit(lambda: audit.record("signals.stream_ended", **fields))

    def set_status(self, tx: Transaction, client_id: str, stream_id: str, asked: Status) -> Stream:
        """Enable, pause or disable a stream. One that was disabled begins anew, as a new one does: nothing was held for it."""
        stream = self._hold(tx, client_id, stream_id)
        changed: dict[str, object] = {"status": asked.status, "status_reason": asked.reason}
        if asked.status != rules.ENABLED:
            changed["cursor"] = self._pushing.withdraw(tx, stream)
        elif stream.status == rules.DISABLED:
            changed["cursor"] = max(stream.cursor, _beginning(tx, stream.events_requested))
        fields = {"stream_id": stream_id, "client_id": client_id, "status": asked.status}
        tx.after_commit(lambda: audit.record("signals.stream_status", **fields))
        return self._changed(tx, stream, changed)

    def verify(self, tx: Transaction, client_id: str, stream_id: str, state: str | None) -> None:
        """Send a verification event, behind everything that is on its way. Raises StreamError when it is too soon again."""
        stream = self._hold(tx, client_id, stream_id)
        if stream.status != rules.ENABLED:
            raise StreamError(400, f"The stream is {stream.status}.")
        if self._signals.is_owing(tx):
            raise StreamError(429, "Very much ends just now, and is told of bit by bit: ask again in a moment.", retry_after=1)
        since = tx.now - (stream.verified_at or 0.0)
        # Also before it: of two that ask at once, the one that began first may have waited for the other.
        if abs(since) < self._timing.min_verification_interval:
            left = int(self._timing.min_verification_interval - max(0.0, since)) + 1
            raise StreamError(429, f"Ask for a verification again in {left} s.", retry_after=left)
        self._signals.verification(tx, stream_id, state)
        self._changed(tx, stream, {"verified_at": tx.now})

    def add_subject(self, tx: Transaction, client_id: str, stream_id: str, subject: Subject) -> None:
        """Hear of a subject again. Every subject is heard of that was not removed."""
        stream = self._hold(tx, client_id, stream_id)
        self._changed(tx, stream, {"removed_subjects": [one for one in stream.removed_subjects if one != subject]})

    def remove_subject(self, tx: Transaction, client_id: str, stream_id: str, subject: Subject) -> None:
        """Hear of a subject no more. Raises StreamError when that would be more than a stream may leave out."""
        stream = self._hold(tx, client_id, stream_id)
        removed = [*(one for one in stream.removed_subjects if one != subject), subject]
        if len(removed) > rules.MOST_REMOVED:
            raise StreamError(403, f"A stream may leave out {rules.MOST_REMOVED} subjects.")
        self._changed(tx, stream, {"removed_subjects": removed})

    # -- how far an event is known --------------------------------------------------------------------------------

    def exposure(self, tx: Transaction, sid: str) -> Exposure | None:
        """How far the end of a session is known; None when nothing was told of it, or that was long ago."""
        return self.exposures(tx, [sid]).get(sid)

    def exposures(self, tx: Transaction, sids: Collection[str]) -> dict[str, Exposure]:
        """The same of several sessions. It takes three questions, however many sessions and followers there are."""
        told = store.of_sessions(tx, sids)
        streams = stream_store.enabled(tx) if told else []
        # By every name of it that a follower hears: its tokens may stand under any of them.
        heard = [(stream, end) for stream in streams for end in told if stream.hears(end)]
        pushed = [(stream, end) for stream, end in heard if stream.method == rules.PUSH and end.seq is not None]
        arrived = self._pushing.arrived(tx, pushed)
        deaf = [(stream, end) for stream, end in heard if not _knows(stream, end, arrived)]
        return {
            sid: _exposure(
                {stream.stream_id: stream for stream, end in heard if end.sid == sid},
                {stream.stream_id for stream, end in deaf if end.sid == sid},
                max(end.tokens_until for end in told if end.sid == sid),
                tx.now,
            )
            for sid in dict.fromkeys(end.sid for end in told)
            if sid is not None
        }

    def lag(self, tx: Transaction, stream: Stream) -> Lag:
        """How far a stream is behind."""
        owed, _ = self.owed(tx, stream, _COUNTED)
        first = owed[0].occurred_at if owed else None
        if stream.method != rules.PUSH:
            return Lag(len(owed), first)
        waiting, since = self._pushing.waiting(tx, stream)
        return Lag(len(owed) + waiting, first if since is None else since)

    # -- what a follower says -------------------------------------------------------------------------------------

    def acknowledge(
        self, tx: Transaction, acked: Mapping[str, Collection[str]], remembered: Callable[[int], list[Signal] | None]
    ) -> dict[str, Stream]:
        """Take in acknowledgements: the `jti`s, by stream. Returns the streams as they are then.

        `remembered` may know what is beyond a number: what is not asked of the database for each of two hundred streams
        does not hold up the others.
        """
        places = {signal.signal_id: signal for signal in store.by_ids(tx, {jti for jtis in acked.values() for jti in jtis})}
        progress: dict[str, StreamProgress] = {}
        held = stream_store.hold_all(tx, acked)
        for stream in held:
            following = remembered(stream.cursor)
            if following is None:
                following = store.after(tx, stream.cursor, BATCH)
            known = [places[jti].place for jti in acked[stream.stream_id] if jti in places]
            end = following[-1].place if following else stream.cursor
            progress[stream.stream_id] = rules.advanced(stream, known, following, end)
        stream_store.note_progress(tx, progress)
        return {stream.stream_id: _at(stream, progress[stream.stream_id], tx.now) for stream in held}

    def owed(self, tx: Transaction, stream: Stream, most: int) -> tuple[list[Signal], bool]:
        """The next events that a stream is owed, at most `most`, and whether there are more."""
        found: list[Signal] = []
        place = stream.cursor
        while True:
            batch = store.after(tx, place, BATCH)
            found += [signal for signal in batch if stream.owes(signal)]
            if len(found) > most or len(batch) < BATCH:
                return found[:most], len(found) > most
            place = batch[-1].place

    def _hold(self, tx: Transaction, client_id: str, stream_id: str) -> Stream:
        return _own(stream_store.hold(tx, _possible(stream_id)), client_id)

    def _changed(self, tx: Transaction, stream: Stream, values: Mapping[str, object]) -> Stream:
        stream_store.change(tx, stream.stream_id, **values, seen_at=tx.now)
        return stream_store.by_id(tx, stream.stream_id) or stream

    def configuration(self, stream: Stream) -> dict[str, object]:
        """A stream as SSF 1.0 §8.1.1 shows it. An authorization header is never shown again."""
        issuer = self._signals.issuer
        endpoint = stream.endpoint_url or f"{issuer}/ssf/poll/{stream.stream_id}"
        shown: dict[str, object] = {
            "stream_id": stream.stream_id,
            "iss": issuer,
            "aud": stream.client_id,
            "events_supported": list(stream.events_supported),
            "events_requested": list(stream.events_requested),
            "events_delivered": list(stream.events_delivered),
            "delivery": {"method": stream.method, "endpoint_url": endpoint},
            "min_verification_interval": self._timing.min_verification_interval,
        }
        if stream.method == rules.POLL:
            shown["inactivity_timeout"] = self._timing.inactivity
        return shown if stream.description is None else shown | {"description": stream.description}

    def tidy(self, tx: Transaction) -> int:
        """Delete poll streams that nobody polls any more; returns their number."""
        gone = stream_store.end_unseen(tx, rules.POLL, tx.now - self._timing.inactivity)
        for stream_id, client_id in gone:
            fields = {"stream_id": stream_id, "client_id": client_id, "reason": "inactivity"}
            tx.after_commit(lambda fields=fields: audit.record("signals.stream_ended", **fields))  # type: ignore[misc]
        return len(gone)


def _knows(stream: Stream, signal: Signal, arrived: Collection[tuple[str, str]]) -> bool:
    if signal.seq is None:
        return False
    return (stream.stream_id, signal.signal_id) in arrived if stream.method == rules.PUSH else not stream.owes(signal)


def _exposure(streams: Mapping[str, Stream], deaf: Collection[str], safe_at: Instant, now: Instant) -> Exposure:
    unseen = sum(streams[stream_id].is_left(now) for stream_id in deaf)
    return Exposure(len(streams) - len(deaf), len(streams) - unseen, safe_at, unseen)


def _beginning(tx: Transaction, requested: Collection[str]) -> int:
    """The cursor of a stream that begins now. One that verifies tokens begins before the first of which any may be alive."""
    first = store.first_alive(tx) if rules.verifies_tokens(requested) else None
    return store.last(tx) if first is None else first - 1


#: More than so many events are not counted.
_COUNTED = 100_000


def _at(stream: Stream, progress: StreamProgress, now: Instant) -> Stream:
    return replace(stream, cursor=progress.cursor, acked_ahead=progress.acked_ahead, seen_at=now)


_POLLED = StreamDelivery(rules.POLL)


def _missing() -> StreamError:
    """A new one each time: one that is raised again and again keeps the frames of all who met it, and what they hold."""
    return StreamError(404, "This client has no such stream.")


def _possible(stream_id: str) -> str:
    if not rules.is_name(stream_id):
        raise _missing()
    return stream_id


def _own(stream: Stream | None, client_id: str) -> Stream:
    if stream is None or stream.client_id != client_id:
        raise _missing()
    return stream
