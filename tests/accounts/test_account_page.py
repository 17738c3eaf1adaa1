"""`/account` and `/`: where one is signed in, and ending it there."""

from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from werkzeug.test import TestResponse

from idp.sessions.rules import TOUCH_SECONDS
from tests.accounts.site import PASSWORD, Browser, Site


def test_the_front_door_says_who_is_signed_in(site: Site) -> None:
    site.add()
    browser = site.browser()
    assert 'href="/login"' in browser.http.get("/").text
    browser.sign_in()
    page = browser.http.get("/")
    assert "alice" in page.text
    assert 'href="/account"' in page.text
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/account/sign-out", "/account/sign-out-everywhere"])
def test_a_stranger_is_led_to_sign_in(site: Site, path: str) -> None:
    browser = site.browser()
    assert browser.http.get("/account").location == "/login"
    assert browser.submit("/login", path, sid="anything").location == "/login"
    assert site.logout.calls == []


def test_the_account_lists_its_own_sessions_this_one_first(site: Site) -> None:
    alice, bob, browser = site.add(name="Alice Miller"), site.add("bob"), site.browser()
    browser.sign_in()
    site.clock.move(10)
    other = site.session_of(alice)
    of_bob = site.session_of(bob)
    page = browser.http.get("/account").text
    assert "Alice Miller" in page
    assert "Firefox on Linux" in page
    assert "192.0.2.7" in page
    assert other in page
    assert of_bob not in page
    assert page.index("This browser") < page.index(other)


