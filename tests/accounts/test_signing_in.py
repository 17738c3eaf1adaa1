"""Signing in: who it is, and the password's hash kept up to date."""
# ruff: noqa: RUF001 - look-alikes are what is tested

from unittest.mock import patch

import pytest

from idp.accounts.errors import PasswordsBusyError, SignInRefusedError, SignInThrottledError
from tests.accounts.site import PASSWORD, Site


def sign_in(site: Site, username: str = "alice", password: str = PASSWORD, device: str | None = None) -> str:
    return site.accounts.sign_in(username, password, "192.0.2.1", device).subject


@pytest.mark.parametrize("username", ["alice", "Alice", " ＡＬＩＣＥ "])
def test_any_spelling_of_the_name_signs_in(site: Site, username: str) -> None:
    alice = site.add()
    assert sign_in(site, username) == alice.subject


def test_a_hash_made_with_other_parameters_is_replaced_at_sign_in(site: Site) -> None:
    alice = site.add()
    later = site.restarted(accounts_argon2_time_cost=2)
    renewed = later.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None)
    assert renewed.password_hash != alice.password_hash
    assert "t=2" in renewed.password_hash
    with later.database.reading() as tx:
        assert later.accounts.get(tx, alice.subject) == renewed
    assert later.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None).password_hash == renewed.password_hash


def test_a_password_that_was_changed_meanwhile_is_not_overwritten_by_the_old_one(site: Site) -> None:
    alice = site.add()
    later = site.restarted(accounts_argon2_time_cost=2)
    changed = later.accounts.hash_password("alice", "another good password")
    verify = later.accounts._passwords.verify

    def verify_then_change(stored: str | None, password: str) -> bool:
        matches = verify(stored, password)
        with later.database.writing() as tx:
            later.accounts.set_password(tx, alice.subject, changed)
        return matches

    with patch.object(later.accounts._passwords, "verify", verify_then_change):
        assert later.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None).password_hash == alice.password_hash
    with later.database.reading() as tx:
        found = later.accounts.get(tx, alice.subject)
    assert found is not None
    assert found.password_hash == changed


def test_a_sign_in_succeeds_where_the_rehash_must_wait(site: Site) -> None:
    alice = site.add()
    later = site.restarted(accounts_argon2_time_cost=2)
    with patch.object(later.accounts._passwords, "hash", side_effect=PasswordsBusyError(5)):
        assert later.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None) == alice


def test_nothing_is_counted_when_nothing_was_checked(site: Site) -> None:
    site.add()
    busy = site.restarted(accounts_throttle_account_failures=1)
    with patch.object(busy.accounts._passwords, "verify", side_effect=PasswordsBusyError(5)):
        for _ in range(3):
            with pytest.raises(PasswordsBusyError):
                sign_in(busy)
    assert sign_in(busy)


def test_sign_ins_that_succeed_fill_no_bucket(site: Site) -> None:
    site.add()
    strict = site.restarted(accounts_throttle_account_failures=1, accounts_throttle_address_failures=1)
    for _ in range(5):
        assert sign_in(strict)


def test_buckets_are_emptied_by_the_clock_and_then_deleted(site: Site) -> None:
    site.add()
    strict = site.restarted(accounts_throttle_account_failures=1, accounts_throttle_window=60)
    with pytest.raises(SignInRefusedError):
        sign_in(strict, password="wrong")
    with pytest.raises(SignInThrottledError) as throttled:
        sign_in(strict)
    assert throttled.value.retry_after == 60
    with strict.database.writing() as tx:
        assert strict.accounts.tidy(tx) == 0
    strict.clock.move(60)
    with strict.database.writing() as tx:
        assert strict.accounts.tidy(tx) == 2
    assert sign_in(strict)


def test_a_window_is_not_prolonged_by_those_who_knock(site: Site) -> None:
    site.add()
    strict = site.restarted(accounts_throttle_account_failures=1, accounts_throttle_window=60)
    with pytest.raises(SignInRefusedError):
        sign_in(strict, password="wrong")
    for left in (60, 40, 20):
        with pytest.raises(SignInThrottledError) as throttled:
            sign_in(strict, password="wrong")
        assert throttled.value.retry_after == left
        strict.clock.move(20)
    assert sign_in(strict)


def test_a_clock_that_is_set_back_locks_nobody_out_for_days(site: Site) -> None:
    site.add()
    strict = site.restarted(accounts_throttle_account_failures=1, accounts_throttle_window=60)
    with pytest.raises(SignInRefusedError):
        sign_in(strict, password="wrong")
    strict.clock.move(-30)
    with pytest.raises(SignInThrottledError):
        sign_in(strict)
    strict.clock.move(-86400)
    assert sign_in(strict)
