"""What an account tells, and what may be written in it."""

from dataclasses import replace

import pytest

from idp.accounts import rules
from idp.accounts.refusals import AccountRefusedError, PasswordsBusyError, SignInThrottledError
from idp.accounts.rules import Account
from idp.accounts.signed_in import SignedIn
from idp.sessions.rules import Session

ALICE = Account("s1", "Alice", "alice", "Alice Miller", "a@example.org", True, "$argon2id$", 1000.25, 2000.75, None)


def test_claims_are_those_that_the_scopes_ask_for() -> None:
    assert rules.claims(ALICE, ["openid"]) == {"sub": "s1"}
    assert rules.claims(ALICE, ["openid", "profile"]) == {
        "sub": "s1",
        "name": "Alice Miller",
        "preferred_username": "Alice",
        "updated_at": 2000,
    }
    assert rules.claims(ALICE, ["email", "offline_access", "unknown"]) == {
        "sub": "s1",
        "email": "a@example.org",
        "email_verified": True,
    }


def test_a_claim_without_a_value_is_left_out() -> None:
    bare = replace(ALICE, name=None, email=None, email_verified=False)
    assert rules.claims(bare, ["openid", "profile", "email"]) == {
        "sub": "s1",
        "preferred_username": "Alice",
        "updated_at": 2000,
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        ("  ", None),
        (" Alice  Miller ", "Alice  Miller"),
        ("Jose\u0301", "José"),
        ("O'Brien <b>", "O'Brien <b>"),
    ],
)
def test_a_name_is_kept_as_people_write_it(given: str | None, kept: str | None) -> None:
    assert rules.display_name(given) == kept


@pytest.mark.parametrize("name", ["rlo\u202e", "nul\x00", "a\nb", "x" * 129, "lone\ud800"])
def test_a_name_without_tricks(name: str) -> None:
    with pytest.raises(AccountRefusedError):
        rules.display_name(name)


@pytest.mark.parametrize("email", ["alice@example.org", "a.b+c@xn--bcher-kva.example", "用户@例子.公司"])
def test_an_email_address_is_kept(email: str) -> None:
    assert rules.email_address(f" {email} ") == email


@pytest.mark.parametrize(
    "email",
    [
        "alice",
        "@example.org",
        "a@b@c",
        "a b@example.org",
        "a@b\n",
        "a\x00@b",
        "a\u202e@b",
        f"{'a' * 250}@b.org",
        "<a@b>",
    ],
)
def test_what_is_no_email_address_is_refused(email: str) -> None:
    with pytest.raises(AccountRefusedError):
        rules.email_address(email if not email.endswith("\n") else f"{email}x")


def test_no_email_address_is_none() -> None:
    assert rules.email_address("") is None
    assert rules.email_address(None) is None


def test_waits_are_told_in_words() -> None:
    assert str(SignInThrottledError(59)).endswith("Try again in a minute.")
    assert str(SignInThrottledError(61)).endswith("Try again in 2 minutes.")
    assert str(PasswordsBusyError(5)).endswith("Try again in 5 seconds.")


def test_who_is_signed_in_does_not_print_the_cookie() -> None:
    session = Session("sid", "hash", "s1", 0, 0, 0, 0, "pwd", "", "", None, None)
    person = SignedIn(session, ALICE, "the secret")
    assert "the secret" not in repr(person)
    assert (person.is_authenticated, person.is_active, person.is_anonymous, person.get_id()) == (
        True,
        True,
        False,
        "the secret",
    )
