"""What a security event and a stream are, and which stream hears of what."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from idp.protocol import events
from idp.runtime.clock import Instant, time_of_day

ID_BYTES = 16
POLL = "urn:ietf:rfc:8936"
PUSH = "urn:ietf:rfc:8935"
#: Streams of one client: one for each of its processes.
MOST_STREAMS = 64
#: Whoever follows is here more often than that: a poll waits for 300 s at most, and that it came is noted once a minute.
LEFT_SECONDS = 420
#: How many events one transaction numbers, or one look reads.
BATCH = 1000
#: Subjects that one stream may leave out.
MOST_REMOVED = 256
#: A poll is written down at most this often, in seconds.
SEEN_SECONDS = 60.0
#: What a receiver may ask for. What concerns the stream itself always comes (SSF 1.0 §8.1.4.1, §8.1.5).
SUPPORTED = tuple(sorted({*events.DEADLY, events.CREDENTIAL_CHANGE}))
#: CAEP's own: what a receiver is shown, and hears, that names none of ours. One that knows no others warns of a `urn:`.
STANDARD = (events.CREDENTIAL_CHANGE, events.SESSION_REVOKED)

#: Events that name a person or a session.
NAMING = frozenset({events.SESSION_REVOKED, events.CREDENTIAL_CHANGE})

ENABLED, PAUSED, DISABLED = "enabled", "paused", "disabled"
STATUSES = (ENABLED, PAUSED, DISABLED)

Subject: TypeAlias = Mapping[str, Any]
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_name(text: str) -> bool:
    """Whether a stream or an event could be called so. What could not is unknown: a database may not even take it for text."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class NewSignal:
    """What a room asks to have told. `tokens_until`: no token that the event names is alive after this instant."""

    event: str
    subject: Subject
    tokens_until: Instant
    details: Mapping[str, Any]
    sid: str | None = None
    stream_id: str | None = None
    sector: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a person and their session are called: in a sector, or here, where `sector` is None."""

    sector: str | None
    sub: str
    sid: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """An event as it is stored. `signal_id` is the SET's `jti`; `seq` its place in the one order, None before the commit.

    `sid` is the session's own name, whatever the event calls it in a `sector`.
    """

    signal_id: str
    seq: int | None
    event: str
    subject: Subject
    details: Mapping[str, Any]
    sid: str | None
    stream_id: str | None
    occurred_at: Instant
    tokens_until: Instant
    sector: str | None = None

    @property
    def txn(self) -> str:
        """What it shares with others that tell of the same cause (RFC 8417 §2.2): the part of its name before the dot."""
        return self.signal_id.partition(".")[0]

    @property
    def place(self) -> int:
        """Its number, where it has one."""
        return self.seq or 0


@dataclass(frozen=True, slots=True)
class Stream:
    """One follower. Every number up to `cursor` is done with: acknowledged, or not for this stream.

    `acked_ahead` are those beyond it that were acknowledged before what stands in front of them. `sector` is that of a
    client with pairwise subjects.
    """

    stream_id: str
    client_id: str
    method: str
    endpoint_url: str | None
    authorization: bytes | None
    events_requested: tuple[str, ...]
    description: str | None
    status: str
    status_reason: str | None
    cursor: int
    acked_ahead: tuple[int, ...]
    removed_subjects: tuple[Subject, ...]
    created_at: Instant
    seen_at: Instant
    verified_at: Instant | None
    sector: str | None = None

    @property
    def events_supported(self) -> tuple[str, ...]:
        """What there is for this receiver: our own events are shown to one that named any of them."""
        return SUPPORTED if verifies_tokens(self.events_requested) else STANDARD

    @property
    def events_delivered(self) -> tuple[str, ...]:
        """Those of the events asked for that there are."""
        return tuple(event for event in self.events_supported if event in self.events_requested)

    def is_left(self, now: Instant) -> bool:
        """Whether its receiver has stopped polling without deleting it, as one does that was killed."""
        return self.method == POLL and self.seen_at < now - LEFT_SECONDS

    def hears(self, signal: Signal) -> bool:
        """Whether the event is for this stream."""
        if signal.stream_id is not None:
            return signal.stream_id == self.stream_id
        if signal.event not in self.events_requested or not self._may_hear(signal):
            return False
        return not any(matches(removed, signal.subject) for removed in self.removed_subjects)

    def _may_hear(self, signal: Signal) -> bool:
        """A client with pairwise subjects hears of people and sessions by its sector's names alone (docs/adr/0017).

        Any other follows as an API that verifies everybody's tokens, and must know every name that stands in one.
        """
        return self.sector is None or signal.sector == self.sector or signal.event not in NAMING

    def owes(self, signal: Signal) -> bool:
        """Whether the event is for this stream and was not acknowledged yet."""
        return signal.place > self.cursor and signal.place not in self.acked_ahead and self.hears(signal)


def verifies_tokens(requested: Collection[str]) -> bool:
    """Whether a receiver asked for an event of ours: it judges tokens by them, and must know what ended before it came."""
    return any(event in requested for event in SUPPORTED if event not in STANDARD)


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How far a stream has come: see `Stream`."""

    cursor: int
    acked_ahead: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is still exposed of an ended session. `safe_at`: when nothing of it counts even for those who only check expiry.

    `unseen` followers are not among the `followers`: they have stopped asking for news without taking leave.
    """

    confirmed: int
    followers: int
    safe_at: Instant
    unseen: int = 0

    @property
    def all_confirmed(self) -> bool:
        """Whether every follower knows."""
        return self.confirmed == self.followers

    def sentence(self, now: Instant) -> str:
        """What is safe already, and until when the rest is not, for people."""
        if now >= self.safe_at:
            return "safe everywhere: no token of it can be alive"
        known = f"{'all' if self.all_confirmed else f'{self.confirmed} of {self.followers}'} followers confirmed; "
        gone = f"{self.unseen} not heard of for {LEFT_SECONDS // 60} minutes; "
        said = f"{known if self.followers else ''}{gone if self.unseen else ''}"
        return f"{said}apps that only check expiry: safe at {time_of_day(self.safe_at)}"


def together(exposures: Iterable[Exposure]) -> Exposure | None:
    """Of several sessions that ended at once, the one figure that holds for each of them."""
    found = list(exposures)
    if not found:
        return None
    worst = min(found, key=lambda one: one.confirmed - one.followers)
    unseen = max(one.unseen for one in found)
    return Exposure(worst.confirmed, worst.followers, max(one.safe_at for one in found), unseen)


@dataclass(frozen=True, slots=True)
class Reach:
    """How many streams are enabled, and how many numbers the slowest of them is behind."""

    streams: int
    behind: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a stream is behind: how many events it is owed, and when the first of them happened."""

    events: int
    since: Instant | None


