"""docs/threats.md 1-7: nobody is sent to a place that was not registered to the letter, and what is sent says who sent it."""

import secrets
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest

from tests.attacks import raw
from tests.attacks.conftest import ON_ONE_DATABASE
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

pytestmark = ON_ONE_DATABASE

EVIL = "https://evil.example/callback"

VARIATIONS = {
    "another path": lambda uri: uri + "/more",
    "a trailing slash": lambda uri: uri + "/",
    "a query": lambda uri: uri + "?next=https://evil.example",
    "an empty query": lambda uri: uri + "?",
    "a fragment": lambda uri: uri + "#x",
    "an empty fragment": lambda uri: uri + "#",
    "a user": lambda uri: uri.replace("https://", "https://user@"),
    "a user that looks like the host": lambda uri: uri.replace("https://", "https://app.example.org@evil.example/"),
    "a path in capitals": lambda uri: uri.replace("callback", "Callback"),
    "a host in capitals": lambda uri: uri.replace("example.org", "EXAMPLE.org"),
    "a scheme in capitals": lambda uri: uri.replace("https", "HTTPS"),
    "a letter percent-encoded": lambda uri: uri.replace("callback", "c%61llback"),
    "a slash percent-encoded": lambda uri: uri.replace("/callback", "%2fcallback"),
    "dots": lambda uri: uri.replace("/callback", "/x/../callback"),
    "dots percent-encoded": lambda uri: uri.replace("/callback", "/x/%2e%2e/callback"),
    "a dot": lambda uri: uri.replace("/callback", "/./callback"),
    "a double slash": lambda uri: uri.replace("/callback", "//callback"),
    "a backslash": lambda uri: uri.replace("/callback", "\\callback"),
    "a backslash and a user": lambda uri: uri.replace("/callback", "\\@evil.example/callback"),
    "the default port": lambda uri: uri.replace(".org/", ".org:443/"),
    "another port": lambda uri: uri.replace(".org/", ".org:8443/"),
    "a longer host": lambda uri: uri.replace(".org/", ".org.evil.example/"),
    "a host with a final dot": lambda uri: uri.replace(".org/", ".org./"),
    "plain http": lambda uri: uri.replace("https:", "http:"),
    "no scheme": lambda uri: uri.replace("https:", ""),
    "a space before": lambda uri: " " + uri,
    "a space behind": lambda uri: uri + " ",
    "a line break behind": lambda uri: uri + "\r\nX-Injected: yes",
    "a tab within": lambda uri: uri.replace("/callback", "/call\tback"),
    "a letter of another alphabet": lambda uri: uri.replace("callback", "c\u0430llback"),
    "a full-width dot": lambda uri: uri.replace(".example", "\uff0eexample"),
    "a semicolon": lambda uri: uri + ";x",
    "two in one": lambda uri: uri + " " + EVIL,
    "a wildcard": lambda uri: uri.replace("callback", "*"),
    "javascript": lambda _: "javascript:alert(document.domain)",
    "data": lambda _: "data:text/html,<script>alert(1)</script>",
    "loopback": lambda _: "http://127.0.0.1:1234/callback",
    "the provider itself": lambda _: "/login",
    "somewhere else": lambda _: EVIL,
}


def is_our_error_page(page: Page, error: str = "invalid_request") -> None:
    assert page.main == "error-page", f"{page.main} at {page.url}"
    assert page.response.status_code == 400
    assert "Location" not in page.response.headers
    assert page.texts["error-code"] == error


@pytest.mark.parametrize("change", VARIATIONS.values(), ids=VARIATIONS.keys())
def test_a_redirect_uri_that_is_not_the_registered_one_to_the_letter_leads_nowhere(
    app: RelyingParty, provider: RunningProvider, change
) -> None:
    person = Person(provider.issuer)
    for extra in ({}, {"prompt": "none"}, {"response_mode": "form_post"}):
        is_our_error_page(person.open(app.authorization_url(redirect_uri=change(app.redirect_uri), **extra)))


SECOND_ERRORS: list[dict[str, str]] = [
    {"prompt": "none"},
    {"response_type": "token"},
    {"response_type": "x"},
    {"response_mode": "fragment"},
    {"response_mode": "form_post", "response_type": "token"},
    {"scope": "unknown"},
    {"prompt": "nonsense"},
    {"max_age": "-1"},
    {"code_challenge_method": "plain"},
    {"request": "x"},
    {"request_uri": EVIL},
    {"id_token_hint": "garbage"},
    {"state": "x" * 5000},
    {"continue": "x"},
]


