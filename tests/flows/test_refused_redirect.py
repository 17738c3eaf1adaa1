"""A `redirect_uri` that is refused: page and log say which address came and what is registered, and nobody is sent anywhere."""

import pytest

from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


@pytest.mark.parametrize("extra", [{}, {"prompt": "none"}, {"response_mode": "form_post"}, {"state": "s" * 5000}])
def test_developers_see_what_came_and_what_is_registered(
    provider: RunningProvider, person: Person, extra: dict[str, str]
) -> None:
    registered = [f"https://app.example.org/callback/{number}" for number in range(12)]
    app = RelyingParty.register(provider, redirect_uris=registered, client_uri="https://app.example.org/")
    page = person.open(app.authorization_url(redirect_uri="https://app.example.org/callback/", **extra))
    assert (page.main, page.response.status_code) == ("error-page", 400)
    assert page.texts["address-came"] == "https://app.example.org/callback/"
    shown = page.texts["addresses-registered"]
    assert [uri for uri in registered if uri in shown] == registered[:10]
    assert "and 2 more" in shown
    assert "https://app.example.org/callback/\n" not in page.links.values()
    assert page.links["back-to-app"] == "https://app.example.org/"
    event = provider.events("authorization.redirect_refused")[-1]
    assert event["client_id"] == app.client_id
    assert event["redirect_uri"] == "https://app.example.org/callback/"
    assert str(event["registered"]).split() == registered[:10]


@pytest.mark.parametrize(
    ("came", "seen"),
    [
        ("https://app.example.org/c\u0430llback", "https://app.example.org/c\\u0430llback"),
        ("https://app.example.org/\u202ekcabllac", "https://app.example.org/\\u202ekcabllac"),
        ("https://app.example.org/\x1b[2J\r\nX: y", "https://app.example.org/\\x1b[2J\\r\\nX: y"),
        ("javascript:alert(1)//<b>", "javascript:alert(1)//<b>"),
    ],
)
def test_what_cannot_be_seen_is_written_out(provider: RunningProvider, person: Person, came: str, seen: str) -> None:
    app = RelyingParty.register(provider)
    page = person.open(app.authorization_url(redirect_uri=came))
    assert page.texts["address-came"] == seen
    assert came not in page.links.values()
    assert "<b>" not in page.response.text
    assert provider.events("authorization.redirect_refused")[-1]["redirect_uri"] == seen


def test_an_address_of_any_length_is_cut(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    page = person.open(app.authorization_url(redirect_uri="https://app.example.org/" + "x" * 5000))
    assert len(page.texts["address-came"]) <= 501
    assert len(str(provider.events("authorization.redirect_refused")[-1]["redirect_uri"])) <= 501


def test_a_missing_one_and_an_unknown_client_show_no_addresses(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    for extra in ({"redirect_uri": ""}, {"client_id": "nobody"}):
        page = person.open(app.authorization_url(**extra))
        assert page.main == "error-page"
        assert "for-developers" not in page.texts
        assert app.redirect_uri not in page.response.text
