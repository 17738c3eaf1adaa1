"""The schedule of keys, by the clock alone: published before it signs, verifying after, and always exactly one signs."""

from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from idp.keys import rules
from idp.keys.rules import LEAD, REFRESH_SECONDS, Key, KeyPolicy, KeyState

NOW = 1_800_000_000.0
ALG = "RS256"
POLICY = KeyPolicy(rotation_period=86_400, max_age=300, clock_skew=60, longest_life=600)

POLICIES = st.builds(
    KeyPolicy,
    rotation_period=st.integers(1, 10**7),
    max_age=st.integers(1, 10**5),
    clock_skew=st.integers(0, 10**3),
    longest_life=st.integers(1, 10**6),
).filter(lambda policy: policy.problem() is None)


def key(kid: str, predecessor: str, published_at: float, active_at: float) -> Key:
    return Key(kid, ALG, predecessor, published_at, active_at, None, None, "{}", b"", "database", 0.0, 0.0)


class Deployment:
    """Keys that are created as the schedule asks, at the moments at which somebody looks."""

    def __init__(self, policy: KeyPolicy) -> None:
        self.policy = policy
        self.keys: list[Key] = []

    def keep_up(self, now: float) -> None:
        while (want := rules.wanted(self.spans, self.policy, now)) is not None:
            assert want.predecessor not in {key.predecessor for key in self.keys}, "no key has two successors"
            made = key(f"k{len(self.keys):04}", want.predecessor, want.published_at, want.active_at)
            bounds = {"announcement": self.policy.announcement, "retention": self.policy.retention}
            self.keys.append(replace(made, **bounds))
            assert len(self.keys) < 10_000

    @property
    def spans(self) -> list[rules.KeyLifetime]:
        return rules.timeline(self.keys, ALG)

    def rotate(self, now: float) -> None:
        planned = rules.earliest_rotation(self.spans, self.policy, now)
        if planned is not None and planned[0].active_at > planned[1]:
            self.keys = [replace(each, active_at=planned[1]) if each == planned[0] else each for each in self.keys]

    def check(self, now: float) -> None:
        """What must hold at every moment."""
        spans = self.spans
        assert [span.state(now) for span in spans].count(KeyState.SIGNING) == 1
        for span in spans:
            if span.key.predecessor != "":
                announced = span.key.active_at - span.key.published_at
                assert announced >= self.policy.announcement, "a key that nobody could have fetched would sign"
            if span.retired_at is not None and span.removed_at is not None:
                assert span.removed_at - span.retired_at >= self.policy.longest_life + self.policy.clock_skew
        published = {span.key.kid for span in rules.published(spans, now)}
        assert {span.key.kid for span in spans if span.state(now) is KeyState.SIGNING} <= published


def test_at_the_very_first_start_one_key_signs_and_its_successor_is_published() -> None:
    deployment = Deployment(POLICY)
    deployment.keep_up(NOW)
    assert [span.state(NOW) for span in deployment.spans] == [KeyState.SIGNING, KeyState.ANNOUNCED]
    assert len(rules.published(deployment.spans, NOW)) == 2


def test_the_successor_signs_when_its_turn_comes_and_the_old_key_verifies_until_its_last_token_expired() -> None:
    deployment = Deployment(POLICY)
    deployment.keep_up(NOW)
    first, second = deployment.spans
    turn = second.key.active_at
    assert abs(turn - NOW - POLICY.rotation_period) <= POLICY.clock_skew
    assert rules.signing(deployment.spans, turn - 0.001) == first
    assert rules.signing(deployment.spans, turn) == second
    assert first.state(turn) is KeyState.VERIFYING
    assert first.state(turn + POLICY.retention - 0.001) is KeyState.VERIFYING
    assert first.state(turn + POLICY.retention) is KeyState.REMOVED


def test_the_next_successor_is_made_a_little_before_it_must_be_published() -> None:
    deployment = Deployment(POLICY)
    deployment.keep_up(NOW)
    turn = deployment.spans[1].key.active_at
    assert rules.wanted(deployment.spans, POLICY, turn - LEAD - 0.001) is None
    want = rules.wanted(deployment.spans, POLICY, turn - LEAD)
    assert want is not None
    assert want.published_at == turn
    assert want.active_at == turn + POLICY.rotation_period


def test_a_key_is_announced_for_twice_the_time_that_a_verifier_may_not_look() -> None:
    assert POLICY.announcement == 2 * POLICY.max_age + POLICY.clock_skew + REFRESH_SECONDS
    quick = replace(POLICY, max_age=5)
    assert quick.announcement == 2 * quick.verifier_cooldown + quick.clock_skew + REFRESH_SECONDS


def test_a_period_that_is_too_short_to_announce_in_is_refused_in_one_sentence() -> None:
    assert POLICY.problem() is None
    assert replace(POLICY, rotation_period=int(POLICY.announcement)).problem() is None
    problem = replace(POLICY, rotation_period=int(POLICY.announcement) - 1).problem()
    assert problem is not None
    assert "IDP_KEYS_ROTATION_PERIOD" in problem
    assert problem.count(". ") == 0


