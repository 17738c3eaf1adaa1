"""Every request that changes anything, sent twice at the same moment: nothing fails, and what may be used once is used once.

The requests come from the URL map: a route without a case here fails the test, whoever adds it. So do the verbs of the
command line, and the one door that is in no URL map, the poll.
"""

import asyncio
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import click
import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from idp import app as composition
from idp.accounts.errors import SignInRefusedError
from idp.cli import cli
from idp.consent.models import ConsentRow
from idp.protocol import scopes
from idp.runtime.console import Refused
from idp.runtime.database import table_of
from idp.runtime.inbound import long_poll
from idp.tokens.models import EndedTokenRow, PairwiseSubjectRow
from tests.attacks.twins import ISSUER, PASSWORD, Browser, Request, Twins
from tests.attacks.twins import twins as made_twins
from tests.clients.keys import claims, public, rsa, signed
from tests.clients.keys import form as assertion_form
from tests.support.databases import DIALECTS

Wins = Callable[[TestResponse], bool]


@dataclass(frozen=True)
class Case:
    """A request, made by `make`. Where something in it may be used once, exactly one answer `wins`."""

    make: Callable[[Twins], Request]
    wins: Wins | None


#: By method and rule, each with its name.
CASES: dict[tuple[str, str], dict[str, Case]] = {}
#: Routes that change nothing, or nothing but when somebody was last seen.
READS = {
    ("GET", rule)
    for rule in (
        "/",
        "/static/<path:filename>",
        "/userinfo",
        "/ssf/status",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/register/<client_id>",
        "/status/<text>",
        "/status",
        "/check_session",
        "/logout/done",
        "/consent",
        "/login",
        "/login/select",
        "/account",
        "/account/apps",
        "/account/profile",
        "/account/password",
        "/brand.css",
        "/brand/logo",
        "/.well-known/change-password",
    )
}


def case(
    method: str, rule: str, wins: Wins | None = None
) -> Callable[[Callable[[Twins], Request]], Callable[[Twins], Request]]:
    def added(make: Callable[[Twins], Request]) -> Callable[[Twins], Request]:
        CASES.setdefault((method, rule), {})[make.__name__] = Case(make, wins)
        return make

    return added


def succeeds(answer: TestResponse) -> bool:
    return answer.status_code < 300


def gives_a_code(answer: TestResponse) -> bool:
    return "code=" in answer.headers.get("Location", "") + answer.text


@pytest.fixture(scope="module", params=DIALECTS)
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('twice') / 'idp.sqlite3'}"
    else:
        url = request.getfixturevalue("postgres_databases").migrated().replace("postgresql://", "postgresql+psycopg://", 1)
    with made_twins(url) as both:
        yield both


# -- machines ---------------------------------------------------------------------------------------------------------


@case("POST", "/token", succeeds)
def a_code(twins: Twins) -> Request:
    party = twins.add_client()
    return party.redeeming(party.code(twins.browser()))


@case("POST", "/token", succeeds)
def a_code_of_a_pairwise_client(twins: Twins) -> Request:
    party = twins.add_client(subject_type="pairwise")
    return party.redeeming(party.code(twins.browser()))


@case("POST", "/token")
def a_refresh_token(twins: Twins) -> Request:
    party = twins.add_client()
    tokens = party.tokens(twins.browser())
    return Request("POST", "/token", {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}, auth=party.auth)


@case("POST", "/token")
def a_spent_refresh_token(twins: Twins) -> Request:
    """Both end the family."""
    party = twins.add_client()
    first = party.tokens(twins.browser())["refresh_token"]
    sent = first
    for _ in range(2):
        form = {"grant_type": "refresh_token", "refresh_token": sent}
        sent = Request("POST", "/token", form, auth=party.auth).send(twins.webs[0]).json["refresh_token"]
    return Request("POST", "/token", {"grant_type": "refresh_token", "refresh_token": first}, auth=party.auth)


@case("POST", "/token")
def a_spent_code(twins: Twins) -> Request:
    party = twins.add_client()
    request = party.redeeming(party.code(twins.browser()))
    assert request.send(twins.webs[0]).status_code == 200
    return request


