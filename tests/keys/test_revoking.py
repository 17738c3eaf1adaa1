"""`idp key revoke`: the successor signs at once, and what the key signed is dead as soon as an instance hears of it."""

from collections.abc import Callable

import pytest

from idp.keys import ending
from idp.keys.ending import RevokedKey
from idp.keys.rules import REFRESH_SECONDS, KeyState
from idp.keys.service import InvalidTokenError, KeyService
from idp.runtime.database import Database
from tests.keys.conftest import POLICY
from tests.keys.grounds import Clock
from tests.keys.test_keeping_up import kid_of, published, states


def revoke(service: KeyService, kid: str) -> RevokedKey | None:
    """As `idp key revoke` does it."""
    spare = service.spare_for(kid)
    with service._database.writing() as tx:
        done = ending.mark_revoked(tx, service.policy, kid, "a test", spare)
    service.load()
    return done


def test_the_announced_successor_signs_at_once_and_the_next_is_announced(keys: KeyService, clock: Clock) -> None:
    first, second = (span.key.kid for span in keys.spans())
    token = keys.sign("JWT", {"sub": "x"}, clock.now)
    assert revoke(keys, first) == RevokedKey(first, "RS256", second)
    assert kid_of(keys.sign("JWT", {}, clock.now)) == second
    assert [key["kid"] for key in published(keys)] == [second]
    for as_hint in (False, True):
        with pytest.raises(InvalidTokenError):
            keys.verify(token, "JWT", clock.now, as_hint=as_hint)
    keys.keep_up()
    assert states(keys, clock) == [KeyState.REVOKED, KeyState.SIGNING, KeyState.ANNOUNCED]


def test_an_instance_whose_clock_is_behind_signs_with_the_successor_too(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock
) -> None:
    late = instance()
    clock.now += 3600
    first, second = (span.key.kid for span in keys.spans())
    revoke(keys, first)
    clock.now -= POLICY.clock_skew
    late.keep_up()
    assert kid_of(late.sign("JWT", {}, clock.now)) == second


def test_another_instance_hears_of_it_when_it_next_looks(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock
) -> None:
    other = instance()
    other.keep_up()
    token = other.sign("JWT", {"sub": "x"}, clock.now)
    revoke(keys, keys.spans()[0].key.kid)
    assert other.verify(token, "JWT", clock.now) == {"sub": "x"}
    clock.now += REFRESH_SECONDS
    other.keep_up()
    with pytest.raises(InvalidTokenError):
        other.verify(token, "JWT", clock.now)


def test_the_last_living_key_gets_a_successor_first(keys: KeyService, clock: Clock) -> None:
    first, second = (span.key.kid for span in keys.spans())
    assert revoke(keys, second) == RevokedKey(second, "RS256", None)
    done = revoke(keys, first)
    assert done is not None
    assert done.successor not in {None, first, second}
    assert kid_of(keys.sign("JWT", {}, clock.now)) == done.successor
    assert states(keys, clock) == [KeyState.REVOKED, KeyState.REVOKED, KeyState.SIGNING]


def test_an_announced_key_is_replaced_and_the_signing_one_goes_on(keys: KeyService, clock: Clock) -> None:
    first, second = (span.key.kid for span in keys.spans())
    revoke(keys, second)
    assert kid_of(keys.sign("JWT", {}, clock.now)) == first
    keys.keep_up()
    assert states(keys, clock) == [KeyState.SIGNING, KeyState.REVOKED, KeyState.ANNOUNCED]
    assert keys.spans()[2].key.active_at >= clock.now + POLICY.announcement


def test_a_verifying_key_dies_alone(keys: KeyService, clock: Clock) -> None:
    token = keys.sign("JWT", {"sub": "x"}, clock.now)
    clock.now = keys.spans()[1].key.active_at
    keys.keep_up()
    signing = kid_of(keys.sign("JWT", {}, clock.now))
    assert keys.verify(token, "JWT", clock.now)
    revoke(keys, kid_of(token))
    with pytest.raises(InvalidTokenError):
        keys.verify(token, "JWT", clock.now)
    assert kid_of(keys.sign("JWT", {}, clock.now)) == signing


def test_a_key_that_signed_for_a_moment_does_not_bring_back_the_one_before(keys: KeyService, clock: Clock) -> None:
    """What was retired stays retired, though the key that replaced it is dead."""
    first, second = (span.key.kid for span in keys.spans())
    clock.now = keys.spans()[1].key.active_at + 1
    keys.keep_up()
    done = revoke(keys, second)
    assert done is not None
    assert kid_of(keys.sign("JWT", {}, clock.now)) == done.successor != first
    assert kid_of(keys.sign("JWT", {}, clock.now - POLICY.clock_skew)) == done.successor


def test_revoking_twice_says_so_and_revoking_nothing_is_refused(keys: KeyService) -> None:
    first = keys.spans()[0].key.kid
    assert revoke(keys, first) is not None
    assert revoke(keys, first) is None
    with pytest.raises(LookupError, match="no key 'unknown'"):
        keys.spare_for("unknown")


def test_two_who_revoke_different_keys_at_once_leave_one_that_signs(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock, database: Database
) -> None:
    other = instance()
    other.load()
    first, second = (span.key.kid for span in keys.spans())
    spare, others = keys.spare_for(first), other.spare_for(second)
    assert spare is None
    assert others is not None
    with database.writing() as tx:
        ending.mark_revoked(tx, keys.policy, first, "one", spare)
    with database.writing() as tx:
        done = ending.mark_revoked(tx, keys.policy, second, "two", others)
    assert done is not None
    keys.keep_up()
    assert kid_of(keys.sign("JWT", {}, clock.now)) == done.successor == others.kid