def test_times_are_told_as_one_thinks_of_them_and_to_the_second_when_pointed_at(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    before = site.clock.now
    site.session_of(alice)
    site.clock.move(3600)
    browser.sign_in()
    page = browser.http.get("/account").text
    exact = datetime.fromtimestamp(before, UTC)
    assert f'<time datetime="{exact:%Y-%m-%dT%H:%M:%SZ}" title="{exact:%Y-%m-%d %H:%M:%S} UTC">1 hour ago</time>' in page
    assert ">just now</time>" in page


def test_the_pages_of_the_account_lead_to_each_other(site: Site) -> None:
    site.add()
    browser = site.browser()
    browser.sign_in()
    tabs = {"account-devices": "/account", "account-profile": "/account/profile", "account-password": "/account/password"}
    for name, path in tabs.items():
        page = browser.http.get(path).text
        for other, there in {**tabs, "account-apps": "/account/apps"}.items():
            current = ' aria-current="page"' if other == name else ""
            assert f'<a id="{other}" href="{there}"{current}>' in page


def test_the_account_names_the_apps_of_a_session(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    with site.database.writing() as tx:
        metadata = {"client_name": "The <App>", "redirect_uris": ["https://app.example/callback"]}
        client = site.clients.add(tx, metadata).client
        session = site.sessions.hold(tx, site.live(alice)[0].sid)
        assert session is not None
        site.sessions.take_part(tx, session, client)
        site.sessions.take_part(tx, session, replace(client, client_id="a client that was removed"))
    page = browser.http.get("/account").text
    assert "The &lt;App&gt;" in page
    assert "that was removed" not in page


def test_one_session_elsewhere_is_ended_and_this_one_goes_on(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    other = site.session_of(alice)
    answer = browser.submit("/account", "/account/sign-out", sid=other)
    assert (answer.status_code, answer.location) == (303, "/account")
    assert site.logout.calls == [("session", other, "signed_out")]
    assert browser.http.get("/account").status_code == 200


def test_ending_this_session_leads_to_what_became_of_it(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    answer = browser.submit("/account", "/account/sign-out", sid=site.live(alice)[0].sid)
    assert answer.location == "/logout/done"
    assert site.live(alice) == []
    assert browser.http.get("/account").location == "/login"


def test_nobody_ends_the_session_of_somebody_else(site: Site) -> None:
    site.add()
    bob, browser = site.add("bob"), site.browser()
    browser.sign_in()
    of_bob = site.session_of(bob)
    for sid in (of_bob, "unknown", ""):
        assert browser.submit("/account", "/account/sign-out", sid=sid).location == "/account"
    assert site.logout.calls == []
    assert [session.sid for session in site.live(bob)] == [of_bob]


def test_signing_out_everywhere_ends_every_session_of_the_person(site: Site) -> None:
    alice, bob, browser = site.add(), site.add("bob"), site.browser()
    browser.sign_in()
    site.session_of(alice)
    site.session_of(bob)
    answer = browser.submit("/account", "/account/sign-out-everywhere")
    assert answer.location == "/logout/done"
    assert site.logout.calls == [("account_sessions", alice.subject, "signed_out_everywhere")]
    assert site.live(alice) == []
    assert len(site.live(bob)) == 1
    assert browser.http.get("/account").location == "/login"


def test_a_disabled_account_is_not_signed_in_any_more(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    site.logout.end_account = lambda *_args: 0  # type: ignore[method-assign]
    site.disable(alice)
    assert len(site.live(alice)) == 1
    assert browser.http.get("/account").location == "/login"


def test_the_use_of_a_session_is_noted_even_where_the_page_writes(site: Site) -> None:
    """Noting it takes a transaction of its own: inside the page's it would wait for itself on SQLite."""
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    token = browser.form("/account")
    site.clock.move(TOUCH_SECONDS + 1)
    answer = browser.http.post("/account/sign-out", data={"csrf_token": token, "sid": "unknown"})
    assert answer.status_code == 303
    assert site.live(alice)[0].last_used_at == site.clock.now


def test_an_idle_session_is_over(site: Site) -> None:
    site.add()
    browser = site.browser()
    browser.sign_in()
    site.clock.move(site.settings.sessions_idle_timeout + 1)
    assert browser.http.get("/account").location == "/login"


def test_what_is_no_page_for_people_never_asks_who_is_signed_in(site: Site) -> None:
    """Otherwise every answer to a machine would read the database once more, and vary with the cookie."""
    site.add()
    browser = site.browser()
    browser.sign_in()
    with patch.object(site.sessions, "of_cookie", side_effect=AssertionError):
        answer = browser.http.get("/static/site.py")
        answer.close()
    assert answer.status_code == 200
    assert "Vary" not in answer.headers


def test_signing_out_the_others_keeps_this_one(site: Site) -> None:
    alice, bob, browser = site.add(), site.add("bob"), site.browser()
    browser.sign_in()
    here = site.live(alice)[0].sid
    site.session_of(alice)
    site.session_of(bob)
    assert browser.submit("/account", "/account/sign-out-others").location == "/account"
    assert [session.sid for session in site.live(alice)] == [here]
    assert len(site.live(bob)) == 1
    assert browser.http.get("/account").status_code == 200


def change(browser: Browser, old: str, new: str, again: str) -> TestResponse:
    fields = {"password": old, "new_password": new, "new_password_again": again}
    return browser.submit("/account/password", "/account/password", **fields)


def test_a_changed_password_ends_every_other_session(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    here = site.live(alice)[0].sid
    site.session_of(alice)
    another = "an entirely different battery"
    assert change(browser, PASSWORD, another, another).location == "/account?changed=password"
    assert [session.sid for session in site.live(alice)] == [here]
    assert 'id="password-changed"' in browser.http.get("/account?changed=password").text
    elsewhere = site.browser()
    assert "Error" in elsewhere.sign_in().text
    assert elsewhere.sign_in(password=another).status_code == 303


@pytest.mark.parametrize(
    ("old", "new", "again", "sentence"),
    [
        ("wrong", "an entirely different battery", "an entirely different battery", "current password is wrong"),
        (PASSWORD, "an entirely different battery", "another one altogether", "are not the same"),
        (PASSWORD, "short", "short", "at least"),
        (PASSWORD, "", "", "at least"),
    ],
)
def test_a_password_that_cannot_be_changed_is_told_why_and_ends_nothing(
    site: Site, old: str, new: str, again: str, sentence: str
) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    site.session_of(alice)
    answer = change(browser, old, new, again)
    assert answer.status_code == 200
    assert sentence in answer.text
    for secret in filter(None, (old, new)):
        assert secret not in answer.text.replace("current password is wrong", "")
    assert len(site.live(alice)) == 2
    assert site.logout.calls == []


def test_of_two_changes_at_once_with_the_old_password_the_first_one_stays(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    first = site.accounts.hash_password("alice", "the password of the first one")

    def set_first(_stored: str | None, _password: str) -> bool:
        with site.database.writing() as tx:
            assert site.accounts.set_password(tx, alice.subject, first, keep=site.live(alice)[0].sid) is not None
        return True

    with patch.object(site.accounts._passwords, "verify", side_effect=set_first):
        answer = change(browser, PASSWORD, *2 * ["the password of the second one"])
    assert "current password is wrong" in answer.text
    assert site.browser().sign_in(password="the password of the first one").status_code == 303


def test_guessing_the_present_password_is_throttled_like_signing_in(site: Site) -> None:
    site.add()
    browser = site.browser()
    browser.sign_in()
    new = "an entirely different battery"
    answers = [change(browser, "wrong", new, new) for _ in range(site.settings.accounts_throttle_account_failures + 1)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/account/password", "/account/sign-out-others"])
def test_nobody_changes_anything_without_being_signed_in(site: Site, path: str) -> None:
    browser = site.browser()
    token = browser.form("/login")
    assert browser.http.post(path, data={"csrf_token": token}).location == "/login"
    assert site.logout.calls == []
