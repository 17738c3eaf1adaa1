"""How a form of ours ends at an app: by a page for whoever shows pages, by a redirect for programs."""

import re

import httpx
import pytest

from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"
ACCEPTED_BY_BROWSERS = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.fixture
def at_a_browser(provider: RunningProvider) -> Person:
    made = Person(provider.issuer)
    made.http.headers["Accept"] = ACCEPTED_BY_BROWSERS
    return made


def signed_in(app: RelyingParty, person: Person, **extra: str) -> httpx.Response:
    """What `/authorize` says after the sign-in's own redirect."""
    login = person.open(app.authorization_url(**extra))
    fields = login.forms[0].fields | {"username": "alice", "password": PASSWORD}
    posted = person.http.post(f"{person.home}/login", data=fields)
    assert posted.status_code == 303
    return person.http.get(f"{person.home}/{posted.headers['Location'].lstrip('/')}")


def test_a_browser_gets_a_page_that_holds_no_code_and_moves_on_without_scripts(
    provider: RunningProvider, at_a_browser: Person
) -> None:
    app = RelyingParty.register(provider)
    page = Page.of(signed_in(app, at_a_browser))
    assert page.main == "moving-on-page"
    assert page.response.headers["Cache-Control"] == "no-store"
    assert page.response.headers["Referrer-Policy"] == "no-referrer"
    assert "form-action 'self'" in page.response.headers["Content-Security-Policy"]
    assert "<script" not in page.response.text
    (refresh,) = re.findall(r'<meta http-equiv="refresh" content="0;url=([^"]+)">', page.response.text)
    (link,) = re.findall(r'id="continue" href="([^"]+)"', page.response.text)
    assert refresh == link
    assert app.redirect_uri not in page.response.text
    answered = at_a_browser.http.get(f"{at_a_browser.home}/{link.replace('&amp;', '&')}")
    assert answered.status_code == 303
    assert answered.headers["Location"].startswith(f"{app.redirect_uri}?code=")


def test_a_program_is_redirected(provider: RunningProvider) -> None:
    app = RelyingParty.register(provider)
    for accepted in ("*/*", "", "application/json", "text/html;q=0, */*"):
        person = Person(provider.issuer)
        person.http.headers["Accept"] = accepted
        answer = signed_in(app, person)
        assert answer.status_code == 303, accepted
        assert answer.headers["Location"].startswith(f"{app.redirect_uri}?code=")


def test_a_request_that_came_by_post_is_answered_without_a_page(provider: RunningProvider, at_a_browser: Person) -> None:
    """No form of ours led here, and an app may do this in a frame, where our pages are not shown."""
    app = RelyingParty.register(provider)
    signed_in(app, at_a_browser)
    url = httpx.URL(app.authorization_url())
    posted = at_a_browser.http.post(url.copy_with(query=None), data=dict(url.params))
    answer = at_a_browser.http.get(f"{at_a_browser.home}/{posted.headers['Location']}")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"{app.redirect_uri}?code=")


def test_who_is_helped_along_by_the_link_arrives_as_well(provider: RunningProvider, at_a_browser: Person) -> None:
    app = RelyingParty.register(provider, first_party=False)
    consent = at_a_browser.sign_in(at_a_browser.open(app.authorization_url()), "alice", PASSWORD)
    assert consent.main == "consent-page"
    assert app.redeem(app.code_from(at_a_browser.submit(consent, "consent-allow"))).status_code == 200
