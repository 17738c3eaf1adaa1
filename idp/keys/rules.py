"""The schedule of signing keys: pure functions of rows, policy and time.

A key is published, later signs, later only verifies, and is then removed. A row plans two instants, `published_at` and
`active_at`; the rest follows: a key retires at the instant its successor becomes active, and is removed once everything
it signed has expired everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from idp.runtime.clock import Instant

#: How often an instance looks for what others did, in seconds: so late it may publish a key, or hear that one is revoked.
REFRESH_SECONDS = 2.0
#: The next key is made this long before it is announced, so that generating it delays no announcement.
LEAD = 60
#: Nobody signs with a revoked key any more after this many seconds, however long an instance stood still.
REVOCATION_GRACE = 60
#: Why the last key of a line was revoked that had lived out its time: whoever switches it on again begins anew.
SWITCHED_OFF = "switched off"


class KeyState(StrEnum):
    """What a key does at some moment; derived, never stored."""

    PLANNED = "planned"
    ANNOUNCED = "announced"
    SIGNING = "signing"
    VERIFYING = "verifying"
    REMOVED = "removed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class KeyPolicy:
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
    def announcement(self) -> float:
        """How long a key is published before it signs: until every cache has expired and every cool-down has passed.

        Twice, since a proxy's copy may be as old as a verifier's own; and instances publish a little apart.
        """
        return 2 * max(self.max_age, self.verifier_cooldown) + self.clock_skew + REFRESH_SECONDS

    @property
    def retention(self) -> int:
        """How long a key verifies after its last signature: the longest life of what it signed, on a slow clock."""
        return self.longest_life + self.clock_skew

    def problem(self) -> str | None:
        """Why this policy cannot hold, as a sentence, or None."""
        if self.rotation_period < self.announcement:
            return (
                f"IDP_KEYS_ROTATION_PERIOD ({self.rotation_period} s) is shorter than the {self.announcement:.0f} s for which"
                " a key must be announced before it signs: rotate less often or lower IDP_KEYS_JWKS_MAX_AGE."
            )
        return None


@dataclass(frozen=True, slots=True)
class Key:
    """A row: `predecessor` is the key before it in its line ('' for the first), unique, so that a race makes one.

    `announcement` and `retention` are the largest, in seconds, of all policies under which the key has lived: caches and
    tokens of before a change of policy obey the old one. `public` is the public JWK as JSON. `sealed` is what the `holder`
    (`idp.keys.backends`) understands of the private half, encrypted: that half itself, or what names it elsewhere.
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
    announcement: float
    retention: float


@dataclass(frozen=True, slots=True)
class KeyLifetime:
    """A key with all of its instants. `retired_at` and `removed_at` are None while no successor is planned."""

    key: Key
    retired_at: Instant | None
    removed_at: Instant | None

    def state(self, now: Instant) -> KeyState:
        """What the key does at `now`. A revocation is a fact for whoever knows of it, whatever their clock says."""
        if self.key.revoked_at is not None:
            return KeyState.REVOKED
        if now < self.key.published_at:
            return KeyState.PLANNED
        if now < self.key.active_at:
            return KeyState.ANNOUNCED
        if self.retired_at is None or now < self.retired_at:
            return KeyState.SIGNING
        return KeyState.VERIFYING if self.removed_at is not None and now < self.removed_at else KeyState.REMOVED

    def next_change(self, now: Instant) -> Instant | None:
        """The next instant after `now` at which its state changes."""
        if self.key.revoked_at is not None:
            return None
        instants = (self.key.published_at, self.key.active_at, self.retired_at, self.removed_at)
        return min((instant for instant in instants if instant is not None and instant > now), default=None)


def timeline(keys: Sequence[Key], alg: str, *, ends_after: float | None = None) -> list[KeyLifetime]:
    """One algorithm's line of keys, from each to its successor, each key with all of its instants.

    A key retires when a later one becomes active that was not revoked before that. A line that was switched off has no
    successor to wait for: with `ends_after` its last key retires so many seconds after it became active.
    """
    line = _chain([key for key in keys if key.alg == alg])
    spans = []
    for index, key in enumerate(line):
        last = None if ends_after is None else key.active_at + ends_after
        began = [
            other.active_at for other in line[index + 1 :] if other.revoked_at is None or other.active_at < other.revoked_at
        ]
        retired = min(began, default=last)
        spans.append(KeyLifetime(key, retired, None if retired is None else retired + key.retention))
    return spans


def _chain(keys: Sequence[Key]) -> list[Key]:
    """The keys in the order of their succession, which no change of their instants can upset."""
    successors = {key.predecessor: key for key in keys}
    line: list[Key] = []
    while (following := successors.get(line[-1].kid if line else "")) is not None:
        line.append(following)
    return line