@case("POST", "/token")
def client_credentials(twins: Twins) -> Request:
    return Request("POST", "/token", {"grant_type": "client_credentials"}, auth=twins.add_client().auth)


def _asserted(twins: Twins, path: str, **fields: str) -> Request:
    party = twins.add_client(token_endpoint_auth_method="private_key_jwt", jwks=public(rsa()))
    return Request("POST", path, fields | assertion_form(signed(claims(party.client_id, ISSUER), rsa())))


@case("POST", "/token", succeeds)
def a_client_assertion(twins: Twins) -> Request:
    return _asserted(twins, "/token", grant_type="client_credentials")


@case("POST", "/introspect", succeeds)
def an_assertion_to_introspect(twins: Twins) -> Request:
    return _asserted(twins, "/introspect", token="x")


@case("POST", "/introspect")
def an_access_token(twins: Twins) -> Request:
    party = twins.add_client()
    return Request("POST", "/introspect", {"token": party.tokens(twins.browser())["access_token"]}, auth=party.auth)


@case("POST", "/revoke")
def an_access_token_to_revoke(twins: Twins) -> Request:
    party = twins.add_client()
    return Request("POST", "/revoke", {"token": party.tokens(twins.browser())["access_token"]}, auth=party.auth)


@case("POST", "/revoke")
def an_access_token_that_no_family_stands_behind(twins: Twins) -> Request:
    party = twins.add_client()
    return Request("POST", "/revoke", {"token": party.bearer("reports")}, auth=party.auth)


@case("POST", "/revoke")
def a_refresh_token_to_revoke(twins: Twins) -> Request:
    party = twins.add_client()
    return Request("POST", "/revoke", {"token": party.tokens(twins.browser())["refresh_token"]}, auth=party.auth)


@case("POST", "/userinfo")
def userinfo(twins: Twins) -> Request:
    return Request("POST", "/userinfo", {"access_token": twins.add_client().tokens(twins.browser())["access_token"]})


# -- streams ----------------------------------------------------------------------------------------------------------


def _streaming(twins: Twins, method: str, path: str, **body: object) -> Request:
    party = twins.add_client()
    bearer = party.bearer()
    stream_id = party.stream(bearer)
    if method in {"GET", "DELETE"}:
        return Request(method, f"{path}?stream_id={stream_id}", bearer=bearer)
    return Request(method, path, json={"stream_id": stream_id, **body}, bearer=bearer)


@case("POST", "/ssf/streams")
def a_stream(twins: Twins) -> Request:
    return Request("POST", "/ssf/streams", json={}, bearer=twins.add_client().bearer())


@case("POST", "/ssf/streams")
def a_stream_in_the_place_of_one_left_behind(twins: Twins) -> Request:
    party = twins.add_client()
    bearer = party.bearer()
    while Request("POST", "/ssf/streams", json={}, bearer=bearer).send(twins.webs[0]).status_code == 201:
        pass
    return Request("POST", "/ssf/streams", json={}, bearer=bearer)


@case("GET", "/ssf/streams")
def a_stream_that_is_read(twins: Twins) -> Request:
    return _streaming(twins, "GET", "/ssf/streams")


@case("PATCH", "/ssf/streams")
def a_stream_that_is_changed(twins: Twins) -> Request:
    return _streaming(twins, "PATCH", "/ssf/streams", description="x")


