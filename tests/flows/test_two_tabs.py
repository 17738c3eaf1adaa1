"""Two tabs of one browser: what is signed in or out in one, the other's forms hold to, and none is dropped in silence."""

import pytest

from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"
UNTRUE = ("open for too long", "Back button")


class Tabs(Person):
    """Somebody with several tabs. `sign_in_elsewhere` and `sign_out_elsewhere` are done in another one."""

    def __init__(self, provider: RunningProvider) -> None:
        super().__init__(provider.issuer)
        self.app = RelyingParty.register(provider)

    def sign_in_elsewhere(self, username: str = "alice") -> None:
        page = self.open(self.app.authorization_url(prompt="login"))
        self.app.code_from(self.sign_in(page, username, PASSWORD))

    def sign_out_elsewhere(self) -> None:
        assert self.submit(self.open("logout"), "logout-confirm").main == "logout-done"


@pytest.fixture
def tabs(provider: RunningProvider) -> Tabs:
    return Tabs(provider)


@pytest.fixture
def third_party(provider: RunningProvider) -> RelyingParty:
    """An app whose person is asked for consent."""
    return RelyingParty.register(provider, first_party=False)


def is_true(page: Page) -> None:
    assert not [sentence for sentence in UNTRUE if sentence in page.response.text]
    assert PASSWORD not in page.response.text


def sessions_of(provider: RunningProvider, username: str) -> list[str]:
    accounts, sessions = provider.services.accounts, provider.services.sessions
    with provider.services.database.reading() as tx:
        account = accounts.find(tx, username)
        assert account is not None
        return [session.sid for session in sessions.listed(tx, subject=account.subject)]


# -- the sign-in ------------------------------------------------------------------------------------------------------


def test_a_sign_in_page_that_is_sent_after_a_sign_in_elsewhere_goes_on(tabs: Tabs) -> None:
    stale = tabs.open(tabs.app.authorization_url())
    expected = tabs.app.state
    other = RelyingParty.register(tabs.app.provider)
    other.code_from(tabs.sign_in(tabs.open(other.authorization_url()), "alice", PASSWORD))
    page = tabs.sign_in(stale, "ALICE", "whatever: the session is there")
    assert page.query["state"] == expected
    assert tabs.app.redeem(page.query["code"]).status_code == 200


def test_a_sign_in_page_that_is_reloaded_after_a_sign_in_elsewhere_goes_on(tabs: Tabs) -> None:
    stale = tabs.open(tabs.app.authorization_url())
    expected = tabs.app.state
    other = RelyingParty.register(tabs.app.provider)
    other.code_from(tabs.sign_in(tabs.open(other.authorization_url()), "alice", PASSWORD))
    assert tabs.open(stale.url).query["state"] == expected


def test_a_consent_is_still_asked_for(tabs: Tabs, third_party: RelyingParty) -> None:
    stale = tabs.open(third_party.authorization_url())
    tabs.sign_in_elsewhere()
    assert tabs.open(stale.url).main == "consent-page"
    assert tabs.sign_in(stale, "alice", PASSWORD).main == "consent-page"