def signing(spans: Sequence[KeyLifetime], now: Instant) -> KeyLifetime | None:
    """The one key of the line that signs at `now`."""
    return next((span for span in spans if span.state(now) is KeyState.SIGNING), None)


def published(spans: Sequence[KeyLifetime], now: Instant) -> list[KeyLifetime]:
    """The keys of the line that stand in the JWKS at `now`."""
    return [span for span in spans if span.state(now) in {KeyState.ANNOUNCED, KeyState.SIGNING, KeyState.VERIFYING}]


def next_change(spans: Sequence[KeyLifetime], now: Instant) -> Instant | None:
    """The next instant after `now` at which any of these keys changes its state."""
    return min((change for span in spans if (change := span.next_change(now)) is not None), default=None)


def next_publication(spans: Sequence[KeyLifetime], now: Instant) -> Instant | None:
    """The next instant after `now` at which the JWKS gains or loses a key."""
    instants = [
        instant
        for span in spans
        if span.key.revoked_at is None
        for instant in (span.key.published_at, span.removed_at)
        if instant is not None and instant > now
    ]
    return min(instants, default=None)


def is_disposable(span: KeyLifetime, now: Instant) -> bool:
    """Whether nobody can be signing with the key any more, not even an instance that has yet to hear of its revocation."""
    revoked_at = span.key.revoked_at
    return span.state(now) is KeyState.REMOVED or (revoked_at is not None and revoked_at + REVOCATION_GRACE <= now)


@dataclass(frozen=True, slots=True)
class WantedKeys:
    """A key that should exist and does not."""

    predecessor: str
    published_at: Instant
    active_at: Instant


def wanted(spans: Sequence[KeyLifetime], policy: KeyPolicy, now: Instant, *, caches: float | None = None) -> WantedKeys | None:
    """The next key of a line to create, or None when one signs and its successor is already planned.

    A key that nobody has fetched never signs, save where none is there to sign before it: at the very first start, which
    nobody can be waiting for, and after an emergency. A line that is switched on later announces its first key, too.
    `caches` is for how long caches of before must be allowed for (`announcement_of`); None at the very first start.
    """
    tail = spans[-1].key.kid if spans else ""
    living = [span.key for span in spans if span.key.revoked_at is None]
    announcement = max(policy.announcement, caches or 0.0)
    if not living:
        at_once = _emergency(spans) if spans else caches is None
        began = now - policy.clock_skew  # so that an instance whose clock is behind can sign with it, too
        return WantedKeys(tail, began, began) if at_once else WantedKeys(tail, now, now + announcement)
    newest = living[-1]
    if newest.active_at > now + min(LEAD, policy.announcement):
        return None
    published_at = max(newest.active_at, now)
    return WantedKeys(tail, published_at, max(newest.active_at + policy.rotation_period, published_at + announcement))


def _emergency(spans: Sequence[KeyLifetime]) -> bool:
    """Whether a line, of which no key is left, has signed and was not switched off: somebody waits for its next key."""
    signed = any(span.key.active_at < span.key.revoked_at for span in spans if span.key.revoked_at is not None)
    return signed and spans[-1].key.revoked_reason != SWITCHED_OFF


def announcement_of(spans: Sequence[KeyLifetime], now: Instant) -> float | None:
    """The longest announcement that any policy asked for under which these keys have lived; None where there are none."""
    lived = [span.key.announcement for span in spans if span.state(now) is not KeyState.REMOVED]
    return max(lived, default=0.0) if spans else None


def earliest_rotation(spans: Sequence[KeyLifetime], policy: KeyPolicy, now: Instant) -> tuple[Key, Instant] | None:
    """The announced successor, and the first instant at which it may sign; None when there is none.

    By then every verifier can know it, and every instance has heard of the change, by whatever clock it has: who has not
    would go on signing with a key whose time to be removed is counted already.
    """
    announced = next((span.key for span in spans if span.state(now) is KeyState.ANNOUNCED), None)
    if announced is None:
        return None
    needed = max(policy.announcement, announcement_of(spans, now) or 0.0)
    return announced, max(now + policy.clock_skew + 2 * REFRESH_SECONDS, announced.published_at + needed)


def successor(spans: Sequence[KeyLifetime], kid: str) -> Key | None:
    """The key that is to sign when `kid` no longer does: the next in its line that is not revoked."""
    following = [span.key for span in spans][next(i for i, span in enumerate(spans) if span.key.kid == kid) + 1 :]
    return next((key for key in following if key.revoked_at is None), None)
