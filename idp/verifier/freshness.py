"""How fresh the knowledge of endings is, as an age by the clock that never jumps (ADR 0015)."""

from dataclasses import dataclass
from math import inf

from idp.verifier.errors import StaleError
from idp.verifier.rules import Claims


@dataclass(frozen=True, slots=True)
class FreshnessProof:
    """Everything that ended before `confirmed_at` was known."""

    confirmed_at: float
    max_staleness: float | None

    def age(self, now: float) -> float:
        """Seconds since then; infinite when nothing was ever proved."""
        return now - self.confirmed_at

    def is_stale(self, now: float) -> bool:
        """Whether it is older than it may be."""
        return self.max_staleness is not None and self.age(now) > self.max_staleness

    def check(self, claims: Claims, now: float) -> None:
        """Raise StaleError where it is."""
        if self.is_stale(now):
            age = self.age(now)
            known = "nothing is known of endings yet" if age == inf else f"what is known of endings is {age:.1f} s old"
            raise StaleError(known, claims)


class Freshness:
    """The youngest instant of which it is proved that everything that ended before it is known.

    It is when the request was *sent* whose answer proved it: what ended while the answer was on its way may be missing.
    """

    def __init__(self, max_staleness: float | None) -> None:
        """None is for sources that prove nothing by silence."""
        self.max_staleness = max_staleness
        self._proof = FreshnessProof(-inf, max_staleness)

    def confirm(self, sent_at: float) -> None:
        """Everything that ended before `sent_at` is known. Called after it was taken in, never before."""
        if sent_at > self._proof.confirmed_at:
            self._proof = FreshnessProof(sent_at, self.max_staleness)

    def has_ended(self, _place: str) -> bool:
        """It knows of no status list."""
        return False

    def has_left(self, _uri: str) -> bool:
        """It needs none."""
        return False

    def proof(self) -> FreshnessProof:
        """The youngest one."""
        return self._proof

    def age(self, now: float) -> float:
        """Seconds since that; infinite when nothing was ever proved."""
        return self._proof.age(now)

    def is_stale(self, now: float) -> bool:
        """Whether it is older than it may be."""
        return self._proof.is_stale(now)
