"""The schedule of signing keys: pure functions of rows, policy and time.

A key is published, later signs, later only verifies, and is then removed. A row plans two instants, `published_at` and
`active_at`; the rest follows: a key retires at the instant its successor becomes active, and is removed once everything
it signed has expired everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from idp.runtime.clock import Instant

#: The next key is made this long before it is announced, so that generating it delays no announcement.
LEAD = 60
#: Instances hear of a revocation within seconds, and until then sign with the revoked key.
REVOCATION_GRACE = 60


class State(StrEnum):
    """What a key does at some moment; derived, never stored."""

    PLANNED = "planned"
    ANNOUNCED = "announced"
    SIGNING = "signing"
    VERIFYING = "verifying"
    REMOVED = "removed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator decides, in seconds; the bounds that must hold follow from it and cannot be set apart.

    `verifier_cooldown` is how long a verifier waits after *any* fetch of a JWKS before an unknown `kid` makes it fetch
    again: 30 s in jose and PyJWT.
    """

    rotation_period: int
    max_age: int
    clock_skew: int
    longest_life: int
    verifier_cooldown: int = 30

    @property
    def announcement(self) -> int:
        """How long a key is published before it signs: every cache has expired, and every cool-down passed, once more."""
        return 2 * max(self.max_age, self.verifier_cooldown) + self.clock_skew

    @property
    def retention(self) -> int:
        """How long a key verifies after its last signature: the longest life of what it signed, on a slow clock."""
        return self.longest_life + self.clock_skew

    def problem(self) -> str | None:
        """Why this policy cannot hold, as a sentence, or None."""
        if self.rotation_period < self.announcement:
            return (
                f"IDP_KEYS_ROTATION_PERIOD ({self.rotation_period} s) is shorter than the {self.announcement} s for which"
                " a key must be announced before it signs: rotate less often or lower IDP_KEYS_JWKS_MAX_AGE."
            )
        return None


@dataclass(frozen=True, slots=True)
class Key:
    """A row: `predecessor` is the key before it in its line ('' for the first), unique, so that a race makes one.

    `public` is the public JWK as JSON. `sealed` is what the `holder` (`idp.keys.holders`) understands of the private half,
    encrypted: that half itself, or what names it elsewhere.
    """

    kid: str
    alg: str
    predecessor: str
    published_at: Instant
    active_at: Instant
    revoked_at: Instant | None
    revoked_reason: str | None
    public: str
    sealed: bytes
    holder: str


@dataclass(frozen=True, slots=True)
class Span:
    """A key with all of its instants. `retired_at` and `removed_at` are None while no successor is planned."""

    key: Key
    retired_at: Instant | None
    removed_at: Instant | None

    def state(self, now: Instant) -> State:
        """What the key does at `now`."""
        if self.key.revoked_at is not None and self.key.revoked_at <= now:
            return State.REVOKED
        if now < self.key.published_at:
            return State.PLANNED
        if now < self.key.active_at:
            return State.ANNOUNCED
        if self.retired_at is None or now < self.retired_at:
            return State.SIGNING
        return State.VERIFYING if self.removed_at is not None and now < self.removed_at else State.REMOVED


def timeline(keys: Sequence[Key], policy: Policy, alg: str) -> list[Span]:
    """One algorithm's line of keys in the order in which they sign, each with all of its instants."""
    line = sorted((key for key in keys if key.alg == alg), key=lambda key: (key.active_at, key.kid))
    living = [key for key in line if key.revoked_at is None]
    spans = []
    for key in line:
        successor = next((other for other in living if (other.active_at, other.kid) > (key.active_at, key.kid)), None)
        retired = successor.active_at if successor else None
        spans.append(Span(key, retired, retired + policy.retention if retired is not None else None))
    return spans


def signing(spans: Sequence[Span], now: Instant) -> Span | None:
    """The one key of the line that signs at `now`."""
    return next((span for span in spans if span.state(now) is State.SIGNING), None)


def published(spans: Sequence[Span], now: Instant) -> list[Span]:
    """The keys of the line that stand in the JWKS at `now`."""
    return [span for span in spans if span.state(now) in {State.ANNOUNCED, State.SIGNING, State.VERIFYING}]


def is_disposable(span: Span, now: Instant) -> bool:
    """Whether nobody can be signing with the key any more, not even an instance that has yet to hear of its revocation."""
    revoked_at = span.key.revoked_at
    return span.state(now) is State.REMOVED or (revoked_at is not None and revoked_at + REVOCATION_GRACE <= now)


def next_change(spans: Sequence[Span], now: Instant) -> Instant | None:
    """The next instant after `now` at which any key of the line changes its state."""
    instants = [
        instant
        for span in spans
        if span.key.revoked_at is None
        for instant in (span.key.published_at, span.key.active_at, span.retired_at, span.removed_at)
        if instant is not None and instant > now
    ]
    return min(instants, default=None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key that should exist and does not."""

    predecessor: str
    published_at: Instant
    active_at: Instant


def wanted(spans: Sequence[Span], policy: Policy, now: Instant) -> Wanted | None:
    """The next key to create, or None when one signs and its successor is already planned.

    From the very first start one key signs and its successor is published: a key that nobody has fetched never signs,
    save the first of all, which nobody can be waiting for.
    """
    named = {span.key.predecessor for span in spans}
    tail = next((span.key.kid for span in spans if span.key.kid not in named), "")
    living = [span.key for span in spans if span.key.revoked_at is None]
    if not living:
        began = now - policy.clock_skew  # so that an instance whose clock is behind can sign with it, too
        return Wanted(tail, published_at=began, active_at=began)
    newest = living[-1]
    if newest.active_at > now + min(LEAD, policy.announcement):
        return None
    published_at = max(newest.active_at, now)
    return Wanted(tail, published_at, max(newest.active_at + policy.rotation_period, published_at + policy.announcement))


def earliest_rotation(spans: Sequence[Span], policy: Policy, now: Instant) -> tuple[Key, Instant] | None:
    """The announced successor, and the first instant at which every verifier can know it; None when there is none."""
    announced = next((span.key for span in spans if span.state(now) is State.ANNOUNCED), None)
    return None if announced is None else (announced, max(now, announced.published_at + policy.announcement))
