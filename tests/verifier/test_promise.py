"""The worst moments: another thread learns something in the middle of a judgement. What it learnt must not be passed over.

Each of these was accepted once, on a busy machine: a token whose ending came together with the proof that it was all.
"""

import json
from collections.abc import Callable, Iterator, Mapping

import pytest

from idp.verifier import StaleError, TokenError
from idp.verifier.claims import Expected
from idp.verifier.clock import HeldClock
from idp.verifier.core import Core
from idp.verifier.events import Ended
from idp.verifier.freshness import Freshness
from idp.verifier.revocations import Revocations
from idp.verifier.rules import Ending, Kind
from tests.verifier.signing import access_token, key

ISSUER = "https://idp.example"
STALENESS = 5.0
NOW = 2_000_000_000.0


class Clock:
    """Both clocks stand where they are put."""

    def __init__(self) -> None:
        self.day, self.passed = NOW, 100.0

    def wall(self) -> float:
        return self.day

    def elapsed(self) -> float:
        return self.passed


class Interrupted(Revocations):
    """`first` happens once, right before something is looked up, and `then` right after it."""

    first: Callable[[], object] | None = None
    then: Callable[[], object] | None = None

    def find(self, claims: Mapping[str, object], kid: str | None) -> tuple[Kind, str] | None:
        first, self.first = self.first, None
        if first is not None:
            first()
        found, then, self.then = super().find(claims, kid), self.then, None
        if then is not None:
            then()
        return found


class InterruptedKeys(dict[str, object]):
    """`then` happens once, right after a key was looked up."""

    then: Callable[[], object] | None = None

    def get(self, name: object, default: object = None) -> object:
        found, then, self.then = super().get(str(name), default), self.then, None
        if then is not None:
            then()
        return found


class Judge:
    """A core that is fresh at first, and what another thread may do to it."""

    def __init__(self) -> None:
        self.clock, self.fresh = Clock(), Freshness(STALENESS)
        expected = Expected(ISSUER, frozenset({ISSUER}), "at+jwt", 0.0, 16_384)
        self.core = Core(expected, HeldClock(self.clock), self.fresh)
        self.interrupted = self.core.revocations = Interrupted(expected.leeway)
        self.publish("one", lasting=60.0)
        self.fresh.confirm(self.clock.passed)
        self.token = access_token(ISSUER, sid="s", exp=int(NOW) + 30)

    def publish(self, *kids: str, lasting: float) -> None:
        keys = {"keys": [key(kid).as_dict(private=False) for kid in kids]}
        self.core.keys.take(json.dumps(keys).encode(), None, self.clock.passed, lasting)

    def hear(self) -> None:
        """The session has ended, and that is all: what a poll's answer says."""
        self.core.take_in([Ended(Ending("sid", "s", "a test", NOW), NOW + 30)])
        self.fresh.confirm(self.clock.passed)


@pytest.fixture
def judge() -> Iterator[Judge]:
    made = Judge()
    assert made.core.judge(made.token)["sid"] == "s"
    return made


def test_an_ending_that_comes_with_its_own_proof_is_not_passed_over(judge: Judge) -> None:
    judge.clock.passed += STALENESS + 1
    judge.interrupted.then = judge.hear
    with pytest.raises(StaleError):
        judge.core.judge(judge.token)
    with pytest.raises(TokenError, match="ended"):
        judge.core.judge(judge.token)


def test_a_key_that_leaves_while_the_others_are_seen_again_verifies_nothing_any_more(judge: Judge) -> None:
    keys = InterruptedKeys(judge.core.keys.keys)
    judge.core.keys.keys = keys
    judge.clock.passed += 60.0 + STALENESS + 1
    judge.fresh.confirm(judge.clock.passed)
    keys.then = lambda: judge.publish("two", lasting=60.0)
    with pytest.raises(StaleError):
        judge.core.judge(judge.token)


def test_an_ending_that_is_forgotten_as_expired_leaves_an_expired_token(judge: Judge) -> None:
    judge.hear()

    def a_minute_later() -> None:
        judge.clock.day += 120
        judge.core.tidy()

    judge.interrupted.first = a_minute_later
    for _ in range(2):
        with pytest.raises(TokenError):
            judge.core.judge(judge.token)
    assert judge.core.revocations.count()["sid"] == 0
