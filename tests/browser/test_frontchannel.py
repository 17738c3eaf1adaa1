"""Front-Channel Logout 1.0 in a real browser: the signed-out page loads exactly the apps' own pages, with `iss` and `sid`."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser

from tests.support import http
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


class App:
    """A relying party's web server: it remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                app.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<main id=app-page>app</main>")

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.origin = f"http://localhost:{self._server.server_address[1]}"

    def register(self, provider: RunningProvider, **more: object) -> RelyingParty:
        uris = {
            "redirect_uris": [f"{self.origin}/callback"],
            "post_logout_redirect_uris": [f"{self.origin}/bye"],
            "frontchannel_logout_uri": f"{self.origin}/out?keep=this",
        }
        return RelyingParty.register(provider, **(uris | more))

    def signed_out(self) -> list[dict[str, list[str]]]:
        """The queries with which its logout page was loaded."""
        return [parse_qs(urlsplit(path).query) for path in self.asked if path.startswith("/out")]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[RunningProvider]:
    running = RunningProvider(tmp_path, settings={"LOGOUT_FRONTCHANNEL": "true"})
    running.start().add_user()
    yield running
    running.close()


@pytest.fixture
def apps() -> Iterator[list[App]]:
    made = [App(), App()]
    yield made
    for app in made:
        app.close()


def sign_in(page, party: RelyingParty) -> str:
    """The session's `sid`."""
    page.goto(party.authorization_url())
    if page.query_selector("#login-page"):
        page.fill("#username", "alice")
        page.fill("#password", "correct horse battery staple")
        page.click("#login-submit")
    page.wait_for_selector("#app-page")
    tokens = party.redeem(parse_qs(urlsplit(page.url).query)["code"][0]).json()
    party.id_token = tokens["id_token"]
    return str(party.verified(tokens["id_token"], audience=party.client_id, typ="JWT")["sid"])


def test_every_app_of_the_session_is_signed_out_in_a_frame_and_the_browser_goes_on(
    provider: RunningProvider, apps: list[App], browser: Browser
) -> None:
    discovery = http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    assert discovery["frontchannel_logout_supported"] is discovery["frontchannel_logout_session_supported"] is True
    one, two = (app.register(provider) for app in apps)
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    sid = sign_in(page, one)
    assert sign_in(page, two) == sid

    page.goto(f"{provider.issuer}/logout?id_token_hint={one.id_token}&post_logout_redirect_uri={apps[0].origin}/bye&state=s")
    assert page.query_selector("#logout-done")
    page.wait_for_url(f"{apps[0].origin}/bye?state=s", timeout=15_000)

    for app in apps:
        assert app.signed_out() == [{"keep": ["this"], "iss": [provider.issuer], "sid": [sid]}]
    assert complaints == []


def test_the_page_may_frame_these_origins_alone_and_only_once(provider: RunningProvider, apps: list[App]) -> None:
    from tests.support.browsing import Person

    party = apps[0].register(provider)
    person = Person(provider.issuer)
    party.sign_in(person)
    page = person.submit(person.open("logout"), "logout-confirm")
    assert f"frame-src {apps[0].origin};" in page.response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.response.headers["Content-Security-Policy"]
    assert page.response.text.count("<iframe") == 1
    again = person.open("logout/done")
    assert "<iframe" not in again.response.text
    assert "frame-src" not in again.response.headers["Content-Security-Policy"]
    person.http.close()


def test_a_page_of_another_origin_cannot_be_registered(provider: RunningProvider, apps: list[App]) -> None:
    with pytest.raises(ValueError, match="those of one of the redirect_uris"):
        apps[0].register(provider, frontchannel_logout_uri=f"{apps[1].origin}/out")


def test_switched_off_it_is_neither_announced_nor_done(tmp_path: Path, apps: list[App]) -> None:
    from tests.support.browsing import Person

    (tmp_path / "off").mkdir()
    provider = RunningProvider(tmp_path / "off")
    try:
        provider.start().add_user()
        assert "frontchannel_logout_supported" not in http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
        party = apps[0].register(provider)
        person = Person(provider.issuer)
        party.sign_in(person)
        assert "<iframe" not in person.submit(person.open("logout"), "logout-confirm").response.text
        person.http.close()
    finally:
        provider.close()