def advanced(stream: Stream, acked: Iterable[int], following: Iterable[Signal], end: int) -> StreamProgress:
    """The stream's progress with `acked` acknowledged; `following` are the events after its cursor, in order, up to `end`."""
    done = {*stream.acked_ahead, *(place for place in acked if place > stream.cursor)}
    cursor = end
    for signal in following:
        if signal.place not in done and stream.hears(signal):
            cursor = min(cursor, signal.place - 1)
            break
    cursor = max(cursor, stream.cursor)
    return StreamProgress(cursor, tuple(sorted(place for place in done if place > cursor)))


# -- subjects (RFC 9493, SSF 1.0 §3) ----------------------------------------------------------------------------------


def opaque(name: str) -> dict[str, str]:
    """A subject that is known by an identifier alone."""
    return {"format": "opaque", "id": name}


def person(issuer: str, subject: str) -> dict[str, str]:
    """A person at this provider."""
    return {"format": "iss_sub", "iss": issuer, "sub": subject}


def matches(asked: Subject, subject: Subject) -> bool:
    """Whether a subject that a receiver named is the one of an event, or a part of it (SSF 1.0 §8.1.3.1).

    An event without the member that was named is about somebody else: it is heard rather than missed.
    """
    if subject.get("format") != "complex":
        return asked == subject
    parts = {name: part for name, part in subject.items() if name != "format"}
    if asked.get("format") != "complex":
        return asked in parts.values()
    named = {name: part for name, part in asked.items() if name != "format"}
    return bool(named) and all(parts.get(name) == part for name, part in named.items())


# -- what is signed (RFC 8417) ----------------------------------------------------------------------------------------


def set_claims(issuer: str, audience: str, signal: Signal) -> dict[str, object]:
    """The claims of a SET: the same ones whoever makes it and whenever, for its `jti` names one thing."""
    payload = dict(signal.details)
    if signal.stream_id is None:
        payload["event_timestamp"] = int(signal.occurred_at)
    if signal.event in events.DEADLY:
        payload["tokens_until"] = int(signal.tokens_until) + 1
    return {
        "iss": issuer,
        "iat": int(signal.occurred_at),
        "jti": signal.signal_id,
        "txn": signal.txn,
        "aud": audience,
        "sub_id": signal.subject,
        "events": {signal.event: payload},
    }
