"""A request that expired, or was answered before: the person learns what became of it, and finds the way back to the app."""

from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"


@pytest.fixture
def app(provider: RunningProvider) -> RelyingParty:
    return RelyingParty.register(provider)


@pytest.fixture
def person(provider: RunningProvider) -> Person:
    return Person(provider.issuer)


def move(provider: RunningProvider, page: Page, seconds: float) -> None:
    """Let so many seconds pass for the request of a page: every instant that its row holds is moved."""
    with provider.services.database.writing() as tx:
        tx.execute(
            text("UPDATE authorization_requests SET expires_at = expires_at - :by WHERE request_id = :of"),
            {"by": seconds, "of": page.forms[0].fields["request"]},
        )


def expire(provider: RunningProvider, page: Page) -> None:
    move(provider, page, provider.services.settings.authorization_request_lifetime)


def error_of(page: Page, app: RelyingParty) -> dict[str, str]:
    """The error that the link back to the app takes there."""
    link = page.links["back-to-app"]
    assert link.startswith(f"{app.redirect_uri}?")
    assert "code" not in link.partition("?")[2].split("=")
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


def test_a_sign_in_that_comes_too_late_leads_back_to_the_app(
    provider: RunningProvider, app: RelyingParty, person: Person
) -> None:
    login = person.open(app.authorization_url())
    expire(provider, login)
    page = person.sign_in(login, "alice", PASSWORD)
    assert str(app.registration["client_name"]) in page.response.text
    assert "expired" in page.response.text
    error = error_of(page, app)
    assert (error["error"], error["state"], error["iss"]) == ("temporarily_unavailable", app.state, provider.issuer)
    assert person.open("account").main == "account-page", "the sign-in itself counts"
    assert "code" in person.open(app.authorization_url()).query


def test_a_wrong_password_does_not_lose_the_way(provider: RunningProvider, app: RelyingParty, person: Person) -> None:
    login = person.open(app.authorization_url())
    expire(provider, login)
    again = person.sign_in(login, "alice", "not this one")
    assert again.main == "login-page"
    assert str(app.registration["client_name"]) in again.response.text
    assert error_of(person.sign_in(again, "alice", PASSWORD), app)["state"] == app.state


@pytest.mark.parametrize(
    "path", ["login?request={}", "login?request={}&other=1", "consent?request={}", "authorize?continue={}"]
)
def test_every_page_of_a_request_that_expired_leads_back(
    provider: RunningProvider, app: RelyingParty, person: Person, path: str
) -> None:
    login = person.open(app.authorization_url())
    expire(provider, login)
    assert error_of(person.open(path.format(login.forms[0].fields["request"])), app)["state"] == app.state


def test_a_consent_and_a_choice_that_come_too_late_lead_back(provider: RunningProvider, person: Person) -> None:
    third_party = RelyingParty.register(provider, first_party=False)
    consent = person.sign_in(person.open(third_party.authorization_url()), "alice", PASSWORD)
    expire(provider, consent)
    page = person.submit(consent, "consent-allow")
    assert error_of(page, third_party)["state"] == third_party.state
    assert person.open(third_party.authorization_url(prompt="none")).query["error"] == "consent_required", "nothing was allowed"
    choice = person.open(third_party.authorization_url(prompt="select_account"))
    expire(provider, choice)
    assert error_of(person.submit(choice, "select-continue"), third_party)["state"] == third_party.state


def test_an_answer_in_the_fragment_and_by_form_leads_back_in_its_mode(
    provider: RunningProvider, app: RelyingParty, person: Person
) -> None:
    login = person.open(app.authorization_url(response_mode="fragment"))
    expire(provider, login)
    link = person.sign_in(login, "alice", PASSWORD).links["back-to-app"]
    assert link.startswith(f"{app.redirect_uri}#error=temporarily_unavailable&")
    login = person.open(app.authorization_url(response_mode="form_post", prompt="login"))
    expire(provider, login)
    page = person.open(person.sign_in(login, "alice", PASSWORD).links["back-to-app"])
    assert page.main == "form-post-page"
    assert page.forms[0].fields["state"] == app.state
    assert page.forms[0].fields["error"] == "temporarily_unavailable"


