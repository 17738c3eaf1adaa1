"""The standard claims of a person (OIDC Core §5.1): what may be written down of each, and in which form it is kept."""

from dataclasses import fields

import pytest

from idp.accounts import profile, rules
from idp.accounts.errors import AccountRefusedError
from idp.accounts.rules import Account
from idp.protocol import scopes
from tests.accounts.site import PASSWORD, Site

WHOLE = {
    "name": "Jane Q. Doe",
    "given_name": "Jane",
    "family_name": "Doe",
    "middle_name": "Q.",
    "nickname": "JD",
    "profile": "https://example.com/janedoe",
    "picture": "https://example.com/janedoe/me.jpg",
    "website": "http://janedoe.example",
    "gender": "female",
    "birthdate": "1985-10-31",
    "zoneinfo": "America/Los_Angeles",
    "locale": "en-US",
    "email": "janedoe@example.com",
    "email_verified": True,
    "phone_number": "+14255551212",
    "phone_number_verified": True,
    "address": {
        "formatted": "1234 Hollywood Blvd.\nLos Angeles, CA 90210",
        "street_address": "1234 Hollywood Blvd.",
        "locality": "Los Angeles",
        "region": "CA",
        "postal_code": "90210",
        "country": "US",
    },
}


def test_every_standard_claim_can_be_known() -> None:
    assert profile.read(WHOLE) == WHOLE
    assert set(WHOLE) == set(rules.PROFILE)
    assert set(rules.PROFILE) <= {field.name for field in fields(Account)}
    of_scopes = scopes.claims_of(["profile", "email", "address", "phone"])
    assert of_scopes == set(rules.PROFILE) | {"preferred_username", "updated_at"}


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("birthdate", "1985", "1985"),
        ("birthdate", "0000-02-29", "0000-02-29"),
        ("birthdate", "2024-02-29", "2024-02-29"),
        ("phone_number", "+1 (425) 555-1212", "+14255551212"),
        ("phone_number", "+56 (2) 687 2400;ext=5678", "+5626872400;ext=5678"),
        ("locale", "pt_BR", "pt_BR"),
        ("locale", "zh-Hant-TW", "zh-Hant-TW"),
        ("zoneinfo", "Europe/Paris", "Europe/Paris"),
        ("nickname", "  J  ", "J"),
        ("nickname", "", None),
        ("nickname", None, None),
        ("email", " a@example.org ", "a@example.org"),
        ("address", {"formatted": "one\r\ntwo"}, {"formatted": "one\ntwo"}),
        ("address", {"locality": "  ", "region": None}, None),
        ("address", {}, None),
    ],
)
def test_a_claim_is_kept_in_one_form(name: str, given: object, kept: object) -> None:
    assert profile.read({name: given})[name] == kept


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("birthdate", "1985-02-29"),
        ("birthdate", "0000"),
        ("birthdate", "0000-13-01"),
        ("birthdate", "31.10.1985"),
        ("birthdate", "٢٠٢٠"),
        ("birthdate", 1985),
        ("phone_number", "425 555 1212"),
        ("phone_number", "+1"),
        ("phone_number", "+0123456789"),
        ("phone_number", "+1234567890123456"),
        ("phone_number", "+1425555121a"),
        ("phone_number_verified", "yes"),
        ("email_verified", 1),
        ("email", "nowhere"),
        ("email", True),
        ("locale", "english please"),
        ("zoneinfo", "../etc/passwd"),
        ("zoneinfo", "Atlantis/Capital"),
        ("picture", "javascript:alert(1)"),
        ("picture", "data:text/html,x"),
        ("website", "//evil.example"),
        ("website", "https://user:password@example.org"),
        ("profile", "https://example.org/" + "x" * 500),
        ("name", "a\u202eb"),
        ("gender", "x" * 129),
        ("given_name", ["Jane"]),
        ("address", "1234 Hollywood Blvd."),
        ("address", {"street": "1234 Hollywood Blvd."}),
        ("address", {"locality": 5}),
        ("address", {"formatted": "x" * 513}),
        ("address", {"formatted": "a\x00b"}),
    ],
)
def test_a_claim_of_another_form_is_refused_by_its_name(name: str, given: object) -> None:
    with pytest.raises(AccountRefusedError, match=name if name != "email" else "email|string"):
        profile.read({name: given})


@pytest.mark.parametrize(
    "sent", [None, [], "name", {"sub": "x"}, {"preferred_username": "x"}, {"updated_at": 1}, {"admin": True}]
)
def test_what_is_no_claim_of_a_person_cannot_be_set(sent: object) -> None:
    with pytest.raises(AccountRefusedError):
        profile.read(sent)


def test_a_new_address_or_number_is_not_verified_unless_that_is_said() -> None:
    assert profile.read({"email": "new@example.org"})["email_verified"] is False
    assert profile.read({"phone_number": "+14255551212"})["phone_number_verified"] is False
    assert profile.read({"email": None, "email_verified": True})["email_verified"] is False
    assert profile.read({"phone_number_verified": True}) == {"phone_number_verified": True}


def test_claims_are_written_down_and_say_since_when(site: Site) -> None:
    account = site.add(email="old@example.org", email_verified=True)
    site.clock.move(60)
    with site.database.writing() as tx:
        assert site.accounts.set_claims(tx, account.subject, profile.read(WHOLE))
        assert not site.accounts.set_claims(tx, "nobody", profile.read(WHOLE))
        changed = site.accounts.get(tx, account.subject)
    assert changed is not None
    assert rules.claims(changed, WHOLE) == WHOLE
    assert changed.updated_at == site.clock.now == account.updated_at + 60
    assert changed.username == "alice"
    with site.database.writing() as tx:
        site.accounts.set_claims(tx, account.subject, profile.read({"address": None, "nickname": None}))
        less = site.accounts.get(tx, account.subject)
    assert less is not None
    assert rules.claims(less, WHOLE) == {name: value for name, value in WHOLE.items() if name not in {"address", "nickname"}}


def test_an_account_can_be_added_with_all_that_is_known(site: Site) -> None:
    new = site.accounts.prepare("jane", PASSWORD, name="Jane", claims=WHOLE)
    with site.database.writing() as tx:
        account = site.accounts.add(tx, new)
    assert account.name == "Jane"  # what is said singly wins
    assert rules.claims(account, ["address"]) == {"address": WHOLE["address"]}


def test_people_see_what_is_known_of_them_and_nobody_else_does(site: Site) -> None:
    new = site.accounts.prepare("jane", PASSWORD, claims=WHOLE | {"nickname": "<b>J</b>", "phone_number_verified": False})
    with site.database.writing() as tx:
        site.accounts.add(tx, new)
    browser = site.browser()
    assert browser.http.get("/account/profile").headers["Location"] == "/login"
    browser.sign_in("jane")
    page = browser.http.get("/account/profile").text
    assert "&lt;b&gt;J&lt;/b&gt;" in page
    assert "+14255551212 (not verified)" in page
    assert "janedoe@example.com</bdi>" in page
    assert "1985-10-31" in page
    assert "/account/profile" in browser.http.get("/account").text


def test_every_claim_has_a_label() -> None:
    assert set(profile._LABELS) == {name for name in rules.PROFILE if not name.endswith("_verified")}