@case("PUT", "/ssf/streams")
def a_stream_that_is_put(twins: Twins) -> Request:
    push = {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://app.example.org/push", "authorization_header": "x"}
    return _streaming(twins, "PUT", "/ssf/streams", description="x", delivery=push)


@case("DELETE", "/ssf/streams", succeeds)
def a_stream_that_is_deleted(twins: Twins) -> Request:
    return _streaming(twins, "DELETE", "/ssf/streams")


@case("POST", "/ssf/status")
def a_stream_that_is_paused(twins: Twins) -> Request:
    return _streaming(twins, "POST", "/ssf/status", status="paused")


@case("POST", "/ssf/subjects/add")
def a_subject_that_is_added(twins: Twins) -> Request:
    return _streaming(twins, "POST", "/ssf/subjects/add", subject={"format": "opaque", "id": "x"})


@case("POST", "/ssf/subjects/remove")
def a_subject_that_is_removed(twins: Twins) -> Request:
    return _streaming(twins, "POST", "/ssf/subjects/remove", subject={"format": "opaque", "id": "x"})


@case("POST", "/ssf/verify", succeeds)
def a_verification(twins: Twins) -> Request:
    return _streaming(twins, "POST", "/ssf/verify", state="x")


# -- registration -----------------------------------------------------------------------------------------------------

METADATA = {"redirect_uris": ["https://own.example.org/cb", "https://own2.example.org/cb"], "client_name": "x"}


def _own(twins: Twins) -> dict[str, str]:
    return dict(Request("POST", "/register", json=METADATA).send(twins.webs[0]).json)


@case("POST", "/register")
def a_registration(twins: Twins) -> Request:
    return Request("POST", "/register", json=METADATA)


@case("POST", "/register", succeeds)
def a_registration_with_a_token_for_one(twins: Twins) -> Request:
    with twins.first.database.writing() as tx:
        _, shown = twins.first.registrations.make_token(tx, uses=1, lifetime=60)
    return Request("POST", "/register", json=METADATA, bearer=shown)


@case("PUT", "/register/<client_id>")
def an_update(twins: Twins) -> Request:
    own = _own(twins)
    sent = {**METADATA, "client_id": own["client_id"], "client_name": "y"}
    return Request("PUT", f"/register/{own['client_id']}", json=sent, bearer=own["registration_access_token"])


@case("DELETE", "/register/<client_id>", succeeds)
def a_client_that_leaves(twins: Twins) -> Request:
    own = _own(twins)
    return Request("DELETE", f"/register/{own['client_id']}", bearer=own["registration_access_token"])


# -- people -----------------------------------------------------------------------------------------------------------


@case("POST", "/authorize")
def a_request_that_begins(twins: Twins) -> Request:
    return Request("POST", "/authorize", twins.add_client().asks())


@case("GET", "/authorize", gives_a_code)
def a_stored_request_that_goes_on(twins: Twins) -> Request:
    browser, party = twins.browser(), twins.add_client(first_party=False)
    asked = party.opened(browser)
    allowing = browser.form(asked, "consent-allow").send(twins.webs[0])
    path = allowing.headers["Location"]
    return Request("GET", path if path.startswith("/") else f"/{path}", cookie=browser.cookie)


@case("GET", "/authorize")
def a_request_of_somebody_who_is_signed_in(twins: Twins) -> Request:
    """Both take part in the session, and both are given a name in the sector, for the first time."""
    party = twins.add_client(subject_type="pairwise")
    return Request("GET", f"/authorize?{urlencode(party.asks())}", cookie=twins.browser().cookie)


@case("POST", "/consent")
def an_allow(twins: Twins) -> Request:
    browser = twins.browser()
    return browser.form(twins.add_client(first_party=False).opened(browser), "consent-allow")


@case("POST", "/consent")
def an_allow_that_widens(twins: Twins) -> Request:
    browser, party = twins.browser(), twins.add_client(first_party=False)
    assert browser.form(party.opened(browser), "consent-allow").send(twins.webs[0]).status_code < 400
    return browser.form(party.opened(browser, scope="openid profile email"), "consent-allow")


@case("POST", "/consent")
def a_deny(twins: Twins) -> Request:
    browser = twins.browser()
    return browser.form(twins.add_client(first_party=False).opened(browser), "consent-deny")


@case("POST", "/account/apps")
def a_withdrawal(twins: Twins) -> Request:
    browser, party = twins.browser(), twins.add_client(first_party=False)
    browser.submit(party.opened(browser), "consent-allow")
    apps = browser.open("account/apps")
    assert party.client_id in apps.response.text
    fields = {"csrf_token": apps.forms[0].fields["csrf_token"], "client_id": party.client_id}
    return Request("POST", "/account/apps", fields, cookie=browser.cookie)


@case("POST", "/login")
def a_sign_in(twins: Twins) -> Request:
    browser = Browser(twins, twins.add_person())
    return browser.form(browser.open("login"), "login-submit", username=browser.name, password=PASSWORD)


@case("POST", "/login")
def a_sign_in_for_an_app(twins: Twins) -> Request:
    browser = Browser(twins, twins.add_person())
    page = twins.add_client().opened(browser)
    return browser.form(page, "login-submit", username=browser.name, password=PASSWORD)


@case("POST", "/login")
def a_sign_in_that_renews(twins: Twins) -> Request:
    browser = twins.browser()
    page = twins.add_client().opened(browser, prompt="login")
    return browser.form(page, "login-submit", username=browser.name, password=PASSWORD)


@case("POST", "/login")
def a_sign_in_as_somebody_else(twins: Twins) -> Request:
    browser = twins.browser()
    page = twins.add_client().opened(browser, prompt="login")
    return browser.form(page, "login-submit", username=twins.add_person(), password=PASSWORD)


@case("POST", "/login")
def a_wrong_password(twins: Twins) -> Request:
    browser = Browser(twins, twins.add_person())
    return browser.form(browser.open("login"), "login-submit", username=browser.name, password="wrong")


@case("POST", "/login/select")
def a_choice(twins: Twins) -> Request:
    browser = twins.browser()
    return browser.form(twins.add_client().opened(browser, prompt="select_account"), "select-continue")


def _account_form(browser: Browser, action: str, page: str = "account", **values: str) -> Request:
    form = next(form for form in browser.open(page).forms if form.action.endswith(action))
    return Request("POST", f"/{action.lstrip('/')}", form.fields | values, cookie=browser.cookie)


def _with_apps(twins: Twins) -> Browser:
    """Somebody with two sessions, in which two apps of two sectors take part and of whom one is to be told."""
    browser = twins.browser()
    other = twins.browser(browser.name)
    told = "https://app.example.org/backchannel"
    for party in (twins.add_client(subject_type="pairwise", backchannel_logout_uri=told), twins.add_client()):
        party.tokens(browser)
        party.tokens(other)
    return browser


@case("POST", "/account/sign-out")
def one_session(twins: Twins) -> Request:
    return _account_form(_with_apps(twins), "account/sign-out")


@case("POST", "/account/sign-out-others")
def the_other_sessions(twins: Twins) -> Request:
    return _account_form(_with_apps(twins), "account/sign-out-others")


@case("POST", "/account/sign-out-everywhere")
def every_session(twins: Twins) -> Request:
    return _account_form(_with_apps(twins), "account/sign-out-everywhere")


@case("POST", "/account/password", lambda answer: answer.status_code == 303 and "changed" in answer.headers["Location"])
def another_password(twins: Twins) -> Request:
    browser = _with_apps(twins)
    new = "another horse battery staple"
    values = {"password": PASSWORD, "new_password": new, "new_password_again": new}
    return _account_form(browser, "account/password", "account/password", **values)


@case("POST", "/logout")
def a_logout(twins: Twins) -> Request:
    browser = _with_apps(twins)
    return browser.form(browser.open("logout"), "logout-confirm")


@case("GET", "/logout")
def a_logout_by_a_hint(twins: Twins) -> Request:
    browser = twins.browser()
    hint = twins.add_client().tokens(browser)["id_token"]
    return Request("GET", f"/logout?id_token_hint={hint}", cookie=browser.cookie)


# -- the tests --------------------------------------------------------------------------------------------------------


def routes(twins: Twins) -> set[tuple[str, str]]:
    return {
        (method, rule.rule)
        for rule in twins.webs[0].url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_sent_twice_or_known_to_change_nothing(twins: Twins) -> None:
    """A new route needs a case here: what becomes of it when it comes twice at once."""
    left = routes(twins) - set(CASES) - READS
    assert left == set(), f"a case is missing for {sorted(left)}"
    assert set(CASES) - routes(twins) == set()


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, cases in CASES.items() for name in cases])
def test_a_request_that_comes_twice_at_once(twins: Twins, key: tuple[str, str], name: str) -> None:
    chosen = CASES[key][name]
    for _ in range(2):
        request = chosen.make(twins)
        assert request.method == key[0]
        answers = twins.send(request)
        assert all(0 < answer.status_code < 500 for answer in answers), [(a.status_code, a.text[:500]) for a in answers]
        if chosen.wins is not None:
            assert sum(map(chosen.wins, answers)) == 1, [(a.status_code, a.text[:500]) for a in answers]


