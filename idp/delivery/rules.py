"""What a delivery is, what state it is in, and what follows from an attempt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TypeAlias
from zlib import crc32

from idp.runtime.clock import Instant
from idp.runtime.outbound.client import HttpReply

ID_BYTES = 16
FIRST_WAIT = 0.5
#: Seconds until what could not even be attempted is attempted, about.
SOON = 1.0
LONGEST_WAIT = 300.0
#: A relying party may ask for a longer rest than we would take ourselves, but not for the delivery's whole life.
LONGEST_RETRY_AFTER = 3600.0
#: A delivery that an operator sends again lives at least this long, though it had expired.
RETRY_LIFETIME = 3600.0
ERROR_LENGTH = 200
#: So many attempts in a row without an answer open a party's circuit: from then on one attempt at a time probes it.
CIRCUIT_FAILURES = 5
LONGEST_OPEN = 60.0

#: "This is no token that I take" (Back-Channel Logout 1.0 §2.8).
REFUSED = 400
_IN_ORDER = "stream "
_TIMEOUT = 408
_TOO_MANY_REQUESTS = 429


class DeliveryState(StrEnum):
    """Where a delivery stands. It is derived from its instants, and never stored."""

    WAITING = "waiting"
    IN_FLIGHT = "in-flight"
    DELIVERED = "delivered"
    DEAD = "dead"


class Verdict(StrEnum):
    """What an attempt means."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """What a room asks to have delivered. There is one for each (kind, client, once), however often it is asked.

    Without `once` there is one each time. With a `lane` of its own and a `place` it goes out strictly after whatever has a
    smaller place in that lane, and nothing that happens elsewhere delays it: the lane has a circuit of its own, too.
    """

    kind: str
    client_id: str
    sid: str | None
    once: str | None
    uri: str
    payload: Mapping[str, str]
    expires_at: Instant
    lane: str | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as it is stored. `payload` is what the composer of its `kind` needs, and holds no secret.

    What is in one `lane` goes out one after another, by `place` where it has one. `party` is whose circuit it depends on.
    """

    delivery_id: str
    kind: str
    client_id: str
    lane: str
    party: str
    place: int | None
    sid: str | None
    uri: str
    payload: Mapping[str, str]
    created_at: Instant
    expires_at: Instant
    next_attempt_at: Instant
    attempts: int
    leased_until: Instant | None
    delivered_at: Instant | None
    dead_at: Instant | None
    last_status: int | None
    last_error: str | None

    def state(self, now: Instant) -> DeliveryState:
        """Where it stands at `now`. An attempt whose lease ran out is waiting again."""
        if self.delivered_at is not None:
            return DeliveryState.DELIVERED
        if self.dead_at is not None:
            return DeliveryState.DEAD
        return DeliveryState.WAITING if self.leased_until is None or self.leased_until <= now else DeliveryState.IN_FLIGHT


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted, and what an answer means where its status alone does not say it as it does for a logout token.

    `hint` is for operators: what to look at when a party answers 400 that never took anything.
    """

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    judge: Callable[[HttpReply], Verdict] | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """A relying party that did not answer `failures` times in a row. Until `open_until` nothing is sent to it.

    `client_id` is the client's, or the name of a lane with a circuit of its own.
    """

    client_id: str
    failures: int
    failing_since: Instant
    open_until: Instant
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits: how much, and since when the oldest does."""

    depth: int
    oldest_at: Instant | None


Composer: TypeAlias = Callable[[Delivery, Instant], Message]


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt came to. `retry_after` is what the answer asked for, in seconds.

    `ours`: it failed before anything was sent, and nothing is held against the party. `again_in`: it is to be repeated after
    about so many seconds, however often it was. `hint` is the message's, where the answer was 400.
    """

    verdict: Verdict
    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    ours: bool = False
    again_in: float | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt's result writes into the delivery."""

    delivered_at: Instant | None
    dead_at: Instant | None
    next_attempt_at: Instant
    last_status: int | None
    last_error: str | None


def delivery_id(kind: str, client_id: str, once: str) -> str:
    """Of what is delivered once: always the same one, so that the primary key keeps the second out."""
    return sha256(f"{kind}\n{client_id}\n{once}".encode()).hexdigest()[: 2 * ID_BYTES]


def lane(client_id: str, sid: str | None, lanes: int) -> str:
    """In which of a client's lanes something goes: always in the same one for the same session, so that order is kept."""
    return client_id if lanes == 1 else f"{client_id} {crc32((sid or '').encode()) % lanes}"


def lane_in_order(name: str) -> str:
    """A lane of its own, in which everything has a place."""
    return f"{_IN_ORDER}{name}"


def is_in_order(lane: str) -> bool:
    """Whether what is in the lane has places. No `client_id` looks like that."""
    return lane.startswith(_IN_ORDER)


def judge(status: int) -> Verdict:
    """What an answer's status means (Back-Channel Logout 1.0 §2.8: 200, 400; some frameworks answer 204).

    A redirect is final: it is not followed, and will be answered again.
    """
    if 200 <= status < 300:  # noqa: PLR2004 - a class of HTTP statuses
        return Verdict.DELIVERED
    if 500 <= status < 600 or status in {_TIMEOUT, _TOO_MANY_REQUESTS}:  # noqa: PLR2004
        return Verdict.RETRY
    return Verdict.DEAD


def backoff(attempts: int, jitter: float) -> float:
    """Seconds to wait after `attempts` attempts; `jitter` in [0, 1) spreads those that failed together by ±25 %."""
    wait: float = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempts - 1, 32))
    return min(LONGEST_WAIT, _spread(wait, jitter))


def _spread(seconds: float, jitter: float) -> float:
    return seconds * (0.75 + jitter / 2)


def open_for(failures: int, jitter: float) -> float:
    """For how many seconds nothing is sent to a party after `failures` failures in a row; 0 while its circuit is closed."""
    if failures < CIRCUIT_FAILURES:
        return 0.0
    wait: float = min(LONGEST_OPEN, 2.0 ** min(failures - CIRCUIT_FAILURES, 16))
    return _spread(wait, jitter)


def outcome(delivery: Delivery, result: Result, now: Instant, jitter: float) -> Outcome:
    """What the result of an attempt that ended at `now` writes down."""
    wait = max(backoff(delivery.attempts, jitter), min(result.retry_after or 0.0, LONGEST_RETRY_AFTER))
    if result.again_in is not None:
        wait = _spread(result.again_in, jitter)
    return Outcome(
        delivered_at=now if result.verdict is Verdict.DELIVERED else None,
        dead_at=now if result.verdict is Verdict.DEAD else None,
        # It dies on time: an expired delivery is noticed when it is due.
        next_attempt_at=min(now + wait, delivery.expires_at),
        last_status=result.status,
        last_error=None if result.error is None else result.error[:ERROR_LENGTH],
    )
