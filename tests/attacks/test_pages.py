"""docs/threats.md 25-27, 31, 34-36: forms on other sites, other people's requests, skipped steps, and sign-outs nobody asked for."""

from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.attacks import raw
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"


@pytest.fixture
def third_party(provider: RunningProvider) -> RelyingParty:
    """An app whose person is asked for consent."""
    return RelyingParty.register(provider, first_party=False)


@pytest.fixture
def mallory(provider: RunningProvider) -> Person:
    """Another browser."""
    return Person(provider.issuer)


def request_of(page: Page) -> str:
    return page.forms[0].fields["request"]


def is_signed_in(app: RelyingParty, person: Person) -> bool:
    return "code" in person.open(app.authorization_url(prompt="none")).query


def is_refused(page: Page) -> None:
    assert page.main == "error-page", f"{page.main} at {page.url}"
    assert page.response.status_code == 400
    assert "code" not in page.query


# -- 25, 33: the session's cookie -------------------------------------------------------------------------------------


def test_a_cookie_planted_before_the_sign_in_is_worthless_after_it(
    app: RelyingParty, provider: RunningProvider, person: Person, mallory: Person
) -> None:
    mallory.open("login")
    planted = mallory.http.cookies["idp_session"]
    person.http.cookies.set("idp_session", planted, domain="localhost.local", path="/")
    app.sign_in(person)
    assert not is_signed_in(app, mallory)
    thief = Person(provider.issuer)
    thief.http.cookies.set("idp_session", planted, domain="localhost.local", path="/")
    assert not is_signed_in(app, thief)