@pytest.mark.parametrize(
    "extra", SECOND_ERRORS, ids=[next(iter(extra)) + "-" + next(iter(extra.values()))[:12] for extra in SECOND_ERRORS]
)
def test_no_second_error_can_redirect_to_an_evil_uri(app: RelyingParty, person: Person, extra: dict[str, str]) -> None:
    is_our_error_page(person.open(app.authorization_url(redirect_uri=EVIL, **extra)))
    url = httpx.URL(app.authorization_url(redirect_uri=EVIL, **extra))
    is_our_error_page(person._follow(person.http.post(url.copy_with(query=None), data=dict(url.params))))


def test_a_client_that_is_unknown_or_unnamed_leads_nowhere(app: RelyingParty, person: Person) -> None:
    is_our_error_page(person.open(app.authorization_url(client_id="unknown")), "invalid_client")
    is_our_error_page(person.open(app.authorization_url(client_id="")), "invalid_request")


def test_a_client_that_was_removed_leads_nowhere(provider: RunningProvider, person: Person) -> None:
    gone = RelyingParty.register(provider)
    page = person.open(gone.authorization_url())
    with provider.services.database.writing() as tx:
        provider.services.logout.end_client(tx, gone.client_id)
    is_our_error_page(person.open(gone.authorization_url()), "invalid_client")
    after = person.sign_in(page, "alice", "correct horse battery staple")
    assert after.url.startswith(provider.issuer)


def test_without_a_redirect_uri_there_must_be_no_choice(provider: RunningProvider, person: Person) -> None:
    one = RelyingParty.register(provider)
    several = RelyingParty.register(provider, redirect_uris=["https://a.example/cb", "https://b.example/cb"])
    assert person.open(one.authorization_url(redirect_uri="", scope="profile")).main == "login-page"
    is_our_error_page(person.open(several.authorization_url(redirect_uri="", scope="profile")))
    is_our_error_page(person.open(one.authorization_url(redirect_uri="")))  # OpenID Connect demands it
    is_our_error_page(person.open(several.authorization_url(redirect_uri="")))


def test_a_redirect_uri_given_twice_leads_nowhere_in_either_order(
    app: RelyingParty, provider: RunningProvider, person: Person
) -> None:
    good, evil = (f"redirect_uri={quote(uri, safe='')}" for uri in (app.redirect_uri, EVIL))
    for first, second in ((good, evil), (evil, good), (good, good), (good, "redirect_uri="), ("redirect_uri", good)):
        rest = urlencode({"client_id": app.client_id, "response_type": "code", "scope": "openid"})
        is_our_error_page(person.open(f"authorize?{first}&{rest}&{second}"))


def test_a_client_given_twice_leads_nowhere(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    other = RelyingParty.register(provider)
    is_our_error_page(person.open(f"{app.authorization_url()}&client_id={other.client_id}"))
    is_our_error_page(person.open(f"{app.authorization_url()}&client_id={app.client_id}"))


@pytest.mark.parametrize(
    "name",
    [
        "response_type",
        "scope",
        "state",
        "nonce",
        "prompt",
        "max_age",
        "code_challenge",
        "code_challenge_method",
        "response_mode",
        "x",
    ],
)
def test_any_other_parameter_given_twice_is_refused_to_the_app(app: RelyingParty, person: Person, name: str) -> None:
    page = person.open(f"{app.authorization_url(x='1', prompt='login', max_age='1', response_mode='query')}&{name}=2")
    assert page.url.startswith(app.redirect_uri + "?")
    assert page.query["error"] == "invalid_request"
    assert page.query["iss"] == app.provider.issuer
    assert "code" not in page.query


def test_the_token_endpoint_refuses_a_parameter_given_twice(app: RelyingParty, person: Person) -> None:
    code = app.code_from(_signed_in(app, person))
    rest = urlencode({"code": code, "redirect_uri": app.redirect_uri, "code_verifier": app.verifier})
    for doubled in (
        "grant_type=authorization_code&grant_type=refresh_token",
        f"grant_type=authorization_code&code={code}",
        "grant_type=authorization_code&x=1&x=1",
    ):
        answer = http.post(
            f"{app.provider.issuer}/token",
            content=f"{doubled}&{rest}",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            auth=app.auth,
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert app.redeem(code).status_code == 200


def _signed_in(app: RelyingParty, person: Person, **extra: str) -> Page:
    page = person.open(app.authorization_url(**extra))
    return person.sign_in(page, "alice", "correct horse battery staple") if page.main == "login-page" else page


# -- 3: registration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    ["javascript:alert(1)", "data:text/html,x", "http://app.example/cb", "https://*.example/cb", "https://app.example/cb#x"],
)
def test_an_unsafe_redirect_uri_cannot_be_registered(provider: RunningProvider, uri: str) -> None:
    from idp.clients.metadata import MetadataError

    with pytest.raises(MetadataError) as refused:
        provider.add_client({"redirect_uris": [uri]})
    assert refused.value.error == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "uri",
    [
        "https://a..b.example/callback",
        "https://" + "a" * 64 + ".example/callback",
        "https://app.example/callback?x=[1]",
        "com.example.app:///callback",
        "https://app.example:0443/callback",
    ],
)
def test_whatever_was_registered_is_redirected_to_to_the_letter(provider: RunningProvider, person: Person, uri: str) -> None:
    """A URI that the server cannot redirect to must not be registered; one that it changes is not the registered one."""
    from idp.clients.metadata import MetadataError

    try:
        app = RelyingParty.register(provider, redirect_uris=[uri], application_type="native")
    except MetadataError:
        return
    answer = person.http.get(app.authorization_url(prompt="none"))
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(uri + ("&" if "?" in uri else "?"))