def test_two_tabs_that_allow_different_scopes_allow_both(twins: Twins) -> None:
    browser, party = twins.browser(), twins.add_client(first_party=False)
    asked = ["openid profile", "openid email"]
    requests = [browser.form(party.opened(browser, scope=scope), "consent-allow") for scope in asked]
    answers = twins.both(lambda number: requests[number].send(twins.webs[number]))
    assert all(answer.status_code < 400 for answer in answers)
    table = table_of(ConsentRow)
    with twins.first.database.reading() as tx:
        alive = (
            tx.execute(select(table.c.scope).where(table.c.client_id == party.client_id, table.c.ended_at.is_(None)))
            .scalars()
            .all()
        )
    assert [set(scopes.parse(scope)) for scope in alive] == [{"openid", "profile", "email"}]


def test_what_is_written_down_once_is_written_down_once(twins: Twins) -> None:
    """Names in a sector, and single access tokens that were revoked: the rows that two would have inserted."""
    party = twins.add_client(subject_type="pairwise")
    browser = twins.browser()
    answers = twins.send(Request("GET", f"/authorize?{urlencode(party.asks())}", cookie=browser.cookie))
    codes = [answer.headers.get("Location", "") + answer.text for answer in answers]
    assert all("code=" in code for code in codes)
    token = party.bearer("reports")
    assert [a.status_code for a in twins.send(Request("POST", "/revoke", {"token": token}, auth=party.auth))] == [200, 200]
    with twins.first.database.reading() as tx:
        account = twins.first.accounts.find(tx, browser.name)
        assert account is not None
        names = tx.execute(select(func.count()).where(table_of(PairwiseSubjectRow).c.subject == account.subject)).scalar()
        jtis = tx.execute(select(table_of(EndedTokenRow).c.jti)).scalars().all()
    assert names in {0, 1}
    assert len(jtis) == len(set(jtis))