@pytest.mark.parametrize(
    ("metadata", "begins"),
    [
        ({"client_uri": "https://app.example.org/"}, "https://app.example.org/"),
        (
            {"client_uri": "https://app.example.org/", "initiate_login_uri": "https://app.example.org/begin"},
            "https://app.example.org/begin?iss=http",
        ),
    ],
)
def test_an_app_that_says_where_to_begin_is_led_to_there(
    provider: RunningProvider, person: Person, metadata: dict[str, str], begins: str
) -> None:
    app = RelyingParty.register(provider, **metadata)
    login = person.open(app.authorization_url())
    expire(provider, login)
    assert person.sign_in(login, "alice", PASSWORD).links["back-to-app"].startswith(begins)


def test_nobody_is_sent_to_an_address_that_is_registered_no_more(
    provider: RunningProvider, app: RelyingParty, person: Person
) -> None:
    login = person.open(app.authorization_url())
    expire(provider, login)
    with provider.services.database.writing() as tx:
        provider.services.logout.end_client(tx, app.client_id)
    page = person.sign_in(login, "alice", PASSWORD)
    assert "back-to-app" not in page.links
    assert page.url.startswith(provider.issuer)


def test_another_browser_learns_nothing_of_it(provider: RunningProvider, app: RelyingParty, person: Person) -> None:
    login = person.open(app.authorization_url())
    expire(provider, login)
    stranger = Person(provider.issuer)
    for path in ("login?request={}", "consent?request={}", "authorize?continue={}", "authorize?continue={}&onward=1"):
        page = stranger.open(path.format(login.forms[0].fields["request"]))
        assert page.url.startswith(provider.issuer)
        assert str(app.registration["client_name"]) not in page.response.text
        assert "back-to-app" not in page.links
    stranger.http.close()


def test_it_is_remembered_over_night_and_not_for_ever(provider: RunningProvider, app: RelyingParty, person: Person) -> None:
    login, services = person.open(app.authorization_url()), provider.services
    expire(provider, login)
    move(provider, login, 16 * 3600)
    with services.database.writing() as tx:
        services.authorization.tidy(tx)
    assert error_of(person.open(login.url), app)["state"] == app.state
    move(provider, login, 9 * 3600)
    with services.database.writing() as tx:
        assert services.authorization.tidy(tx) == 1
    assert "back-to-app" not in person.open(login.url).links


def test_only_so_many_are_remembered(
    provider: RunningProvider, app: RelyingParty, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idp.authorization import service

    pages = [person.open(app.authorization_url()) for _ in range(4)]
    with provider.services.database.writing() as tx:
        tx.execute(text("DELETE FROM authorization_requests WHERE expires_at <= :now"), {"now": tx.now})
    for ago, page in enumerate(pages):
        move(provider, page, provider.services.settings.authorization_request_lifetime + 10 * ago)
    monkeypatch.setattr(service, "MOST_REMEMBERED", 2)
    with provider.services.database.writing() as tx:
        assert provider.services.authorization.tidy(tx) == 2
    assert ["back-to-app" in person.open(page.url).links for page in pages] == [True, True, False, False]


# -- answered before --------------------------------------------------------------------------------------------------


def test_who_comes_back_to_a_page_of_an_answered_request_learns_what_happened(
    provider: RunningProvider, person: Person
) -> None:
    app = RelyingParty.register(provider, first_party=False, client_uri="https://app.example.org/")
    login = person.open(app.authorization_url(prompt="login"))
    consent = person.sign_in(login, "alice", PASSWORD)
    assert app.code_from(person.submit(consent, "consent-allow"))
    for back in (person.open(consent.url), person.open(login.url)):
        assert (back.main, back.response.status_code) == ("over-page", 200)
        assert "answered this already" in back.response.text
        assert back.links["back-to-app"] == "https://app.example.org/"
        assert back.links["to-account"] == "/account"
    for again in (person.submit(consent, "consent-allow"), person.submit(consent, "consent-deny")):
        assert again.main == "over-page"
    replayed = person.open(f"authorize?continue={login.forms[0].fields['request']}&onward=1")
    assert (replayed.main, replayed.response.status_code) == ("error-page", 400)
    assert replayed.links["to-account"] == "/account"