# -- 4: reflected text ------------------------------------------------------------------------------------------------

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onload='x",
    "{{7*7}}{% raw %}",
    "a\r\nSet-Cookie: idp_session=evil",
    "a\nLocation: https://evil.example",
    "\u2028\u2029\u202e",
    "&error=none&code=forged&iss=https://evil.example",
    "#code=forged",
    "😀 ä %00 %0d%0a",
    "</form><form action=https://evil.example>",
]


@pytest.mark.parametrize("state", NASTY)
def test_a_state_comes_back_as_it_was_and_breaks_no_header(app: RelyingParty, provider: RunningProvider, state: str) -> None:
    person = Person(provider.issuer)
    for extra in ({"prompt": "none"}, {"response_type": "token"}):
        answer = person.http.get(app.authorization_url(state=state, **extra))
        assert answer.status_code == 303
        location = answer.headers["Location"]
        assert location.isascii()
        assert location.isprintable()
        assert urlsplit(location).netloc == urlsplit(app.redirect_uri).netloc
        # `token` would have come in the fragment, and so does its refusal (RFC 6749 §4.2.2.1).
        part = urlsplit(location).fragment if "response_type" in extra else urlsplit(location).query
        given = httpx.QueryParams(part)
        assert given.get_list("state") == [state]
        assert given.get_list("iss") == [provider.issuer]
        assert "code" not in given
        assert answer.headers.get_list("Location") == [location]
        assert "evil" not in "".join(answer.headers.get_list("Set-Cookie"))


@pytest.mark.parametrize("state", NASTY)
def test_a_state_in_a_form_is_text(app: RelyingParty, provider: RunningProvider, state: str) -> None:
    person = Person(provider.issuer)
    page = person.open(app.authorization_url(state=state, prompt="none", response_mode="form_post"))
    assert page.main == "form-post-page"
    assert len(page.forms) == 1
    assert page.forms[0].action == app.redirect_uri
    assert page.forms[0].fields["state"].splitlines() == state.splitlines()
    assert page.forms[0].fields["iss"] == provider.issuer
    assert "<script>alert" not in page.response.text
    assert "<img src=x" not in page.response.text


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize(
    "name",
    ["client_id", "redirect_uri", "scope", "prompt", "login_hint", "ui_locales", "response_type", "id_token_hint", "max_age"],
)
def test_no_parameter_is_reflected_as_markup(app: RelyingParty, provider: RunningProvider, name: str, text: str) -> None:
    person = Person(provider.issuer)
    page = person.open(app.authorization_url(**{name: text}))
    if page.response.status_code:  # else the person is back at the app
        assert page.response.status_code < 500
        for mark in ("<script>alert", "<img src=x", "'onload='", "</form><form", "49{%"):
            assert mark not in page.response.text
    else:
        assert page.url.startswith(app.redirect_uri + "?")
        assert set(page.query.get("error_description", "")) <= {chr(code) for code in range(0x20, 0x7F)} - {'"', "\\"}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "</title><script>alert(1)</script>"]
)
def test_a_clients_name_is_text(provider: RunningProvider, person: Person, name: str) -> None:
    app = RelyingParty.register(provider, client_name=name, first_party=False)
    login = person.open(app.authorization_url())
    consent = person.sign_in(login, "alice", "correct horse battery staple")
    assert consent.main == "consent-page"
    for page in (login, consent):
        assert "<script>alert" not in page.response.text
        assert "<img src=x" not in page.response.text
        assert "49" not in page.texts["login-page" if page is login else "consent-page"] or name != "{{7*7}}"


