"""Every form of ours that may end at an app, in a real browser, where the app redirects on to somewhere else.

Chromium holds the whole chain that follows a form to its page's `form-action`: no chain of ours may lead outside.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.redirecting import RedirectingApp
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    running = RunningProvider(tmp_path_factory.mktemp("left"))
    running.start().add_user()
    running.add_user("bob", PASSWORD)
    yield running
    running.close()


@pytest.fixture(params=[False, True], ids=["another origin", "a native app"])
def app(request: pytest.FixtureRequest) -> Iterator[RedirectingApp]:
    made = RedirectingApp(natively=request.param)
    yield made
    made.close()


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def tab(browser: Browser, request: pytest.FixtureRequest) -> Page:
    return browser.new_context(java_script_enabled=request.param).new_page()


def sign_in(page: Page, username: str = "alice") -> None:
    page.fill("#username", username)
    page.fill("#password", PASSWORD)
    page.click("#login-submit")


def arrives(page: Page, app: RedirectingApp, act: Callable[[], None], path: str = "/callback") -> dict[str, list[str]]:
    """What the app's own address was asked when `act` was done, once the browser has come to where the app sends it."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None)
    with page.expect_request(lambda request: request.url.startswith(app.onward)):
        act()
    assert complaints == []
    came = [asked for asked in app.asked if asked.startswith(path)]
    assert len(came) == 1, "and nothing is sent twice"
    return parse_qs(urlsplit(came[0]).query)


def test_the_sign_in(provider: RunningProvider, app: RedirectingApp, tab: Page) -> None:
    party = app.register(provider)
    tab.goto(party.authorization_url())
    assert party.redeem(arrives(tab, app, lambda: sign_in(tab))["code"][0]).status_code == 200


def test_a_sign_in_that_is_answered_with_an_error(provider: RunningProvider, app: RedirectingApp, browser: Browser) -> None:
    """The app knows another person by `sub` than the one who signs in."""
    provider.cli("user", "add", "bob", "--password-stdin", stdin=PASSWORD) if "bob" not in provider.cli(
        "user", "list"
    ) else None
    party, context = app.register(provider), browser.new_context()
    page, again = context.new_page(), context.new_page()
    page.goto(party.authorization_url())
    first = arrives(page, app, lambda: sign_in(page))
    hint = party.redeem(first["code"][0]).json()["id_token"]
    app.asked.clear()
    # In a tab of its own: the first one is on its way to where the app redirects it.
    again.goto(party.authorization_url(id_token_hint=hint, prompt="login"))
    assert arrives(again, app, lambda: sign_in(again, "bob"))["error"] == ["login_required"]


@pytest.mark.parametrize(("button", "outcome"), [("#consent-allow", "code"), ("#consent-deny", "error")])
def test_the_consent(provider: RunningProvider, app: RedirectingApp, browser: Browser, button: str, outcome: str) -> None:
    page = browser.new_page()
    page.goto(app.register(provider, first_party=False).authorization_url())
    sign_in(page)
    page.wait_for_selector("#consent-page")
    assert outcome in arrives(page, app, lambda: page.click(button))


@pytest.mark.parametrize(("button", "outcome"), [("#select-continue", "code"), ("#select-cancel", "error")])
def test_the_choice_of_an_account(
    provider: RunningProvider, app: RedirectingApp, browser: Browser, button: str, outcome: str
) -> None:
    page = browser.new_page()
    page.goto(f"{provider.issuer}/login")
    sign_in(page)
    page.wait_for_selector("#account-page")
    page.goto(app.register(provider).authorization_url(prompt="select_account"))
    assert outcome in arrives(page, app, lambda: page.click(button))


def test_an_answer_in_the_fragment(provider: RunningProvider, app: RedirectingApp, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(app.register(provider).authorization_url(response_mode="fragment"))
    arrives(page, app, lambda: sign_in(page))


def test_an_answer_by_form_post(provider: RunningProvider, app: RedirectingApp, browser: Browser) -> None:
    """The page's own form ends outside, too."""
    page = browser.new_page()
    page.goto(app.register(provider).authorization_url(response_mode="form_post"))
    assert "code" in arrives(page, app, lambda: sign_in(page))


def test_an_answer_by_form_post_without_scripts(provider: RunningProvider, app: RedirectingApp, browser: Browser) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(app.register(provider).authorization_url(response_mode="form_post"))
    sign_in(page)
    page.wait_for_selector("#form-post-page")
    assert "code" in arrives(page, app, lambda: page.click("#form-post-continue"))


def test_the_sign_out(provider: RunningProvider, app: RedirectingApp, tab: Page) -> None:
    party = app.register(provider)
    tab.goto(f"{provider.issuer}/login")
    sign_in(tab)
    tab.wait_for_selector("#account-page")
    tab.goto(f"{provider.issuer}/logout?client_id={party.client_id}&post_logout_redirect_uri={app.origin}/bye&state=s")
    assert arrives(tab, app, lambda: tab.click("#logout-confirm"), "/bye") == {"state": ["s"]}


def test_a_sign_out_in_a_tab_where_nobody_is_signed_in_any_more(
    provider: RunningProvider, app: RedirectingApp, browser: Browser
) -> None:
    party, context = app.register(provider), browser.new_context()
    page, other = context.new_page(), context.new_page()
    page.goto(f"{provider.issuer}/login")
    sign_in(page)
    page.wait_for_selector("#account-page")
    page.goto(f"{provider.issuer}/logout?client_id={party.client_id}&post_logout_redirect_uri={app.origin}/bye")
    other.goto(f"{provider.issuer}/logout")
    other.click("#logout-confirm")
    other.wait_for_selector("#logout-done")
    arrives(page, app, lambda: page.click("#logout-confirm"), "/bye")


def test_a_native_apps_own_scheme(provider: RunningProvider, browser: Browser) -> None:
    """No server stands there that could redirect on: the scheme itself is named, and the person's click still counts."""
    page = browser.new_page()
    party = RelyingParty.register(
        provider, application_type="native", token_endpoint_auth_method="none", redirect_uris=["com.example.app:/callback"]
    )
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None)
    page.goto(party.authorization_url())
    with page.expect_request(lambda request: request.url.startswith("com.example.app:/callback?code=")):
        sign_in(page)
    assert complaints == []


