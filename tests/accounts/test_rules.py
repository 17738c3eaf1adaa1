"""What an account tells, and what may be written in it."""

from dataclasses import replace

import pytest

from idp.accounts import rules
from idp.accounts.errors import AccountRefusedError, PasswordsBusyError, SignInThrottledError
from idp.accounts.rules import Account
from idp.accounts.signed_in import SignedIn
from idp.sessions.rules import Session

ALICE = Account("s1", "Alice", "alice", "Alice Miller", "a@example.org", True, "$argon2id$", 1000.25, 2000.75, None)


def test_claims_are_those_that_are_asked_for_and_have_a_value() -> None:
    assert rules.claims(ALICE, []) == {}
    assert rules.claims(ALICE, ["name", "preferred_username", "updated_at", "nickname", "unknown", "sub"]) == {
        "name": "Alice Miller",
        "preferred_username": "Alice",
        "updated_at": 2000,
    }
    assert rules.claims(ALICE, ["email", "email_verified"]) == {"email": "a@example.org", "email_verified": True}


def test_whether_something_is_verified_is_told_only_of_what_is_there() -> None:
    bare = replace(ALICE, email=None, email_verified=True)
    both = ["email", "email_verified", "phone_number", "phone_number_verified"]
    assert rules.claims(bare, both) == {}
    assert rules.claims(replace(bare, phone_number="+14255551212"), both) == {
        "phone_number": "+14255551212",
        "phone_number_verified": False,
    }


def test_an_address_is_told_as_an_object() -> None:
    there = replace(ALICE, address={"locality": "Wonderland", "country": "GB"})
    assert rules.claims(there, ["address"]) == {"address": {"locality": "Wonderland", "country": "GB"}}


EVERYTHING = "openid profile email address phone"


def test_scopes_tell_at_userinfo_what_stands_in_them() -> None:
    assert rules.may_be_told("openid email", EVERYTHING, None, "userinfo") == {"sub", "email", "email_verified"}


def test_what_is_asked_for_by_name_is_told_in_its_place_alone() -> None:
    stored = '{"id_token":{"nickname":null},"userinfo":{"email":{"essential":true}}}'
    assert rules.may_be_told("openid", EVERYTHING, stored, "userinfo") == {"sub", "email"}
    assert rules.may_be_told("", EVERYTHING, stored, "id_token") == {"nickname"}


def test_a_client_cannot_ask_by_name_for_what_its_scopes_do_not_hold() -> None:
    stored = '{"userinfo":{"email":null,"phone_number":{"essential":true},"password_hash":null}}'
    assert rules.may_be_told("openid", "openid email", stored, "userinfo") == {"sub", "email"}


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