def test_a_poll_that_comes_twice_at_once(twins: Twins) -> None:
    party = twins.add_client()
    bearer = party.bearer()
    stream_id = party.stream(bearer)
    lanes = [composition.poll_lane(instance) for instance in twins.instances]
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json", "prefer": "wait=0"}
    body = b'{"returnImmediately": true, "ack": ["x.y"], "maxEvents": 0}'

    async def never() -> None:
        await asyncio.Event().wait()

    def poll(number: int) -> int:
        request = long_poll.WaitingRequest("POST", f"/ssf/poll/{stream_id}", headers, body, never)
        return asyncio.run(lanes[number].answer(request))[0]

    for _ in range(3):
        assert twins.both(poll) == [200, 200]


# -- the command line -------------------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Twins], list[str]]] = {}
#: Verbs that change nothing, and those that run until they are stopped.
READING = {
    "user list",
    "user show",
    "client list",
    "client show",
    "client check",
    "key list",
    "session list",
    "session show",
    "delivery list",
    "delivery show",
    "delivery parties",
    "signals list",
    "doctor",
    "serve",
    "worker",
    "demo",
}
#: Tested as processes of their own (tests/migrations).
ELSEWHERE = {"migrate"}


def verb(name: str) -> Callable[[Callable[[Twins], list[str]]], Callable[[Twins], list[str]]]:
    def added(make: Callable[[Twins], list[str]]) -> Callable[[Twins], list[str]]:
        VERBS[name] = make
        return make

    return added


verb("user add")(lambda _: [f"new-{time.monotonic_ns()}", "--password-stdin"])
verb("user set-password")(lambda twins: [_with_apps(twins).name, "--password-stdin"])
verb("user disable")(lambda twins: [_with_apps(twins).name])
verb("user remove")(lambda twins: [_with_apps(twins).name])
verb("user sign-out")(lambda twins: [_with_apps(twins).name])
verb("client remove")(lambda twins: [twins.add_client().client_id])
verb("client rotate-secret")(lambda twins: [twins.add_client().client_id])
verb("client token")(lambda _: ["--uses", "2"])
verb("client reseal")(lambda _: [])
verb("key rotate")(lambda _: [])
verb("key reseal")(lambda _: [])
verb("delivery retry")(lambda twins: ["--client", twins.add_client().client_id])