def test_back_passes_over_what_led_to_the_app_and_sends_nothing_again(provider: RunningProvider, browser: Browser) -> None:
    app = RedirectingApp(natively=False)
    page = browser.new_page()
    page.goto(f"{app.origin}/start")
    page.goto(app.register(provider, first_party=False).authorization_url())
    sign_in(page)
    page.wait_for_selector("#consent-page")
    page.click("#consent-allow")
    page.wait_for_selector("#landed")
    assert urlsplit(page.url).path == "/landed"
    page.go_back()
    page.wait_for_selector("#over-page")
    assert urlsplit(page.url).path == "/consent"
    assert page.locator("#to-account").is_visible()
    for _ in range(3):
        page.go_back()
        assert "code=" not in page.url
        assert "code=" not in page.content()
        if page.url == f"{app.origin}/start":
            break
    page.wait_for_url(f"{app.origin}/start")
    assert len([asked for asked in app.asked if asked.startswith("/callback")]) == 1
    app.close()


def test_a_silent_request_and_one_that_no_form_led_to_show_no_page(provider: RunningProvider, browser: Browser) -> None:
    app = RedirectingApp(natively=False)
    party, page = app.register(provider), browser.new_page()
    page.goto(party.authorization_url())
    sign_in(page)
    page.wait_for_selector("#landed")
    for extra in ({}, {"prompt": "none"}):
        seen: list[str] = []
        page.on("request", lambda request, seen=seen: seen.append(urlsplit(request.url).path))
        page.goto(party.authorization_url(**extra))
        assert seen[:3] == ["/authorize", "/callback", "/landed"]
    app.close()


def test_two_tabs_at_the_sign_in_both_arrive(provider: RunningProvider, browser: Browser) -> None:
    """Whether the second one is sent or merely loaded again."""
    app, context = RedirectingApp(natively=False), browser.new_context()
    party = app.register(provider)
    first, sent, reloaded = (context.new_page() for _ in range(3))
    for page in (first, sent, reloaded):
        page.goto(party.authorization_url())
        page.wait_for_selector("#login-page")
    sign_in(first)
    first.wait_for_selector("#landed")
    sign_in(sent)
    sent.wait_for_selector("#landed")
    reloaded.reload()
    reloaded.wait_for_selector("#landed")
    codes = {parse_qs(urlsplit(asked).query)["code"][0] for asked in app.asked if asked.startswith("/callback")}
    assert len(codes) == 3
    app.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_back_to_an_answer_by_form_post_shows_no_code_and_sends_none(
    provider: RunningProvider, browser: Browser, scripts: bool
) -> None:
    app = RedirectingApp(natively=False)
    page = browser.new_context(java_script_enabled=scripts).new_page()
    page.goto(f"{app.origin}/start")
    page.goto(app.register(provider).authorization_url(response_mode="form_post"))
    sign_in(page)
    if not scripts:
        page.wait_for_selector("#form-post-page")
        page.click("#form-post-continue")
    page.wait_for_selector("#landed")
    for _ in range(4):
        page.go_back()
        assert 'name="code"' not in page.content()
        if page.url == f"{app.origin}/start":
            break
    assert page.url == f"{app.origin}/start"
    assert len([asked for asked in app.asked if asked.startswith("/callback")]) == 1
    app.close()


def test_back_after_a_sign_out_in_frames_is_not_sent_off_again(tmp_path: Path, browser: Browser) -> None:
    """The page that signs apps out in frames moves on after two seconds, and so stays in the history."""
    provider = RunningProvider(tmp_path, settings={"LOGOUT_FRONTCHANNEL": "true"})
    provider.start().add_user()
    app, page = RedirectingApp(natively=False), browser.new_page()
    party = app.register(provider, frontchannel_logout_uri=f"{app.origin}/out")
    page.goto(party.authorization_url())
    sign_in(page)
    page.wait_for_selector("#landed")
    code = next(parse_qs(urlsplit(asked).query)["code"][0] for asked in app.asked if asked.startswith("/callback"))
    hint = party.redeem(code).json()["id_token"]
    page.goto(f"{provider.issuer}/logout?id_token_hint={hint}&post_logout_redirect_uri={app.origin}/bye")
    page.wait_for_url(app.onward)
    page.go_back()
    page.wait_for_selector("#logout-done")
    assert "You are sent on" not in page.content()
    assert page.locator("#logout-go-on").is_visible()
    answer = page.reload()
    assert answer is not None
    assert "refresh" not in answer.headers
    provider.close()
    app.close()