@pytest.mark.parametrize("request_id", ["x", *NASTY])
def test_a_forged_request_id_is_reflected_nowhere(provider: RunningProvider, request_id: str) -> None:
    person = Person(provider.issuer)
    for path in ("login", "login/select", "consent", "authorize"):
        name = "continue" if path == "authorize" else "request"
        page = person.open(f"{path}?{urlencode({name: request_id})}")
        assert page.response.status_code < 500
        assert page.main in {"error-page", "login-page"}
        for mark in ("<script>alert", "<img src=x", "'onload='", "</form><form"):
            assert mark not in page.response.text


# -- 5: mix-up --------------------------------------------------------------------------------------------------------


def test_every_answer_names_the_issuer(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    errors = [{"prompt": "none"}, {"response_type": "token"}, {"scope": "unknown"}, {"response_mode": "x"}, {"request": "x"}]
    for extra in errors:
        page = person.open(app.authorization_url(**extra))
        assert (page.query | page.fragment)["iss"] == provider.issuer
    app.code_from(_signed_in(app, person))
    form = person.open(app.authorization_url(response_mode="form_post")).forms[0]
    assert form.fields["iss"] == provider.issuer
    assert (
        http.get(f"{provider.issuer}/.well-known/openid-configuration").json()["authorization_response_iss_parameter_supported"]
        is True
    )


# -- 6: open redirectors ----------------------------------------------------------------------------------------------

ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "///evil.example",
    "javascript:alert(1)",
    "%2f%2fevil.example",
    "\t//evil.example",
    "https://localhost@evil.example/",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_parameter_leads_elsewhere_after_signing_in_or_out(provider: RunningProvider, target: str) -> None:
    person = Person(provider.issuer)
    names = (
        "next",
        "redirect",
        "redirect_uri",
        "return_to",
        "continue",
        "request",
        "url",
        "target",
        "post_logout_redirect_uri",
        "state",
    )
    query = urlencode(dict.fromkeys(names, target))
    page = person.open(f"login?{query}")
    assert page.url.startswith(provider.issuer)
    page = person.sign_in(page, "alice", "correct horse battery staple")
    assert page.url.startswith(provider.issuer)
    assert page.main == "account-page"
    page = person.open(f"logout?{query}")
    assert page.main == "logout-page"
    page = person.submit(page, "logout-confirm")
    assert page.url.startswith(provider.issuer)
    assert page.main == "logout-done"


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_login_hint_is_a_name_and_nothing_else(app: RelyingParty, person: Person, target: str) -> None:
    page = person.open(app.authorization_url(login_hint=target))
    assert page.main == "login-page"
    assert urlsplit(page.forms[0].action).netloc == ""
    assert app.code_from(person.sign_in(page, "alice", "correct horse battery staple"))


# -- 7: what leaks ----------------------------------------------------------------------------------------------------


def test_after_a_post_the_browser_goes_on_by_get(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    """303, never 307 or 308, which would post the password again to wherever the redirect leads."""
    third_party = RelyingParty.register(provider, first_party=False)
    url = httpx.URL(third_party.authorization_url())
    answers = [person.http.post(f"{provider.issuer}/authorize", data=dict(url.params))]
    login = person.open(str(answers[0].headers["Location"]))
    fields = login.forms[0].fields | {"username": "alice", "password": "correct horse battery staple"}
    answers.append(person.http.post(f"{provider.issuer}/login", data=fields))
    consent = person._follow(answers[-1])
    fields = consent.forms[0].fields | {"decision": "allow"}
    answers.append(person.http.post(f"{provider.issuer}/consent", data=fields))
    answers.append(person.http.get(httpx.URL(provider.issuer + "/").join(answers[-1].headers["Location"])))
    answers.append(person.http.post(f"{provider.issuer}/logout", data={"state": "x"}))
    assert [answer.status_code for answer in answers] == [303] * 5
    assert answers[3].headers["Location"].startswith(third_party.redirect_uri)
    for answer in answers:
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


def test_no_page_is_called_by_what_it_carries(app: RelyingParty, person: Person) -> None:
    state = secrets.token_hex(12)
    for page in (
        person.open(app.authorization_url(state=state)),
        person.open(app.authorization_url(state=state, redirect_uri=EVIL)),
    ):
        assert state not in page.response.text
    page = _signed_in(app, person, response_mode="form_post")
    title = page.response.text.partition("<title>")[2].partition("</title>")[0]
    assert page.forms[0].fields["code"] not in title


def test_no_path_is_corrected_by_a_redirect_that_repeats_a_post(provider: RunningProvider) -> None:
    for path in ("//login", "/login/", "/./login", "//authorize", "/account//sign-out", "/token/", "//token", "/LOGIN"):
        for method in ("GET", "POST"):
            answer = raw.send(provider, method, path, [("Content-Type", "application/x-www-form-urlencoded")], b"a=b")
            assert answer.status in {200, 400, 401, 404, 405}, f"{method} {path}: {answer.status} {answer.header('Location')}"