@verb("user enable")
def _enabled(twins: Twins) -> list[str]:
    name = twins.add_person()
    with twins.first.database.writing() as tx:
        account = twins.first.accounts.find(tx, name)
        assert account is not None
        twins.first.accounts.disable(tx, account.subject)
    return [name]


@verb("user unlock")
def _locked(twins: Twins) -> list[str]:
    name = twins.add_person()
    with pytest.raises(SignInRefusedError):
        twins.first.accounts.sign_in(name, "wrong", "127.0.0.1", None)
    return [name]


@verb("session end")
def _session(twins: Twins) -> list[str]:
    browser = _with_apps(twins)
    with twins.first.database.reading() as tx:
        account = twins.first.accounts.find(tx, browser.name)
        assert account is not None
        return [twins.first.sessions.listed(tx, subject=account.subject)[0].sid]


@verb("key revoke")
def _key(twins: Twins) -> list[str]:
    return [str(twins.first.keys.signing_kid()), "--reason", "test"]


FILES = {
    "client add": (["--file"], '{"redirect_uris": ["https://app.example.org/cb"]}'),
    "client set": (["CLIENT", "--file"], '{"redirect_uris": ["https://other.example.org/cb"], "client_name": "y"}'),
    "user set": (["NAME", "--claims-file"], '{"given_name": "A"}'),
}


def verbs(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, f"{name} ")
        else:
            yield f"{before}{name}", command


def test_every_verb_is_run_twice_or_known_to_change_nothing() -> None:
    """A new verb needs a case here: what becomes of it when two operators run it at once."""
    left = {name for name, _ in verbs()} - set(VERBS) - set(FILES) - READING - ELSEWHERE
    assert left == set(), f"a case is missing for {sorted(left)}"


@pytest.mark.parametrize("name", sorted({*VERBS, *FILES}))
def test_a_verb_that_two_operators_run_at_once(
    twins: Twins, name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = dict(verbs())[name]
    arguments = VERBS[name](twins) if name in VERBS else []
    if name in FILES:
        before, text = FILES[name]
        file = tmp_path_factory.mktemp("files") / "file.json"
        file.write_text(text)
        stand_for = {"NAME": twins.add_person(), "CLIENT": twins.add_client().client_id}
        arguments = [stand_for.get(each, each) for each in before] + [str(file)]
    stdin = type("Stdin", (io.StringIO,), {"readline": lambda _self, _limit=-1: "another horse battery\n"})()
    monkeypatch.setattr("sys.stdin", stdin)
    said: list[str] = []
    monkeypatch.setattr("click.echo", lambda message="", **_: said.append(str(message)))

    def run(number: int) -> str:
        try:
            command.main(arguments, standalone_mode=False, obj=twins.instances[number])
        except (Refused, SystemExit) as refused:
            return f"refused: {refused}"
        return "done"

    outcomes = twins.both(run)
    assert "done" in outcomes or name == "key rotate", outcomes
    if name in {"user add", "user disable", "user enable", "client remove", "key revoke", "session end"}:
        assert outcomes.count("done") == 1, outcomes
    for instance in twins.instances:
        instance.keys.keep_up()


def test_two_people_who_are_given_one_name_at_once(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    """No insert, but it meets the same unique index: one gets the name."""
    monkeypatch.setattr("click.echo", lambda *_, **__: None)
    command, people = dict(verbs())["user set"], [twins.add_person() for _ in range(2)]
    new = f"renamed-{time.monotonic_ns()}"

    def run(number: int) -> str:
        try:
            command.main([people[number], "--username", new], standalone_mode=False, obj=twins.instances[number])
        except Refused:
            return "refused"
        return "done"

    assert sorted(twins.both(run)) == ["done", "refused"]