def test_an_operators_rotation_waits_until_every_verifier_can_know_the_key() -> None:
    deployment = Deployment(POLICY)
    deployment.keep_up(NOW)
    planned = rules.earliest_rotation(deployment.spans, POLICY, NOW + 10)
    assert planned is not None
    assert planned[1] == NOW + POLICY.announcement
    planned = rules.earliest_rotation(deployment.spans, POLICY, NOW + 5000)
    assert planned is not None
    assert planned[1] == NOW + 5000 + POLICY.clock_skew + 2 * REFRESH_SECONDS


def test_nothing_can_be_rotated_when_nothing_is_announced() -> None:
    assert rules.earliest_rotation([], POLICY, NOW) is None
    alone = rules.timeline([key("a", "", NOW, NOW)], ALG)
    assert rules.earliest_rotation(alone, POLICY, NOW) is None


def test_a_line_holds_the_keys_of_one_algorithm_only() -> None:
    other = replace(key("b", "", NOW, NOW), alg="ES256")
    assert [span.key.kid for span in rules.timeline([other, key("a", "", NOW, NOW)], ALG)] == ["a"]


def test_a_revoked_key_neither_signs_nor_verifies_nor_is_published() -> None:
    deployment = Deployment(POLICY)
    deployment.keep_up(NOW)
    deployment.keys[0] = replace(deployment.keys[0], revoked_at=NOW + 5, revoked_reason="stolen")
    spans = deployment.spans
    assert spans[0].state(NOW + 5) is KeyState.REVOKED
    assert spans[0].key.kid not in {span.key.kid for span in rules.published(spans, NOW + 5)}


def test_a_successor_that_was_revoked_does_not_stop_the_line() -> None:
    deployment = Deployment(POLICY)
    deployment.keep_up(NOW)
    deployment.keys[1] = replace(deployment.keys[1], revoked_at=NOW + 5, revoked_reason="stolen")
    deployment.keep_up(NOW + 10)
    assert deployment.keys[-1].revoked_at is None
    assert rules.signing(deployment.spans, NOW + 10) is not None


def test_a_start_that_was_cut_off_after_the_first_key_announces_the_second_one_properly() -> None:
    first = key("k0000", "", NOW, NOW)
    later = NOW + 2 * POLICY.rotation_period
    want = rules.wanted(rules.timeline([first], ALG), POLICY, later)
    assert want is not None
    assert want.active_at - want.published_at >= POLICY.announcement


STEPS = st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["look", "rotate"])), min_size=1, max_size=12)


@given(POLICIES, STEPS)
@example(POLICY, [(2.5, "look"), (0.1, "rotate"), (0.0, "rotate"), (1.0, "look")])
@settings(deadline=None)
def test_whenever_somebody_looks_exactly_one_key_signs_and_everybody_could_know_it(
    policy: KeyPolicy, steps: list[tuple[float, str]]
) -> None:
    """A deployment may sleep for several periods, and an operator may rotate at any moment."""
    deployment = Deployment(policy)
    now = NOW
    deployment.keep_up(now)
    for periods, what in steps:
        before, now = now, now + periods * policy.rotation_period
        for moment in (before, (before + now) / 2, now):
            deployment.check(moment)
        deployment.keep_up(now)
        if what == "rotate":
            deployment.rotate(now)
            deployment.keep_up(now)
        deployment.check(now)


@given(POLICIES, st.floats(0, 3))
@settings(deadline=None)
def test_the_document_changes_only_at_the_instants_that_are_foretold(policy: KeyPolicy, periods: float) -> None:
    deployment = Deployment(policy)
    deployment.keep_up(NOW)
    now = NOW + periods * policy.rotation_period
    deployment.keep_up(now)
    change = rules.next_change(deployment.spans, now)
    assume(change is not None)
    assert change is not None
    just_before = [span.state(now) for span in deployment.spans]
    assert [span.state(max(now, change - 0.001)) for span in deployment.spans] == just_before
    assert [span.state(change) for span in deployment.spans] != just_before


def test_every_state_has_its_instant() -> None:
    planned = rules.timeline([key("a", "", NOW, NOW), key("b", "a", NOW + 10, NOW + 20)], ALG)[1]
    assert [planned.state(NOW + at) for at in (0, 9.99, 10, 19.99, 20)] == [
        KeyState.PLANNED,
        KeyState.PLANNED,
        KeyState.ANNOUNCED,
        KeyState.ANNOUNCED,
        KeyState.SIGNING,
    ]


@pytest.mark.parametrize("policy", [POLICY])
def test_nothing_is_wanted_while_a_successor_is_planned(policy: KeyPolicy) -> None:
    deployment = Deployment(policy)
    deployment.keep_up(NOW)
    assert rules.wanted(deployment.spans, policy, NOW + policy.rotation_period / 2) is None
