"""Adding, finding and disabling people, on both databases."""
# ruff: noqa: RUF001 - look-alikes are what is tested

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from idp.accounts.errors import AccountRefusedError, PasswordRefusedError, UsernameRefusedError
from idp.accounts.rules import Account, NewAccount
from idp.sessions.rules import SignIn
from tests.accounts.site import PASSWORD, Site


def test_an_account_is_found_by_any_spelling_of_its_name_and_by_its_subject(site: Site) -> None:
    alice = site.add("Alice", name="Alice Miller", email="a@example.org")
    with site.database.reading() as tx:
        assert site.accounts.find(tx, " ALICE ") == alice
        assert site.accounts.get(tx, alice.subject) == alice
        assert site.accounts.find(tx, "bob") is None
        assert site.accounts.find(tx, "nul\x00") is None
        assert site.accounts.get(tx, "nobody") is None
    assert (alice.username, alice.name, alice.email, alice.email_verified) == (
        "Alice",
        "Alice Miller",
        "a@example.org",
        False,
    )
    assert alice.created_at == alice.updated_at == site.clock.now
    assert len(alice.subject) >= 22
    assert PASSWORD not in repr(alice)


def test_accounts_are_listed_by_name(site: Site) -> None:
    for name in ("carol", "Alice", "bob"):
        site.add(name)
    with site.database.reading() as tx:
        assert [account.username for account in site.accounts.listed(tx)] == ["Alice", "bob", "carol"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ALICE", "is taken"),
        ("ａｌｉｃｅ", "is taken"),
        ("aIice", "looks like"),
        ("а1ісе".replace("1", "ӏ"), "looks like"),
    ],
)
def test_a_name_is_given_once_and_so_is_its_likeness(site: Site, name: str, why: str) -> None:
    site.add("alice")
    with pytest.raises(UsernameRefusedError, match=why):
        site.add(name)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(("alice", "ALICE", "aIice"), 2)))
def test_which_of_two_alike_came_first_makes_no_difference(site: Site, first: str, second: str) -> None:
    site.add(first)
    with pytest.raises(UsernameRefusedError):
        site.add(second)


def test_what_a_refused_name_prints_like_is_left_to_others(site: Site) -> None:
    site.add("lan")
    with pytest.raises(UsernameRefusedError):
        site.add("Ian")  # prints like `lan`; may be typed as `ian`, which nobody has
    site.add("ian")


def test_of_many_who_want_a_name_at_once_one_gets_it(site: Site) -> None:
    new = [site.accounts.prepare(name, PASSWORD) for name in ("ALICE", "aIice", "alice", "Alice") * 3]

    def add(wanted: NewAccount) -> Account | None:
        try:
            with site.database.writing() as tx:
                return site.accounts.add(tx, wanted)
        except UsernameRefusedError:
            return None

    with ThreadPoolExecutor(12) as pool:
        added = list(pool.map(add, new))
    assert sum(account is not None for account in added) == 1


def test_what_may_not_be_is_refused_before_anything_is_written(site: Site) -> None:
    with pytest.raises(UsernameRefusedError):
        site.accounts.prepare("two words", PASSWORD)
    with pytest.raises(PasswordRefusedError):
        site.accounts.prepare("alice", "short")
    with pytest.raises(AccountRefusedError):
        site.accounts.prepare("alice", PASSWORD, email="nowhere")


def test_an_address_is_verified_only_where_there_is_one(site: Site) -> None:
    assert site.accounts.prepare("alice", PASSWORD, email="a@example.org", email_verified=True).claims["email_verified"]
    assert "email_verified" not in site.accounts.prepare("alice", PASSWORD, email_verified=True).claims


def test_disabling_an_account_ends_everything_of_it_once(site: Site) -> None:
    alice = site.add()
    site.session_of(alice)
    site.session_of(alice)
    assert site.disable(alice) == 2
    assert site.disable(alice) is None
    assert site.logout.calls == [("account", alice.subject, "account_disabled")]
    assert site.live(alice) == []
    with site.database.reading() as tx:
        disabled = site.accounts.get(tx, alice.subject)
    assert disabled == replace(alice, disabled_at=site.clock.now)


def test_a_disabled_account_cannot_be_held_until_it_is_enabled_again(site: Site) -> None:
    alice = site.add()
    site.disable(alice)
    with site.database.writing() as tx:
        assert site.accounts.hold(tx, alice.subject) is None
        assert site.accounts.enable(tx, alice.subject)
        assert not site.accounts.enable(tx, alice.subject)
        assert site.accounts.hold(tx, alice.subject) == alice


def test_an_account_that_is_disabled_while_somebody_signs_in_keeps_no_session(site: Site) -> None:
    """Whoever starts a session holds the account; disabling waits for the commit, and then ends what was started."""
    alice = site.add()
    with ThreadPoolExecutor(1) as pool:
        with site.database.writing() as tx:
            assert site.accounts.hold(tx, alice.subject) is not None
            disabling = pool.submit(site.disable, alice)
            site.sessions.start(tx, SignIn(alice.subject, "pwd", "192.0.2.7", ""))
        assert disabling.result(20) == 1
    assert site.live(alice) == []


def test_another_password_replaces_the_one_before(site: Site) -> None:
    alice = site.add()
    another = site.accounts.hash_password(alice.username, "another good password")
    with site.database.writing() as tx:
        assert site.accounts.set_password(tx, alice.subject, another) == 0
        assert site.accounts.set_password(tx, "nobody", another) is None
    assert site.accounts.sign_in("alice", "another good password", "192.0.2.1", None).subject == alice.subject
    with pytest.raises(PasswordRefusedError):
        site.accounts.hash_password("alice", "password1")