def test_a_stolen_cookie_dies_with_the_session(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    app.sign_in(person)
    stolen = person.http.cookies["idp_session"]
    thief = http.client(cookies={"idp_session": stolen})
    assert thief.get(f"{provider.issuer}/account").status_code == 200
    person.submit(person.open("logout"), "logout-confirm")
    assert thief.get(f"{provider.issuer}/account").status_code == 303
    assert "alice" not in thief.get(f"{provider.issuer}/").text
    thief.close()


def test_a_cookie_that_was_changed_or_made_up_is_nobody(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    app.sign_in(person)
    cookie = person.http.cookies["idp_session"]
    payload, _, rest = cookie.partition(".")
    forged = [
        "",
        "x",
        cookie[:-1],
        cookie[:-3] + "AAA",
        f"{payload[:-2]}xx.{rest}",
        payload,
        ".",
        "..",
        "a" * 5000,
        cookie.swapcase(),
        "eyJfdXNlcl9pZCI6ImFsaWNlIn0.aaaaaa.bbbb",
    ]
    for value in forged:
        answer = raw.send(provider, "GET", "/account", [("Cookie", f"idp_session={value}")])
        assert answer.status == 303, value


# -- 26: forms on other sites -----------------------------------------------------------------------------------------


def test_login_csrf_signs_nobody_in(app: RelyingParty, provider: RunningProvider, person: Person, mallory: Person) -> None:
    theirs = mallory.open("login").forms[0].fields
    person.open("login")
    for token in ({}, {"csrf_token": ""}, {"csrf_token": "x"}, {"csrf_token": theirs["csrf_token"]}):
        answer = person.http.post(f"{provider.issuer}/login", data={"username": "bob", "password": PASSWORD} | token)
        assert answer.status_code == 400
        assert not is_signed_in(app, person)
    bare = http.post(f"{provider.issuer}/login", data={"username": "bob", "password": PASSWORD} | theirs)
    assert bare.status_code == 400


def test_a_forged_consent_allows_nothing(
    third_party: RelyingParty, provider: RunningProvider, person: Person, mallory: Person
) -> None:
    consent = person.sign_in(person.open(third_party.authorization_url()), "alice", PASSWORD)
    assert consent.main == "consent-page"
    theirs = mallory.open("login").forms[0].fields["csrf_token"]
    for token in ({}, {"csrf_token": ""}, {"csrf_token": "x"}, {"csrf_token": theirs}):
        answer = person.http.post(
            f"{provider.issuer}/consent", data={"request": request_of(consent), "decision": "allow"} | token
        )
        assert answer.status_code == 400
    get = person.open(f"consent?{urlencode(consent.forms[0].fields | {'decision': 'allow'})}")
    assert get.main == "consent-page"
    assert person.open(third_party.authorization_url(prompt="none")).query["error"] == "consent_required"


@pytest.mark.parametrize("path", ["account/sign-out", "account/sign-out-everywhere", "logout", "login/select"])
def test_a_forged_form_signs_nobody_out(
    app: RelyingParty, provider: RunningProvider, person: Person, mallory: Person, path: str
) -> None:
    app.sign_in(person)
    theirs = mallory.open("login").forms[0].fields["csrf_token"]
    for token in ({}, {"csrf_token": "x"}, {"csrf_token": theirs}):
        answer = person.http.post(f"{provider.issuer}/{path}", data={"decision": "confirm", "sid": "x"} | token)
        assert answer.status_code == 400
        assert is_signed_in(app, person)


def test_a_form_token_does_not_outlive_its_sign_in(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    before = person.open("login").forms[0].fields["csrf_token"]
    app.sign_in(person)
    answer = person.http.post(f"{provider.issuer}/logout", data={"decision": "confirm", "csrf_token": before})
    assert answer.status_code == 400
    assert is_signed_in(app, person)


# -- 27: other people's requests and crafted answers ------------------------------------------------------------------


def test_a_request_begun_in_one_browser_cannot_go_on_in_another(
    app: RelyingParty, third_party: RelyingParty, person: Person, mallory: Person
) -> None:
    request_id = request_of(mallory.open(third_party.authorization_url()))
    app.sign_in(person)
    is_refused(person.open(f"authorize?continue={request_id}"))
    is_refused(person.open(f"consent?request={request_id}"))
    page = person.open(f"login?request={request_id}&other=1")
    assert page.main == "login-page" or page.main == "account-page"
    assert "client-name" not in page.texts


def test_a_consent_cannot_be_given_for_another_browsers_request(
    app: RelyingParty, third_party: RelyingParty, provider: RunningProvider, person: Person, mallory: Person
) -> None:
    theirs = mallory.sign_in(mallory.open(third_party.authorization_url()), "bob", PASSWORD)
    assert theirs.main == "consent-page"
    own = person.sign_in(person.open(RelyingParty.register(provider, first_party=False).authorization_url()), "alice", PASSWORD)
    fields = own.forms[0].fields | {"request": request_of(theirs), "decision": "allow"}
    is_refused(person._follow(person.http.post(f"{provider.issuer}/consent", data=fields)))
    assert mallory.open(third_party.authorization_url(prompt="none")).query["error"] == "consent_required"
    assert person.open(third_party.authorization_url(prompt="none")).query["error"] == "consent_required"
    assert mallory.submit(theirs, "consent-allow").query.get("code")  # the request itself was not spoiled


def test_a_request_that_was_posted_goes_on_in_one_browser_only(
    third_party: RelyingParty, provider: RunningProvider, person: Person, mallory: Person
) -> None:
    url = httpx.URL(third_party.authorization_url())
    answer = person.http.post(f"{provider.issuer}/authorize", data=dict(url.params))
    location = str(httpx.URL(provider.issuer + "/").join(answer.headers["Location"]))
    assert person.open(location).main == "login-page"
    is_refused(mallory.open(location))
    assert person.open(location).main == "login-page"


def test_a_request_is_answered_once(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    page = person.open(app.authorization_url())
    request_id = request_of(page)
    assert app.code_from(person.sign_in(page, "alice", PASSWORD))
    is_refused(person.open(f"authorize?continue={request_id}"))


@pytest.mark.parametrize("request_id", ["", "x", "' OR 1=1 --", "%00", "a" * 5000, "../x"])
def test_a_request_that_never_was_goes_nowhere(provider: RunningProvider, person: Person, request_id: str) -> None:
    for path in (f"authorize?continue={request_id}", f"consent?request={request_id}"):
        assert person.open(path).main == "error-page"


def test_no_step_can_be_skipped(third_party: RelyingParty, provider: RunningProvider, person: Person) -> None:
    login = person.open(third_party.authorization_url())
    request_id = request_of(login)
    for path in (f"authorize?continue={request_id}", f"authorize?continue={request_id}&prompt=none&consented=1"):
        assert person.open(path).main == "login-page"
    is_refused(person.open(f"consent?request={request_id}"))
    fields = login.forms[0].fields | {"decision": "allow"}
    is_refused(person._follow(person.http.post(f"{provider.issuer}/consent", data=fields)))
    consent = person.sign_in(login, "alice", PASSWORD)
    assert consent.main == "consent-page"
    assert person.open(f"authorize?continue={request_id}").main == "consent-page"
    assert person.open(f"authorize?continue={request_id}").main == "consent-page"


def test_a_consent_cannot_be_widened_by_its_form(third_party: RelyingParty, person: Person) -> None:
    consent = person.sign_in(person.open(third_party.authorization_url(scope="openid")), "alice", PASSWORD)
    page = person.submit(
        consent,
        "consent-allow",
        scope="openid profile email offline_access",
        scopes="email",
        redirect_uri="https://evil.example",
        client_id="x",
    )
    tokens = third_party.redeem(third_party.code_from(page)).json()
    assert tokens["scope"] == "openid"
    assert set(third_party.userinfo(tokens["access_token"]).json()) == {"sub"}
    assert person.open(third_party.authorization_url(scope="openid email", prompt="none")).query["error"] == "consent_required"


@pytest.mark.parametrize("decision", ["", "ALLOW", "allow ", "yes", "deny", "true"])
def test_only_the_word_allow_allows(
    third_party: RelyingParty, provider: RunningProvider, person: Person, decision: str
) -> None:
    consent = person.sign_in(person.open(third_party.authorization_url()), "alice", PASSWORD)
    fields = consent.forms[0].fields | ({"decision": decision} if decision else {})
    page = person._follow(person.http.post(f"{provider.issuer}/consent", data=fields))
    assert "code" not in page.query
    assert person.open(third_party.authorization_url(prompt="none")).query["error"] == "consent_required"


@pytest.mark.parametrize("decision", ["consent-allow", "consent-deny"])
def test_what_one_person_answered_is_not_answered_by_another_in_the_same_browser(
    third_party: RelyingParty, provider: RunningProvider, person: Person, decision: str
) -> None:
    """Alice answers, and before the app has heard it Bob signs in for the same request: his answer is still to be asked for."""
    consent = person.sign_in(person.open(third_party.authorization_url()), "alice", PASSWORD)
    request_id = request_of(consent)
    name, value = consent.forms[0].buttons[decision]
    person.http.post(f"{provider.issuer}/consent", data=consent.forms[0].fields | {name: value})
    login = person.open(f"login?request={request_id}&other=1")
    assert login.main == "login-page"
    page = person.sign_in(login, "bob", PASSWORD)
    assert "code" not in page.query
    assert page.main == "consent-page" or decision == "consent-deny"


def test_who_was_selected_does_not_stand_for_another(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    app.sign_in(person)
    select = person.open(app.authorization_url(prompt="select_account"))
    assert select.main == "select-account-page"
    form = next(form for form in select.forms if "select-continue" in form.buttons)
    name, value = form.buttons["select-continue"]
    person.http.post(f"{provider.issuer}/login/select", data=form.fields | {name: value})
    page = person.sign_in(person.open(f"login?request={request_of(select)}&other=1"), "bob", PASSWORD)
    claims = app.verified(app.redeem(app.code_from(page)).json()["id_token"], audience=app.client_id, typ="JWT")
    with provider.services.database.reading() as tx:
        bob = provider.services.accounts.find(tx, "bob")
    assert bob is not None
    assert claims["sub"] == bob.subject


# -- 31: names that print alike ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["ALICE", "Alice", "ａｌｉｃｅ", "аlice", "alіce", " alice ", "alice\u200b", "al\u00adice", "\u202ealice", "alice\x00"],
)
def test_nobody_can_have_a_name_that_prints_like_alices(provider: RunningProvider, name: str) -> None:
    from idp.accounts.errors import AccountRefusedError

    accounts, database = provider.services.accounts, provider.services.database
    with pytest.raises(AccountRefusedError), database.writing() as tx:
        accounts.add(tx, accounts.prepare(name, "another password that is long"))


# -- 35: prompt=none, prompt=login and max_age ------------------------------------------------------------------------


def test_prompt_none_never_shows_a_page(app: RelyingParty, third_party: RelyingParty, person: Person, mallory: Person) -> None:
    hint = third_party.redeem(
        third_party.code_from(
            mallory.submit(mallory.sign_in(mallory.open(third_party.authorization_url()), "bob", PASSWORD), "consent-allow")
        )
    ).json()["id_token"]
    cases: list[dict[str, str]] = [
        {},
        {"max_age": "0"},
        {"id_token_hint": hint},
        {"scope": "openid email"},
        {"login_hint": "bob"},
        {"acr_values": "9"},
        {"ui_locales": "de"},
    ]
    for signed_in in (False, True):
        if signed_in:
            app.sign_in(person)
        for extra in cases:
            page = person.open(third_party.authorization_url(prompt="none", **extra))
            assert page.url.startswith(third_party.redirect_uri)
            assert page.query["error"] in {
                "login_required",
                "consent_required",
                "interaction_required",
                "account_selection_required",
            }
            form = person.open(third_party.authorization_url(prompt="none", response_mode="form_post", **extra))
            assert form.main == "form-post-page"
            assert "error" in form.forms[0].fields


@pytest.mark.parametrize(
    "extra", [{"prompt": "login"}, {"max_age": "0"}, {"prompt": "login consent"}, {"prompt": "select_account login"}]
)
def test_a_sign_in_that_was_asked_for_cannot_be_skipped(app: RelyingParty, person: Person, extra: dict[str, str]) -> None:
    app.sign_in(person)
    login = person.open(app.authorization_url(**extra))
    assert login.main == "login-page"
    request_id = request_of(login)
    for path in (f"authorize?continue={request_id}", f"login/select?request={request_id}"):
        assert "code" not in person.open(path).query
    assert person.open(f"authorize?continue={request_id}").main == "login-page"
    assert person.sign_in(login, "alice", "wrong password").main == "login-page"
    assert person.open(f"authorize?continue={request_id}").main == "login-page"


def test_a_sign_in_for_one_request_does_not_count_for_an_older_one_of_another_app(
    app: RelyingParty, provider: RunningProvider, person: Person
) -> None:
    """Each request is judged by when it began: a later sign-in satisfies it, an earlier one does not."""
    app.sign_in(person)
    first = person.open(app.authorization_url(prompt="login"))
    assert first.main == "login-page"
    other = RelyingParty.register(provider)
    assert "code" in person.open(other.authorization_url()).query
    assert person.open(f"authorize?continue={request_of(first)}").main == "login-page"


# -- 36: sign-outs nobody asked for -----------------------------------------------------------------------------------


def bye(app: RelyingParty) -> str:
    return str(app.registration["post_logout_redirect_uris"][0])  # type: ignore[index]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "?decision=confirm",
        "?confirm=1",
        "?post_logout_redirect_uri=https://evil.example",
        "?logout_hint=alice",
        "?id_token_hint=x&decision=confirm",
    ],
)
def test_a_link_signs_nobody_out(app: RelyingParty, provider: RunningProvider, person: Person, method: str, query: str) -> None:
    app.sign_in(person)
    answer = person.http.request(method, f"{provider.issuer}/logout{query}")
    assert answer.status_code == 200
    assert is_signed_in(app, person)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_no_other_method_signs_anybody_out(app: RelyingParty, provider: RunningProvider, person: Person, method: str) -> None:
    hint = app.sign_in(person)["id_token"]
    mallory = Person(provider.issuer)
    foreign = app.sign_in(mallory, username="bob")["id_token"]
    for url in ("/logout", f"/logout?id_token_hint={foreign}", "/account/sign-out", "/account/sign-out-everywhere"):
        person.http.request(method, provider.issuer + url)
        assert is_signed_in(app, person), f"{method} {url}"
    assert is_signed_in(app, mallory)
    assert hint


def test_an_old_hint_names_the_client_and_ends_nobody(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    old = app.sign_in(person)["id_token"]
    person.submit(person.open("logout"), "logout-confirm")
    app.sign_in(person)
    page = person.open(f"logout?{urlencode({'id_token_hint': old, 'post_logout_redirect_uri': bye(app)})}")
    assert page.main == "logout-page"
    assert is_signed_in(app, person)
    posted = person._follow(person.http.post(f"{provider.issuer}/logout", data={"id_token_hint": old}))
    assert posted.main == "logout-page"
    assert is_signed_in(app, person)


def test_a_hint_for_one_client_does_not_redirect_to_another(
    app: RelyingParty, provider: RunningProvider, person: Person
) -> None:
    other = RelyingParty.register(provider)
    hint = app.sign_in(person)["id_token"]
    page = person.open(
        f"logout?{urlencode({'id_token_hint': hint, 'client_id': other.client_id, 'post_logout_redirect_uri': bye(other)})}"
    )
    assert page.main == "error-page"
    page = person.open(f"logout?{urlencode({'id_token_hint': hint, 'post_logout_redirect_uri': bye(other)})}")
    assert page.url.startswith(provider.issuer)


def test_a_state_goes_back_after_signing_out_as_it_was(app: RelyingParty, person: Person) -> None:
    hint = app.sign_in(person)["id_token"]
    state = 'a b&c=d#e"<\r\nX: y😀'
    page = person.open(f"logout?{urlencode({'id_token_hint': hint, 'post_logout_redirect_uri': bye(app), 'state': state})}")
    assert page.url.startswith(bye(app) + "?")
    assert parse_qs(urlsplit(page.url).query) == {"state": [state]}
