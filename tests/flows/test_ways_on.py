"""No page of ours is a dead end: each template, and each error, offers a way on."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import text

from idp import resources
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

pytestmark = pytest.mark.parametrize("provider", ["sqlite"], indirect=True)

PASSWORD = "correct horse battery staple"
#: What is no page of its own, or none that a person sees.
NO_PAGES = {"_macros.html", "base.html", "check_session.html"}
MAIN = re.compile(r"<main id=\"[a-z-]+\">(.*)</main>", re.DOTALL)
LINK = re.compile(r"<a [^>]*href=\"([^\"]+)\"")
BUTTON = re.compile(r"<button [^>]*type=\"submit\"")


class Visitor(Person):
    """Somebody with a browser, and an app with a website that they come from."""

    def __init__(self, provider: RunningProvider) -> None:
        super().__init__(provider.issuer)
        self.provider = provider
        self.app = RelyingParty.register(provider, first_party=False, client_uri="https://app.example.org/")

    def enter(self) -> Page:
        return self.sign_in(self.open("login"), "alice", PASSWORD)

    def ask(self, **extra: str) -> Page:
        return self.open(self.app.authorization_url(**extra))

    def consent(self) -> Page:
        return self.sign_in(self.ask(), "alice", PASSWORD)

    def answered(self) -> Page:
        consent = self.consent()
        self.submit(consent, "consent-allow")
        return self.open(consent.url)

    def moving_on(self) -> Page:
        consent = self.consent()
        name, value = consent.forms[0].buttons["consent-allow"]
        fields = consent.forms[0].fields | {name: value}
        location = self.http.post(f"{self.home}/consent", data=fields).headers["Location"]
        return Page.of(self.http.get(f"{self.home}/{location}", headers={"Accept": "text/html"}))

    def choice(self) -> Page:
        self.enter()
        return self.ask(prompt="select_account")

    def asked_again(self) -> Page:
        self.enter()
        answer = self.http.post(f"{self.home}/account/sign-out-everywhere", data={"csrf_token": "of another sign-in"})
        return Page.of(answer)

    def signed_in_at(self, path: str) -> Page:
        self.enter()
        return self.open(path)

    def signed_out(self, button: str = "logout-confirm") -> Page:
        self.enter()
        return self.submit(self.open(f"logout?client_id={self.app.client_id}"), button)


#: Each template, how one comes to its page, and what must be there to go on by.
PAGES: dict[str, tuple[Callable[[Visitor], Page], set[str]]] = {
    "account.html": (lambda visitor: visitor.enter(), {"account-apps"}),
    "apps.html": (lambda visitor: visitor.signed_in_at("account/apps"), {"account-profile"}),
    "ask_again.html": (Visitor.asked_again, {"to-account"}),
    "consent.html": (Visitor.consent, set()),
    "error.html": (lambda visitor: visitor.open("nowhere"), {"to-account"}),
    "form_post.html": (lambda visitor: visitor.ask(prompt="none", response_mode="form_post"), set()),
    "home.html": (lambda visitor: visitor.open(""), {"home-login"}),
    "login.html": (Visitor.ask, set()),
    "logout.html": (lambda visitor: visitor.signed_in_at("logout"), set()),
    "logout_cancelled.html": (lambda visitor: visitor.signed_out("logout-cancel"), {"to-account", "back-to-app"}),
    "logout_done.html": (Visitor.signed_out, {"sign-in-again", "logout-return"}),
    "moving_on.html": (Visitor.moving_on, {"continue"}),
    "over.html": (Visitor.answered, {"to-account", "back-to-app"}),
    "password.html": (lambda visitor: visitor.signed_in_at("account/password"), {"account-apps"}),
    "profile.html": (lambda visitor: visitor.signed_in_at("account/profile"), {"account-apps"}),
    "select_account.html": (Visitor.choice, set()),
}


@pytest.fixture
def visitor(provider: RunningProvider) -> Visitor:
    return Visitor(provider)


def leads_on(page: Page) -> None:
    found = MAIN.search(page.response.text)
    assert found is not None, page.response.text
    assert LINK.search(found.group(1)) or BUTTON.search(found.group(1)), f"{page.main} is a dead end"
    assert "Back button" not in page.response.text


def arrives(visitor: Visitor, page: Page, link: str) -> None:
    """A way of ours leads to a page of ours, or to the app."""
    address = page.links[link]
    if not address.startswith("https://"):
        there = visitor.open(address)
        assert there.response.status_code == 200 or there.url.startswith(visitor.app.redirect_uri), f"{link}: {address}"


def test_every_template_is_looked_at(provider: RunningProvider) -> None:
    there = {path.name for path in resources.folder("templates").iterdir()}
    assert there - NO_PAGES == set(PAGES)


@pytest.mark.parametrize("template", PAGES)
def test_each_page_leads_on(visitor: Visitor, template: str) -> None:
    come, links = PAGES[template]
    page = come(visitor)
    leads_on(page)
    assert links <= set(page.links)
    for link in links:
        arrives(visitor, page, link)


ERRORS: dict[str, tuple[Callable[[Visitor], Page], int]] = {
    "no such page": (lambda visitor: visitor.open("account/nowhere"), 404),
    "no such method": (lambda visitor: visitor.open("account/sign-out-everywhere"), 405),
    "a form that is too large": (
        lambda visitor: Page.of(visitor.http.post(f"{visitor.home}/login", data={"username": "a" * 100_000})),
        413,
    ),
    "an address that cannot be read": (lambda visitor: visitor.open("login?request=%ff"), 400),
    "an app that nobody knows": (lambda visitor: visitor.open("authorize?client_id=nobody"), 400),
    "an app that asks wrongly": (lambda visitor: visitor.ask(redirect_uri="https://elsewhere.example/"), 400),
    "a request that nobody knows": (lambda visitor: visitor.open("authorize?continue=nothing"), 400),
    "a consent that nobody knows": (lambda visitor: visitor.open("consent?request=nothing"), 400),
    "a sign-out that contradicts itself": (lambda visitor: visitor.open("logout?state=1&state=2"), 400),
    "a forged form": (lambda visitor: Page.of(visitor.http.post(f"{visitor.home}/account/sign-out")), 400),
    "a forged consent": (lambda visitor: Page.of(visitor.http.post(f"{visitor.home}/consent", data={"request": "x"})), 400),
    "a forged choice": (lambda visitor: Page.of(visitor.http.post(f"{visitor.home}/login/select")), 400),
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("signed_in", [False, True])
def test_each_error_leads_on(visitor: Visitor, what: str, signed_in: bool) -> None:
    come, status = ERRORS[what]
    if signed_in:
        visitor.enter()
    page = come(visitor)
    assert page.response.status_code == status
    leads_on(page)
    if page.main == "error-page":
        arrives(visitor, page, "to-account")


def test_an_error_of_an_app_leads_back_to_it(visitor: Visitor) -> None:
    for page in (visitor.ask(redirect_uri="https://elsewhere.example/"), visitor.ask(redirect_uri="")):
        assert page.main == "error-page"
        assert page.links["back-to-app"] == "https://app.example.org/"


def test_who_is_refused_for_long_is_at_the_sign_in_and_may_go_on(provider: RunningProvider, visitor: Visitor) -> None:
    page = visitor.ask()
    for _ in range(provider.services.settings.accounts_throttle_account_failures + 1):
        page = visitor.sign_in(page, "nobody of this name", "wrong")
    assert page.response.status_code == 429
    leads_on(page)
    with provider.services.database.writing() as tx:
        tx.execute(text("DELETE FROM sign_in_throttles"))


def test_a_website_that_is_no_web_address_is_no_link(provider: RunningProvider) -> None:
    """Nobody is led to a script by what an app registered."""
    visitor = Visitor(provider)
    with provider.services.database.reading() as tx:
        client = provider.services.clients.get(tx, visitor.app.client_id)
    assert client is not None
    from dataclasses import replace

    from idp.clients.display import show
    from idp.clients.pages import way_back

    for address in ("javascript:alert(1)", "data:text/html,x", "//evil.example", ""):
        spoiled = replace(client, client_uri=address)
        assert way_back(spoiled, show(spoiled, (), logos=False), provider.issuer) is None


def test_the_page_of_a_server_that_is_too_busy_names_no_secret_and_needs_no_template(provider: RunningProvider) -> None:
    from idp.runtime.inbound.rsgi import _BUSY_FOR_PEOPLE

    status, headers, content = _BUSY_FOR_PEOPLE
    assert status == 503
    assert dict(headers)["content-length"] == str(len(content))
    assert b'id="try-again" href=""' in content
    assert http.get(f"{provider.issuer}/", headers={"Accept": "text/html"}).status_code == 200