def test_a_session_that_does_not_satisfy_the_request_signs_in_again(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    page = tabs.open(tabs.app.authorization_url(prompt="login"))
    again = tabs.open(page.url)
    assert again.main == "login-page"
    assert "sign in again" in again.response.text
    forged = dict(page.forms[0].fields | {"csrf_token": "x", "username": "alice", "password": PASSWORD})
    answer = tabs.http.post(f"{tabs.home}/login", data=forged)
    assert tabs._follow(answer).main == "login-page"


def test_another_name_than_who_signed_in_is_asked_for_once_more_with_the_name_kept(tabs: Tabs) -> None:
    stale = tabs.open(tabs.app.authorization_url())
    other = RelyingParty.register(tabs.app.provider)
    other.code_from(tabs.sign_in(tabs.open(other.authorization_url()), "alice", PASSWORD))
    page = tabs.sign_in(stale, "bob", PASSWORD)
    assert (page.main, page.response.status_code) == ("login-page", 400)
    assert page.forms[0].fields["username"] == "bob"
    assert "alice signed in at this browser meanwhile" in page.texts["login-error"]
    is_true(page)
    assert tabs.app.code_from(tabs.sign_in(page, "bob", PASSWORD))


def test_a_sign_in_page_from_before_a_sign_out_elsewhere_keeps_the_name_and_the_app(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open(tabs.app.authorization_url(prompt="login"))
    expected = tabs.app.state
    tabs.sign_out_elsewhere()
    page = tabs.sign_in(stale, "alice", PASSWORD)
    assert (page.main, page.response.status_code) == ("login-page", 400)
    assert page.forms[0].fields["username"] == "alice"
    is_true(page)
    assert tabs.sign_in(page, "alice", PASSWORD).query["state"] == expected


def test_a_browser_that_sends_no_cookie_is_told_so(provider: RunningProvider) -> None:
    page = http.post(f"{provider.issuer}/login", data={"username": "alice", "password": PASSWORD})
    assert page.status_code == 400
    assert "did not send the cookie" in page.text
    assert PASSWORD not in page.text


# -- the choice of an account, and consent ----------------------------------------------------------------------------


def test_a_choice_of_the_same_person_is_carried_out(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open(tabs.app.authorization_url(prompt="select_account"))
    expected = tabs.app.state
    tabs.sign_in_elsewhere()
    assert tabs.submit(stale, "select-continue").query["state"] == expected


@pytest.mark.parametrize("button", ["select-continue", "select-cancel"])
def test_a_choice_of_another_person_is_asked_for_once_more(tabs: Tabs, button: str) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open(tabs.app.authorization_url(prompt="select_account"))
    tabs.sign_in_elsewhere("bob")
    page = tabs.submit(stale, button)
    assert (page.main, page.response.status_code) == ("select-account-page", 400)
    assert "bob" in page.texts["select-continue"]
    is_true(page)
    assert tabs.submit(page, "select-continue").query.get("code")


def test_a_consent_of_the_same_person_is_carried_out(tabs: Tabs, third_party: RelyingParty) -> None:
    stale = tabs.sign_in(tabs.open(third_party.authorization_url()), "alice", PASSWORD)
    tabs.sign_in_elsewhere()
    assert third_party.code_from(tabs.submit(stale, "consent-allow"))


@pytest.mark.parametrize("button", ["consent-allow", "consent-deny"])
def test_a_consent_of_another_person_is_asked_for_once_more(tabs: Tabs, third_party: RelyingParty, button: str) -> None:
    stale = tabs.sign_in(tabs.open(third_party.authorization_url()), "alice", PASSWORD)
    tabs.sign_in_elsewhere("bob")
    page = tabs.submit(stale, button)
    assert (page.main, page.response.status_code) == ("consent-page", 400)
    assert "bob" in page.response.text
    is_true(page)
    assert tabs.submit(page, "consent-deny").query["error"] == "access_denied"


def test_a_consent_after_a_sign_out_elsewhere_says_so_and_goes_on_after_a_sign_in(
    tabs: Tabs, third_party: RelyingParty
) -> None:
    stale = tabs.sign_in(tabs.open(third_party.authorization_url()), "alice", PASSWORD)
    tabs.sign_out_elsewhere()
    page = tabs.submit(stale, "consent-allow")
    assert page.main == "error-page"
    assert "nothing was allowed" in page.response.text
    is_true(page)
    login = tabs.open(page.links["sign-in-again"])
    consent = tabs.sign_in(login, "alice", PASSWORD)
    assert third_party.code_from(tabs.submit(consent, "consent-allow"))


# -- what ends something ----------------------------------------------------------------------------------------------

ENDS = {
    "account/sign-out": "sign-out-one",
    "account/sign-out-others": "sign-out-others",
    "account/sign-out-everywhere": "sign-out-everywhere",
}


def send(tabs: Tabs, page: Page, path: str, **more: str) -> Page:
    """The form of `page` that goes to `path`; each of them carries the same token."""
    form = next((form for form in page.forms if form.action.endswith(path)), page.forms[0])
    return tabs._follow(tabs.http.post(f"{tabs.home}/{path}", data=form.fields | more))


def others(provider: RunningProvider, username: str) -> Tabs:
    """Another browser of the same person."""
    other = Tabs(provider)
    other.sign_in_elsewhere(username)
    return other


@pytest.mark.parametrize("path", ENDS)
def test_a_form_that_ends_something_is_carried_out_when_it_is_the_same_persons(
    provider: RunningProvider, tabs: Tabs, path: str
) -> None:
    tabs.sign_in_elsewhere()
    elsewhere = others(provider, "alice")
    stale, before = tabs.open("account"), sessions_of(provider, "alice")
    tabs.sign_in_elsewhere()
    own = tabs.app.verified(
        tabs.app.redeem(tabs.open(tabs.app.authorization_url()).query["code"]).json()["id_token"],
        audience=tabs.app.client_id,
        typ="JWT",
    )["sid"]
    other = next(sid for sid in before if sid != own)
    send(tabs, stale, path, **({"sid": other} if path == "account/sign-out" else {}))
    assert other not in sessions_of(provider, "alice")
    elsewhere.http.close()


@pytest.mark.parametrize("path", ENDS)
def test_a_form_that_ends_something_is_asked_for_once_more_when_it_was_another_persons(
    provider: RunningProvider, tabs: Tabs, path: str
) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open("account")
    tabs.sign_in_elsewhere("bob")
    others(provider, "bob")
    before = set(sessions_of(provider, "bob"))
    own = next(iter(before))
    page = send(tabs, stale, path, sid=own)
    assert (page.main, page.response.status_code) == ("ask-again-page", 400)
    assert "bob" in page.response.text
    assert set(sessions_of(provider, "bob")) == before, "nothing was done yet"
    is_true(page)
    tabs.submit(page, "ask-again-confirm")
    assert set(sessions_of(provider, "bob")) < before


@pytest.mark.parametrize("path", [*ENDS, "account/password", "account/apps"])
def test_a_form_that_ends_something_says_when_nobody_is_signed_in_any_more(tabs: Tabs, path: str) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open("account/password" if path == "account/password" else "account/apps" if "apps" in path else "account")
    tabs.sign_out_elsewhere()
    page = send(tabs, stale, path)
    assert (page.main, page.response.status_code) == ("error-page", 400)
    assert "nothing was ended or changed" in page.response.text
    is_true(page)
    assert tabs.open(page.links["sign-in-again"]).main == "login-page"


@pytest.mark.parametrize("path", [*ENDS, "account/password", "account/apps"])
def test_it_says_so_too_when_the_session_ended_elsewhere(provider: RunningProvider, tabs: Tabs, path: str) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open("account/password" if path == "account/password" else "account/apps" if "apps" in path else "account")
    with provider.services.database.writing() as tx:
        account = provider.services.accounts.find(tx, "alice")
        assert account is not None
        provider.services.logout.end_account_sessions(tx, account.subject, "operator")
    page = send(tabs, stale, path)
    assert page.main == "login-page"
    assert "nothing was ended or changed" in page.texts["login-notice"]


def test_a_session_that_had_ended_already_is_no_silence(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    page = send(tabs, tabs.open("account"), "account/sign-out", sid="not open any more")
    assert page.main == "account-page"
    assert "nothing to end" in page.texts["account-told"]
    assert "account-told" not in tabs.open("account").texts, "once"


def test_an_access_that_was_withdrawn_already_is_no_silence(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    page = send(tabs, tabs.open("account/apps"), "account/apps", client_id=tabs.app.client_id)
    assert page.main == "apps-page"
    assert "nothing to withdraw" in page.texts["apps-told"]


def test_withdrawing_is_asked_for_once_more_of_another_person(tabs: Tabs, third_party: RelyingParty) -> None:
    for name in ("alice", "bob"):
        tabs.sign_in_elsewhere(name)
        consent = tabs.open(third_party.authorization_url())
        if consent.main == "consent-page":
            third_party.code_from(tabs.submit(consent, "consent-allow"))
        if name == "alice":
            stale = tabs.open("account/apps")
    page = send(tabs, stale, "account/apps", client_id=third_party.client_id)
    assert page.main == "ask-again-page"
    assert str(third_party.registration["client_name"]) in page.response.text
    tabs.submit(page, "ask-again-confirm")
    assert tabs.open(third_party.authorization_url()).main == "consent-page"


def test_another_password_is_asked_for_once_more_and_none_is_kept(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open("account/password")
    tabs.sign_in_elsewhere("bob")
    typed = {"password": PASSWORD, "new_password": "another horse", "new_password_again": "another horse"}
    page = send(tabs, stale, "account/password", **typed)
    assert (page.main, page.response.status_code) == ("password-page", 400)
    assert not [secret for secret in typed.values() if secret in page.response.text]
    is_true(page)


def test_a_sign_out_of_the_same_person_is_carried_out(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open("logout")
    tabs.sign_in_elsewhere()
    assert tabs.submit(stale, "logout-confirm").main == "logout-done"
    assert tabs.open("account").main == "login-page"


def test_a_sign_out_of_another_person_is_asked_for_once_more(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open("logout?state=kept")
    tabs.sign_in_elsewhere("bob")
    page = tabs.submit(stale, "logout-confirm")
    assert (page.main, page.response.status_code) == ("logout-page", 400)
    assert "bob" in page.response.text
    assert page.forms[0].fields["state"] == "kept"
    is_true(page)
    assert tabs.submit(stale, "logout-cancel").main == "logout-cancelled"
    assert tabs.open("account").main == "account-page"
    assert tabs.submit(page, "logout-confirm").main == "logout-done"


def test_a_sign_out_when_nobody_is_signed_in_any_more_says_so(tabs: Tabs) -> None:
    tabs.sign_in_elsewhere()
    stale = tabs.open("logout")
    tabs.sign_out_elsewhere()
    page = tabs.submit(stale, "logout-confirm")
    assert page.main == "logout-done"
    assert "You are not signed in" in page.response.text


# -- and yet no other site's form does anything -----------------------------------------------------------------------


def test_the_token_is_new_where_somebody_else_signs_in(tabs: Tabs) -> None:
    """docs/threats.md 25, 26: whoever planted a cookie, or was signed in before, knows no token of the next person's."""
    anonymous = tabs.open("login").forms[0].fields["csrf_token"]
    tabs.sign_in_elsewhere()
    of_alice = tabs.open("account").forms[0].fields["csrf_token"]
    tabs.sign_in_elsewhere("bob")
    for token in (anonymous, of_alice):
        data = {"decision": "confirm", "csrf_token": token}
        assert tabs.http.post(f"{tabs.home}/logout", data=data).status_code == 400
    assert tabs.open("account").main == "account-page"
