"""A form that another site sends is refused, whatever token it carries; one of ours is not, whatever browsers withhold."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from werkzeug.test import TestResponse

from idp.app import create_app
from idp.runtime.web.pages import People
from tests.attacks.conftest import ON_ONE_DATABASE, PASSWORD
from tests.sessions.deployment import ISSUER, Browser, Deployment
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

#: No database has a part in it.
IN_PROCESS = pytest.mark.parametrize("deploy", ["sqlite"], indirect=True)
EVIL = "https://evil.example"
FOREIGN = [
    {"Origin": EVIL},
    {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://app.idp.example", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://idp.example"},
    {"Origin": f"{ISSUER}:8443"},
    {"Origin": f"{ISSUER}.evil.example"},
    {"Origin": f"{ISSUER}@evil.example"},
    {"Origin": ""},
    {"Origin": ISSUER, "Sec-Fetch-Site": "nonsense"},
    {"Origin": f"{EVIL}\u2028<script>" + "x" * 5000},
]
OURS = [
    {},
    {"Origin": ISSUER},
    {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},  # what browsers send for a page that withholds its referrer
    {"Origin": "null"},  # the same of a browser that knows no Sec-Fetch-Site
    {"Sec-Fetch-Site": "none"},
]


def sentence(answer: TestResponse) -> str:
    return answer.text if "sent to us by another website" in answer.text else ""


def forms(deployment: Deployment) -> list[str]:
    """Every page that takes a form, save those that other sites may post to."""
    web = create_app(deployment.provider)
    return sorted(
        rule.rule
        for rule in web.url_map.iter_rules()
        if "POST" in (rule.methods or ())
        and isinstance(people := web.blueprints.get(rule.endpoint.rpartition(".")[0]), People)
        and not people.open_to_others
    )


@IN_PROCESS
def test_no_page_takes_a_form_of_another_site(deployment: Deployment) -> None:
    paths = forms(deployment)
    assert {"/login", "/login/select", "/consent", "/account/password", "/account/sign-out-everywhere"} <= set(paths)
    browser = deployment.browser()
    for path in paths:
        for headers in FOREIGN:
            answer = browser.submit("/account", path, headers, sid=browser.sid)
            assert answer.status_code == 400, (path, headers)
            assert sentence(answer), (path, headers)
            assert 'id="error-code">invalid_request<' in answer.text
            assert "<script" not in answer.text
    assert browser.is_signed_in


@IN_PROCESS
def test_a_form_of_ours_is_taken_whatever_a_browser_withholds(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    for headers in OURS:
        browser = Browser(deployment.web.test_client())
        answer = browser.submit("/login", "/login", headers, username="alice", password=PASSWORD)
        assert answer.status_code == 303, headers
        assert browser.is_signed_in
        assert browser.submit("/account", "/account/sign-out-everywhere", headers).location == "/logout/done"


@IN_PROCESS
def test_another_name_of_this_server_is_no_other_site_to_the_browser(deployment: Deployment) -> None:
    """Somebody who opened http://127.0.0.1:8000 in place of http://localhost:8000 posts from the page to where it came from."""
    browser = Browser(deployment.web.test_client())
    headers = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert browser.submit("/login", "/login", headers, username="alice", password=PASSWORD).status_code == 303


@IN_PROCESS
def test_a_foreign_form_is_refused_before_its_token_is_looked_at(deployment: Deployment) -> None:
    answer = deployment.browser().http.post("/login", data={"username": "x"}, headers={"Origin": EVIL}, base_url=ISSUER)
    assert sentence(answer)
    assert EVIL in answer.text  # for whoever put a proxy in front that changes it


@IN_PROCESS
def test_signing_out_is_confirmed_here_alone_though_apps_may_post_to_it(deployment: Deployment) -> None:
    browser = deployment.browser()
    for headers in FOREIGN:
        assert sentence(browser.submit("/logout", "/logout", headers, decision="confirm"))
        assert browser.is_signed_in
    asked = browser.http.post("/logout", data={"state": "x"}, headers=FOREIGN[1], base_url=ISSUER)
    assert (asked.status_code, asked.location) == (303, "logout?state=x")
    assert browser.is_signed_in
    assert browser.submit("/logout", "/logout", {"Origin": ISSUER}, decision="confirm").status_code == 303
    assert not browser.is_signed_in


@ON_ONE_DATABASE
def test_an_app_may_still_send_its_request_by_a_form(provider: RunningProvider, person: Person) -> None:
    """OIDC Core §3.1.2.1: `/authorize` takes POST, from other sites; it brings no cookie, and the GET that follows does."""
    app = RelyingParty.register(provider)
    app.sign_in(person)
    address = urlsplit(app.authorization_url())
    headers = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded"}
    answer = person.http.post(f"{provider.issuer}/authorize", content=address.query, headers=headers)
    assert answer.status_code == 303
    assert "code" in person.open(answer.headers["Location"]).query


@ON_ONE_DATABASE
def test_what_machines_post_needs_no_origin_of_ours(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    tokens = app.sign_in(person)
    headers = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {tokens['access_token']}"}
    assert person.http.post(f"{provider.issuer}/userinfo", headers=headers).status_code == 200


@ON_ONE_DATABASE
def test_a_real_browser_sends_our_forms_and_no_others(provider: RunningProvider, browser, tmp_path) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """A page of another origin has the very token of the person's browser, and is refused; the person's own form is not."""
    page = browser.new_page()
    page.goto(f"{provider.issuer}/login")
    token = page.locator("input[name=csrf_token]").get_attribute("value")
    elsewhere = provider.issuer.replace("localhost", "127.0.0.1")  # same site to nobody: another host
    page.route(
        re.compile(re.escape(elsewhere)),
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<form method="post" action="{provider.issuer}/login"><input name="csrf_token" value="{token}">'
            f'<input name="username" value="bob"><input name="password" value="{PASSWORD}"><button id="go">x</button></form>',
        ),
    )
    page.goto(f"{elsewhere}/trap")
    page.click("#go")
    assert page.locator("main").get_attribute("id") == "error-page"
    assert page.locator("#error-code").inner_text() == "invalid_request"
    page.goto(f"{provider.issuer}/login")
    page.fill("#username", "bob")
    page.fill("#password", PASSWORD)
    page.click("#login-submit")
    assert page.locator("main").get_attribute("id") == "account-page"
