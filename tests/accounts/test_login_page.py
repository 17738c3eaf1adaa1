"""`/login` and `/login/select`: what a person sees, and where they go from there."""

from datetime import UTC, datetime
from unittest.mock import patch

import pytest

from idp.accounts.errors import PasswordsBusyError
from tests.accounts.site import PASSWORD, Site


def test_a_sign_in_starts_a_session_and_leads_to_the_account(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    answer = browser.sign_in()
    assert (answer.status_code, answer.location) == (303, "/account")
    (session,) = site.live(alice)
    assert (session.subject, session.amr, session.auth_time, session.address) == (
        alice.subject,
        "pwd",
        site.clock.now,
        "203.0.113.5",
    )
    assert "alice" in browser.http.get("/").text


def test_a_sign_in_goes_back_to_the_request_that_asked_for_it(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    page = browser.http.get(f"/login?request={request_id}")
    assert "The App" in page.text
    assert "form-action 'self';" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    answer = browser.sign_in(path=f"/login?request={request_id}", request=request_id)
    assert (answer.status_code, answer.location) == (303, "/authorize?continue=a-request")
    assert site.pending.signed == [request_id]


def test_the_browser_that_began_a_request_is_still_known_after_the_sign_in(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    browser.sign_in(path=f"/login?request={request_id}", request=request_id)
    assert "The App" in browser.http.get(f"/login?request={request_id}").text
    assert "The App" not in site.browser().http.get(f"/login?request={request_id}").text


@pytest.mark.parametrize("request_id", ["unknown", "%F0%9F%A6%8A", "x" * 2000, "../../evil", "//evil.example"])
def test_a_request_that_is_unknown_leads_to_the_account_and_nowhere_else(site: Site, request_id: str) -> None:
    site.add()
    browser = site.browser()
    page = browser.http.get(f"/login?request={request_id}")
    assert "has expired" in page.text
    assert page.headers["Content-Security-Policy"].count("form-action 'self';") == 1
    assert browser.sign_in(request=request_id).location == "/account"


def test_the_page_is_below_the_issuers_path(site: Site) -> None:
    below = site.restarted(issuer="https://id.example/tenant")
    below.add()
    browser, request_id = below.browser(), below.pending.add()
    page = browser.http.get(f"/login?request={request_id}")
    assert 'action="/tenant/login"' in page.text
    answer = browser.sign_in(path=f"/login?request={request_id}", request=request_id)
    assert answer.location == "/tenant/authorize?continue=a-request"
    (device,) = [cookie for cookie in answer.headers.getlist("Set-Cookie") if "device" in cookie]
    assert device.startswith("__Host-idp_device=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(device.split("; "))
    assert "Domain" not in device


def test_whoever_is_signed_in_and_was_not_sent_is_led_to_the_account(site: Site) -> None:
    site.add()
    browser = site.browser()
    browser.sign_in()
    assert browser.http.get("/login").location == "/account"


def test_the_name_that_the_app_expects_stands_in_the_field(site: Site) -> None:
    site.add()
    browser = site.browser()
    hinted = site.pending.add("hinted", login_hint='bob"><script>')
    page = browser.http.get(f"/login?request={hinted}").text
    assert "bob&#34;&gt;&lt;script&gt;" in page
    assert "<script>" not in page  # ours has a source


def test_whoever_must_sign_in_again_is_told_so_by_name(site: Site) -> None:
    alice = site.add()
    browser, plain = site.browser(), site.pending.add("plain")
    browser.sign_in()
    page = browser.http.get(f"/login?request={plain}").text
    assert "sign in again" in page
    assert 'value="alice"' in page
    same = site.pending.add("same", subject_required=alice.subject)
    assert 'value="alice"' in browser.http.get(f"/login?request={same}").text
    another = site.pending.add("another", subject_required="somebody else")
    assert 'value="alice"' not in browser.http.get(f"/login?request={another}").text


def test_the_same_person_keeps_the_sid_and_gets_a_new_cookie_and_auth_time(site: Site) -> None:
    alice, browser, request_id = site.add(), site.browser(), site.pending.add()
    browser.sign_in()
    (before,) = site.live(alice)
    cookie = browser.cookie("idp_session")
    site.clock.move(90)
    browser.sign_in(path=f"/login?request={request_id}", request=request_id)
    (after,) = site.live(alice)
    assert after.sid == before.sid
    assert after.cookie_hash != before.cookie_hash
    assert (after.started_at, after.auth_time) == (before.started_at, site.clock.now)
    assert browser.cookie("idp_session") != cookie
    assert site.logout.calls == []
    assert browser.http.get("/account").status_code == 200


def test_another_person_ends_the_session_of_the_one_before(site: Site) -> None:
    alice, bob, browser, request_id = site.add(), site.add("bob"), site.browser(), site.pending.add()
    browser.sign_in()
    (before,) = site.live(alice)
    browser.sign_in("bob", path=f"/login?request={request_id}", request=request_id)
    assert site.logout.calls == [("session", before.sid, "replaced")]
    assert site.live(alice) == []
    (after,) = site.live(bob)
    assert after.sid != before.sid


def test_a_session_that_ended_meanwhile_is_not_renewed(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    (before,) = site.live(alice)
    with site.database.writing() as tx:
        site.logout.end_session(tx, before.sid, "elsewhere")
    browser.sign_in()
    (after,) = site.live(alice)
    assert after.sid != before.sid


def test_a_session_that_ends_while_its_person_signs_in_again_is_not_renewed(site: Site) -> None:
    alice, browser, request_id = site.add(), site.browser(), site.pending.add()
    browser.sign_in()
    (before,) = site.live(alice)
    verify = site.accounts._passwords.verify

    def end_then_verify(stored: str | None, password: str) -> bool:
        with site.database.writing() as tx:
            site.logout.end_session(tx, before.sid, "elsewhere")
        return verify(stored, password)

    with patch.object(site.accounts._passwords, "verify", end_then_verify):
        assert browser.sign_in(path=f"/login?request={request_id}", request=request_id).status_code == 303
    (after,) = site.live(alice)
    assert after.sid != before.sid


def test_throttled_is_429_with_the_wait_on_the_page(site: Site) -> None:
    site.add()
    strict = site.restarted(accounts_throttle_account_failures=1)
    browser, request_id = strict.browser(), strict.pending.add()
    browser.sign_in(password="wrong")
    answer = browser.sign_in(path=f"/login?request={request_id}", request=request_id)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "900"
    assert "Try again in 15 minutes." in answer.text
    until = datetime.fromtimestamp(site.clock.now + 900, UTC)
    assert f'That is at <time id="held-until" datetime="{until:%Y-%m-%dT%H:%M:%SZ}"' in answer.text
    assert f">{until:%H:%M:%S} UTC</time>" in answer.text
    assert "<fieldset disabled>" in answer.text, "nothing that is typed would be looked at"
    assert f'id="login-again" href="/login?request={request_id}"' in answer.text
    assert "<fieldset disabled>" not in browser.http.get(f"/login?request={request_id}").text
    assert "The App" in answer.text
    assert 'id="login-page"' in answer.text


def test_a_password_that_was_changed_while_it_was_checked_opens_nothing(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    other = site.accounts.hash_password("alice", "another horse battery staple")

    def change(_stored: str | None, _password: str) -> bool:
        with site.database.writing() as tx:
            assert site.accounts.set_password(tx, alice.subject, other) is not None
        return True

    with patch.object(site.accounts._passwords, "verify", side_effect=change):
        answer = browser.sign_in()
    assert 'id="login-page"' in answer.text
    assert site.live(alice) == []


def test_busy_is_503_with_the_wait_on_the_page(site: Site) -> None:
    browser = site.browser()
    with patch.object(site.accounts._passwords, "verify", side_effect=PasswordsBusyError(5)):
        answer = browser.sign_in()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert 'id="login-page"' in answer.text


def test_a_stale_form_gets_the_page_again_with_what_was_typed(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    browser.http.get(f"/login?request={request_id}")
    answer = browser.http.post("/login", data={"username": "alice", "password": PASSWORD, "request": request_id})
    assert answer.status_code == 400
    assert 'id="login-page"' in answer.text
    assert "is not from your current session" in answer.text
    assert 'value="alice"' in answer.text
    assert "The App" in answer.text
    assert PASSWORD not in answer.text


def test_the_account_may_be_disabled_between_the_check_and_the_session(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    verify = site.accounts._passwords.verify

    def verify_then_disable(stored: str | None, password: str) -> bool:
        matches = verify(stored, password)
        site.disable(alice)
        return matches

    with patch.object(site.accounts._passwords, "verify", verify_then_disable):
        answer = browser.sign_in()
    assert answer.status_code == 200
    assert "not right" in answer.text
    assert site.live(alice) == []


def test_a_person_may_go_on_as_who_they_are(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    browser.sign_in()
    page = browser.http.get(f"/login/select?request={request_id}")
    assert 'id="select-account-page"' in page.text
    assert "alice" in page.text
    assert "form-action 'self';" in page.headers["Content-Security-Policy"]
    answer = browser.submit(f"/login/select?request={request_id}", "/login/select", request=request_id, choice="continue")
    assert (answer.status_code, answer.location) == (303, "/authorize?continue=a-request")
    assert site.pending.selected == [request_id]


def test_a_person_may_go_on_as_somebody_else(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    browser.sign_in()
    answer = browser.submit(f"/login/select?request={request_id}", "/login/select", request=request_id, choice="other")
    assert answer.location == "/login?request=a-request&other=1"
    page = browser.http.get(answer.location).text
    assert 'value="alice"' not in page
    assert "sign in again" not in page
    assert site.pending.selected == []


def test_a_person_may_choose_nobody_and_go_back_to_the_app(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    browser.sign_in()
    answer = browser.submit(f"/login/select?request={request_id}", "/login/select", request=request_id, choice="cancel")
    assert (answer.status_code, answer.location) == (303, "/authorize?continue=a-request")
    assert (site.pending.selected, site.pending.denied) == ([], [request_id])


def test_there_is_nothing_to_choose_for_a_stranger_or_without_a_request(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    assert browser.http.get(f"/login/select?request={request_id}").location == f"/login?request={request_id}"
    browser.sign_in()
    assert browser.http.get("/login/select?request=unknown").location == "/login?request=unknown"
    assert browser.http.get("/login/select").location == "/login"
    answer = browser.submit(f"/login/select?request={request_id}", "/login/select", request="unknown", choice="continue")
    assert answer.location == "/login?request=unknown"


def test_a_choice_without_the_forms_token_is_no_choice(site: Site) -> None:
    site.add()
    browser, request_id = site.browser(), site.pending.add()
    browser.sign_in()
    browser.http.get(f"/login/select?request={request_id}")
    answer = browser.http.post("/login/select", data={"request": request_id, "choice": "continue"})
    assert answer.status_code == 400
    assert 'id="select-account-page"' in answer.text
    assert 'id="select-notice"' in answer.text
    assert site.pending.selected == []
