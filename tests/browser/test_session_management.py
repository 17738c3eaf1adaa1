"""Session Management 1.0 in a real browser: an app's frame learns that the session changed, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.browser.test_frontchannel import App, sign_in
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

#: What an app's own page does: load the provider's frame, ask it, and tell what it said.
ASK = """async ([frame, origin, message]) => {
  const found = document.querySelector("iframe") ?? document.body.appendChild(document.createElement("iframe"));
  if (found.src !== frame) { found.src = frame; await new Promise((done) => found.addEventListener("load", done, {once: true})); }
  return await new Promise((answered) => {
    addEventListener("message", (event) => { if (event.origin === origin) answered(event.data); }, {once: true});
    found.contentWindow.postMessage(message, origin);
  });
}"""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[RunningProvider]:
    running = RunningProvider(tmp_path, settings={"SESSIONS_MANAGEMENT": "true"})
    running.start().add_user()
    yield running
    running.close()


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    yield made
    made.close()


def ask(page: Page, provider: RunningProvider, message: str) -> str:
    return page.evaluate(ASK, [f"{provider.issuer}/check_session", provider.issuer, message])


def state_of(page: Page, party: RelyingParty) -> str:
    """The session_state that came to the redirect URI."""
    sign_in(page, party)
    return httpx.URL(page.url).params["session_state"]


def test_an_app_learns_that_the_session_changed_when_it_ended(provider: RunningProvider, app: App, browser: Browser) -> None:
    discovery = http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    assert discovery["check_session_iframe"] == f"{provider.issuer}/check_session"
    party = app.register(provider, frontchannel_logout_uri=None)
    context = browser.new_context()
    page = context.new_page()
    known = state_of(page, party)
    assert ask(page, provider, f"{party.client_id} {known}") == "unchanged"
    assert ask(page, provider, f"another-client {known}") == "changed"
    assert ask(page, provider, "nonsense") == "error"
    other = context.new_page()
    other.goto(f"{provider.issuer}/logout?id_token_hint={party.id_token}")
    assert other.query_selector("#logout-done")
    other.close()
    assert ask(page, provider, f"{party.client_id} {known}") == "changed"


def test_the_frame_is_the_one_page_that_may_be_framed_and_the_cookie_says_nothing(provider: RunningProvider, app: App) -> None:
    frame = http.get(f"{provider.issuer}/check_session")
    assert "frame-ancestors *" in frame.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in frame.headers
    login = http.get(f"{provider.issuer}/login")
    assert "frame-ancestors 'none'" in login.headers["Content-Security-Policy"]
    assert login.headers["X-Frame-Options"] == "DENY"
    party = app.register(provider, frontchannel_logout_uri=None)
    person = Person(provider.issuer)
    tokens = party.sign_in(person)
    sid = str(party.verified(tokens["id_token"], audience=party.client_id, typ="JWT")["sid"])
    kept = person.http.cookies["idp_browser_state"]
    assert sid not in kept
    assert len(kept) == 43
    first = person.open(party.authorization_url(prompt="none")).query["session_state"]
    second = person.open(party.authorization_url(prompt="none")).query["session_state"]
    assert first != second, "salted"
    person.http.close()


def test_switched_off_there_is_no_frame_no_cookie_and_no_session_state(tmp_path: Path, app: App) -> None:
    (tmp_path / "off").mkdir()
    provider = RunningProvider(tmp_path / "off")
    try:
        provider.start().add_user()
        assert "check_session_iframe" not in http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
        assert http.get(f"{provider.issuer}/check_session").status_code == 404
        party = app.register(provider, frontchannel_logout_uri=None)
        person = Person(provider.issuer)
        party.sign_in(person)
        assert "session_state" not in person.open(party.authorization_url(prompt="none")).query
        assert "idp_browser_state" not in person.http.cookies
        person.http.close()
    finally:
        provider.close()
