"""A deployment and those who rely on it, as a machine that hypothesis drives through histories nobody thought of.

Instances are real `KeyService`s on one real database, each with a clock of its own. Time moves as it does: whoever runs
looks at the keys again within `REFRESH_SECONDS`. Two kinds of verifiers keep the JWKS: one exactly as long as it may, and
one longer, which asks again at an unknown `kid` once its cool-down has passed.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from idp.keys import ending
from idp.keys.keyring import PublicJwk, generate
from idp.keys.models import SigningKeyRow
from idp.keys.rules import LEAD, REFRESH_SECONDS, KeyPolicy, KeyState
from idp.keys.service import KeyService
from idp.runtime.database import Database
from idp.runtime.secrets import Secrets
from tests.keys.grounds import EPOCH, empty

SECRETS = Secrets((b"the secret of this deployment, long enough",))
INSTANCES, SKEW, COOLDOWN = 3, 6, 30
ALGORITHMS = (("RS256",), ("RS256", "ES256"))
POLICIES = st.builds(
    KeyPolicy,
    rotation_period=st.sampled_from([1_000, 2_000, 20_000]),
    max_age=st.sampled_from([1, 30, 300]),
    clock_skew=st.just(SKEW),
    longest_life=st.sampled_from([10, 600, 5_000]),
    verifier_cooldown=st.sampled_from([COOLDOWN, 60]),
).filter(lambda policy: policy.problem() is None)
_numbers = itertools.count()


@cache
def _template(alg: str) -> PublicJwk:
    return generate(2048, alg)[0]


class CheapHolder:
    """Makes keys at no cost: nothing is signed here, only who signs is asked."""

    name: ClassVar[str] = "cheap"

    def open(self) -> None: ...

    def close(self) -> None: ...

    def generate(self, alg: str) -> tuple[PublicJwk, bytes]:
        return _template(alg) | {"kid": f"k{next(_numbers)}"}, b"nothing"

    def signer(self, private: bytes, alg: str) -> "CheapHolder":
        return self

    def problem(self) -> None: ...

    def destroy(self, private: bytes) -> bool:
        return False


@dataclass
class Instance:
    """One process. It serves while `keys` is there."""

    database: Database
    offset: float = 0.0
    keys: KeyService | None = None


@dataclass
class Verifier:
    """A relying party's copy of the JWKS. `asks` is one that fetches again for a `kid` that it does not know."""

    asks: bool
    cooldown: float
    offset: float
    kids: frozenset[str] = frozenset()
    fetched_at: float = float("-inf")
    keeps_for: float = 0.0

    def fetch(self, now: float, document: tuple[frozenset[str], int]) -> None:
        self.kids, max_age = document
        self.fetched_at, self.keeps_for = now, 600.0 if self.asks else max_age

    def must_fetch(self, now: float, kid: str) -> bool:
        if now >= self.fetched_at + self.keeps_for:
            return True
        return self.asks and kid not in self.kids and now - self.fetched_at >= self.cooldown


