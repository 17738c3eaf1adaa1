"""docs/threats.md 7, 9, 17, 25-27, 35 where tokens come through the browser: the implicit and hybrid flows, switched on."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from idp.authorization.rules import AuthorizationRequest
from idp.issuing.service import NotIssuedError
from tests.attacks.conftest import PASSWORD, SETTINGS
from tests.authorization.conftest import EVERYTHING, answered, arrived, everything
from tests.flows.conftest import PEOPLE
from tests.support import http
from tests.support.browsing import Person
from tests.support.databases import DIALECTS
from tests.support.serving import Providers, RunningProvider


@pytest.fixture(scope="module", params=DIALECTS)
def provider(request: pytest.FixtureRequest, providers: Providers) -> RunningProvider:
    """A provider with every response type switched on."""
    return providers("attacked front channel", request.param, SETTINGS | EVERYTHING, PEOPLE)


def test_nothing_that_came_through_the_browser_stands_in_the_log(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type="code id_token token")
    log = provider.log_file.read_text()
    for name in ("code", "id_token", "access_token"):
        assert fields[name] not in log
        assert fields[name].rpartition(".")[2] not in log


def test_an_answer_is_neither_stored_nor_told_to_the_next_site(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    answered(app, person, response_type="id_token token")
    answer = person.http.get(app.authorization_url(response_type="id_token token"))
    assert answer.status_code == 303
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "access_token" not in httpx.URL(answer.headers["Location"]).query.decode()


def test_each_token_is_taken_for_what_it_is_only(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type="code id_token token")
    assert app.userinfo(fields["id_token"]).status_code == 401
    assert app.userinfo(fields["code"]).status_code == 401
    assert app.introspect(fields["id_token"]) == {"active": False}
    for wrong in (fields["access_token"], fields["code"]):
        assert answered(app, person, response_type="id_token", prompt="none", id_token_hint=wrong)["error"] == "invalid_request"
    assert app.refresh(fields["access_token"]).json()["error"] == "invalid_grant"


def test_a_hybrid_code_is_spent_once_by_many_at_once_and_the_replay_ends_all(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type="code token")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.redeem(fields["code"]), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert app.userinfo(fields["access_token"]).status_code == 401
    given = next(answer.json() for answer in answers if answer.status_code == 200)
    assert app.userinfo(given["access_token"]).status_code == 401


def test_a_stored_request_gives_tokens_once(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url(response_type="id_token token")), "alice", PASSWORD)
    stored = page.forms[0].fields["request"]
    arrived(app, person.submit(page, "consent-allow"))
    assert person.open(f"authorize?continue={stored}").main == "error-page"
    assert Person(provider.issuer).open(f"authorize?continue={stored}").main == "error-page"


def test_consent_cannot_be_given_without_its_page(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url(response_type="id_token token")), "alice", PASSWORD)
    stored = page.forms[0].fields["request"]
    forged = person.http.post(f"{provider.issuer}/consent", data={"request": stored, "decision": "allow"})
    assert forged.status_code == 400
    assert person.open(f"authorize?continue={stored}").main == "consent-page"


def test_a_request_posted_by_another_site_gives_nothing_before_its_person_comes_along(provider: RunningProvider) -> None:
    """A cross-site POST brings no cookie, and what it stored belongs to the browser that goes on with it."""
    app, person = everything(provider), Person(provider.issuer)
    answered(app, person, response_type="id_token token")
    url = httpx.URL(app.authorization_url(response_type="id_token token"))
    posted = http.post(url.copy_with(query=None), data=dict(url.params))
    assert posted.status_code == 303
    stranger = Person(provider.issuer)
    assert stranger.open(posted.headers["Location"]).main == "login-page"
    assert person.open(posted.headers["Location"]).main == "error-page"


def test_a_session_that_ends_at_this_very_moment_gives_no_token(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type="id_token token")
    sid = str(app.verified(fields["access_token"], audience=provider.issuer, typ="at+jwt")["sid"])
    services = provider.services
    asked = AuthorizationRequest(
        app.client_id,
        app.redirect_uri,
        True,
        "id_token token",
        "fragment",
        "openid",
        None,
        None,
        "n",
        None,
        (),
        None,
        None,
        None,
    )
    with services.database.writing() as tx:
        client, session = services.clients.get(tx, app.client_id), services.sessions.get(tx, sid)
        assert client is not None and session is not None
        assert services.authorization.issuing.admit(tx, client, asked, session) is not None
        services.logout.end_session(tx, sid, "signed_out")
        with pytest.raises(NotIssuedError, match="session has ended"):
            services.authorization.issuing.admit(tx, client, asked, session)


@pytest.mark.parametrize("response_type", ["id_token", "code id_token token"])
@pytest.mark.parametrize("response_mode", ["fragment", "form_post"])
def test_a_silent_request_never_shows_a_page_to_fill_in(
    provider: RunningProvider, person: Person, response_type: str, response_mode: str
) -> None:
    app = everything(provider, first_party=False)
    page = person.open(app.authorization_url(response_type=response_type, response_mode=response_mode, prompt="none"))
    fields = page.forms[0].fields if response_mode == "form_post" else page.fragment
    assert fields["error"] == "login_required"
    assert page.main in {None, "form-post-page"}


def test_a_sign_in_gives_a_new_session_to_what_was_asked_for_before(provider: RunningProvider) -> None:
    """Login fixation: whoever stored the request does not learn what its person is given."""
    app, thief, victim = everything(provider), Person(provider.issuer), Person(provider.issuer)
    page = thief.open(app.authorization_url(response_type="id_token token"))
    stored = page.forms[0].fields["request"]
    assert victim.open(f"authorize?continue={stored}").main == "error-page"
    page = victim.open(f"login?request={stored}")
    page = victim.sign_in(page, "alice", PASSWORD)
    assert page.url.startswith(provider.issuer)
    assert thief.open(f"authorize?continue={stored}").main == "login-page"