class Histories(RuleBasedStateMachine):
    """Class attributes are set by whoever runs it: the instances' databases, which share one."""

    databases: ClassVar[list[Database]]
    now: ClassVar[list[float]] = [EPOCH]
    offsets: ClassVar[list[float]]

    def __init__(self) -> None:
        super().__init__()
        self.now[0] = EPOCH
        empty(self.databases[0], [SigningKeyRow])
        self.instances = [Instance(database) for database in self.databases]
        #: By `kid`: when the last token that it signed expires.
        self.tokens: dict[str, float] = {}
        self.revoked: dict[str, float] = {}
        #: Keys that nobody could be told of in time: the very first, and those that an emergency let sign.
        self.hurried: dict[str, float] = {}

    # -- what happens ---------------------------------------------------------------------------------------------

    @initialize(
        policy=POLICIES,
        algorithms=st.sampled_from(ALGORITHMS),
        offsets=st.lists(st.sampled_from([-SKEW / 2, 0.0, SKEW / 2]), min_size=INSTANCES + 4, max_size=INSTANCES + 4),
    )
    def begin(self, policy: KeyPolicy, algorithms: tuple[str, ...], offsets: list[float]) -> None:
        self.policy, self.algorithms = policy, algorithms
        self.offsets[:] = offsets[:INSTANCES]
        self.verifiers = [
            Verifier(asks, COOLDOWN, offset)
            for asks, offset in zip((False, False, True, True), offsets[INSTANCES:], strict=True)
        ]
        for instance in self.instances:
            self._start(instance)
        for span in self._running()[0].spans():
            if span.key.predecessor == "":
                self.hurried[span.key.kid] = self.now[0]

    @rule(seconds=st.sampled_from([1.0, 31.0, 301.0, 1_000.0, 3_000.0]))
    def time_passes(self, seconds: float) -> None:
        """From instant to instant at which something is planned; tokens are issued just before each, and at it."""
        until = self.now[0] + seconds
        while self.now[0] < until:
            following = min([until, *(at for at in self._planned() if at > self.now[0])])
            for instant in (max(self.now[0], following - 0.5), following):
                self.now[0] = instant
                self._everybody_signs()
            self._look()
            self._everybody_signs()

    @rule()
    def tokens_are_issued(self) -> None:
        self._everybody_signs()

    @rule(verifier=st.integers(0, 3), instance=st.integers(0, INSTANCES - 1))
    def somebody_fetches(self, verifier: int, instance: int) -> None:
        if self.instances[instance].keys is not None:
            self.verifiers[verifier].fetch(self.now[0], self._document(instance))

    @rule(instance=st.integers(0, INSTANCES - 1))
    def an_operator_rotates(self, instance: int) -> None:
        keys = self.instances[instance].keys
        if keys is not None:
            with suppress(LookupError):  # no successor is announced
                keys.rotate()
            self._later()

    @rule(
        instance=st.integers(0, INSTANCES - 1),
        chosen=st.sampled_from([KeyState.ANNOUNCED, KeyState.SIGNING, KeyState.VERIFYING]),
    )
    def an_operator_revokes(self, instance: int, chosen: KeyState) -> None:
        keys = self.instances[instance].keys
        if keys is None:
            return
        keys.load()
        found = [span.key for span in keys.spans() if span.state(self._clock(instance)) is chosen]
        if not found:
            return
        spare = keys.spare_for(found[0].kid)
        with self.instances[instance].database.writing() as tx:
            done = ending.mark_revoked(tx, keys.policy, found[0].kid, "a test", spare)
        assert done is not None
        self.revoked[found[0].kid] = self.now[0]
        if done.successor is not None:
            self.hurried[done.successor] = self.now[0]
        self._later()

    @rule(instance=st.integers(0, INSTANCES - 1))
    def an_instance_stops(self, instance: int) -> None:
        self.instances[instance].keys = None

    @rule(instance=st.integers(0, INSTANCES - 1))
    def an_instance_starts(self, instance: int) -> None:
        if self.instances[instance].keys is None:
            self._start(self.instances[instance])

    @rule(policy=POLICIES, algorithms=st.sampled_from(ALGORITHMS))
    def the_policy_changes(self, policy: KeyPolicy, algorithms: tuple[str, ...]) -> None:
        """Every instance is started again with other settings, one after the other."""
        self.policy, self.algorithms = policy, algorithms
        for instance in self.instances:
            if instance.keys is not None:
                self._start(instance)
        self._look()

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def one_key_signs(self) -> None:
        for number, instance in enumerate(self.instances):
            if instance.keys is None:
                continue
            now = self._clock(number)
            for alg in instance.keys.algorithms:
                line = instance.keys._keeper.ring.lines[alg]
                signing = [span.state(now) for span in line].count(KeyState.SIGNING)
                assert signing == 1 or (signing == 0 and alg != "RS256"), f"{signing} {alg} keys sign"

    def _everybody_signs(self) -> None:
        """Every instance issues a token by every algorithm, and everybody verifies."""
        for number, instance in enumerate(self.instances):
            for alg in () if instance.keys is None else instance.keys.algorithms:
                found = instance.keys._keeper.ring.signing(alg, self._clock(number))
                assert found is not None or alg != "RS256", "an instance that runs can always sign"
                if found is not None:
                    expires_at = self._clock(number) + instance.keys.policy.longest_life
                    self.tokens[found[0]] = max(expires_at, self.tokens.get(found[0], 0.0))
        self._everybody_verifies()

    def _everybody_verifies(self) -> None:
        """Every verifier looks at every token that is in time, as an honest library does."""
        now = self.now[0]
        self.tokens = {kid: expires_at for kid, expires_at in self.tokens.items() if expires_at + SKEW > now}
        for verifier in self.verifiers:
            for kid, expires_at in self.tokens.items():
                if expires_at <= now + verifier.offset:
                    continue
                if verifier.must_fetch(now, kid):
                    served = next((i for i, each in enumerate(self.instances) if each.keys is not None), None)
                    if served is None:
                        continue
                    verifier.fetch(now, self._document(served))
                self._judge(verifier, kid)

    def _judge(self, verifier: Verifier, kid: str) -> None:
        accepted = kid in verifier.kids
        revoked_at = self.revoked.get(kid)
        if revoked_at is None:
            hurried_at = self.hurried.get(kid)
            in_a_hurry = hurried_at is not None and verifier.fetched_at <= hurried_at + REFRESH_SECONDS
            assert accepted or in_a_hurry, f"a valid token of {kid} fails to verify"
        elif verifier.fetched_at > revoked_at + REFRESH_SECONDS:
            assert not accepted, f"a token of {kid}, which is revoked, is accepted after a fetch"

    # -- how it is done -------------------------------------------------------------------------------------------

    def _clock(self, number: int) -> float:
        return self.now[0] + self.offsets[number]

    def _running(self) -> list[KeyService]:
        return [instance.keys for instance in self.instances if instance.keys is not None]

    def _start(self, instance: Instance) -> None:
        instance.keys = KeyService(instance.database, SECRETS, self.policy, 2048, algorithms=self.algorithms, hsm=CheapHolder())
        instance.keys.keep_up()

    def _look(self) -> None:
        for keys in self._running():
            keys.keep_up()
        for keys in self._running():
            keys.load()

    def _later(self) -> None:
        """Everybody hears of a change, though none of them at once."""
        self._everybody_verifies()
        self.now[0] += REFRESH_SECONDS
        self._look()
        self._everybody_verifies()

    def _planned(self) -> Iterator[float]:
        for number, instance in enumerate(self.instances):
            if instance.keys is not None:
                for span in instance.keys.spans():
                    instants = (
                        span.key.published_at,
                        span.key.active_at - LEAD,
                        span.key.active_at,
                        span.retired_at,
                        span.removed_at,
                    )
                    yield from (at - self.offsets[number] for at in instants if at is not None)

    def _document(self, number: int) -> tuple[frozenset[str], int]:
        keys = self.instances[number].keys
        assert keys is not None
        document = keys.document()
        return frozenset(key["kid"] for key in json.loads(document.body)["keys"]), document.max_age
