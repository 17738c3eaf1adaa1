"""Whatever counts or shows the address of a person, it is the one that the trusted proxy named, and nobody else's word."""

import json
import re

import pytest
from werkzeug.test import Client

from idp import app as application
from idp.runtime.inbound import documents
from tests.proxies.conftest import Build

PROXY = "10.0.0.1"
PASSWORD = "correct horse battery staple"
#: How a proxy that was named says that somebody came.
FORMS = {
    "X-Forwarded-For": ["{}", "{}:4711", "198.18.0.1, {}", "{}, 10.0.0.2"],
    "Forwarded": ["for={}", 'For="{}:4711";proto=https', "for=unknown, for={}", "for={}, for=10.0.0.2;by=_x"],
    "X-Real-IP": ["{}"],
}
WAYS = [(name, form) for name, forms in FORMS.items() for form in forms]


def web_of(build: Build, **settings: object) -> Client:
    provider = build(trusted_proxies="10.0.0.0/8", **settings)
    with provider.database.writing() as tx:
        provider.accounts.add(tx, provider.accounts.prepare("alice", PASSWORD))
    return application.create_app(provider).test_client(use_cookies=False)


def sign_in(web: Client, username: str, said: dict[str, str], peer: str = PROXY, password: str = "wrong"):
    """A sign-in of a browser that was never here."""
    environ = {"REMOTE_ADDR": peer}
    page = web.get("/login", headers=said, environ_overrides=environ)
    csrf = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert csrf is not None
    cookie = "; ".join(each.partition(";")[0] for each in page.headers.getlist("Set-Cookie"))
    fields = {"username": username, "password": password, "csrf_token": csrf[1]}
    return web.post("/login", data=fields, headers=said | {"Cookie": cookie}, environ_overrides=environ)


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_failed_sign_ins_are_counted_for_whom_the_proxy_named(build: Build, name: str, form: str) -> None:
    web = web_of(build, accounts_throttle_address_failures=2)
    for number in range(2):
        assert sign_in(web, f"nobody{number}", {name: form.format("203.0.113.9")}).status_code == 200
    assert sign_in(web, "nobody3", {name: form.format("203.0.113.9")}).status_code == 429
    assert sign_in(web, "nobody4", {name: form.format("203.0.113.10")}).status_code == 200
    assert sign_in(web, "nobody5", {"X-Forwarded-For": "203.0.113.9"}).status_code == 429


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_a_stranger_who_writes_such_headers_gets_no_fresh_count(build: Build, name: str, form: str) -> None:
    web = web_of(build, accounts_throttle_address_failures=2)
    statuses = [
        sign_in(web, f"nobody{number}", {name: form.format(f"203.0.113.{number}")}, peer="198.51.100.7").status_code
        for number in range(4)
    ]
    assert statuses == [200, 200, 429, 429]


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_registrations_are_counted_for_whom_the_proxy_named(build: Build, name: str, form: str) -> None:
    web = web_of(build, clients_registration="open", clients_registration_hourly=2)

    def register(address: str) -> int:
        body = json.dumps({"redirect_uris": ["https://app.example/cb"]})
        headers = {name: form.format(address), "Content-Type": "application/json"}
        return web.post("/register", data=body, headers=headers, environ_overrides={"REMOTE_ADDR": PROXY}).status_code

    assert [register("203.0.113.9") for _ in range(3)] == [201, 201, 429]
    assert register("203.0.113.10") == 201


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_the_list_of_sessions_shows_it(build: Build, name: str, form: str) -> None:
    web = web_of(build)
    assert sign_in(web, "alice", {name: form.format("203.0.113.9")}, password=PASSWORD).status_code == 303
    provider = web.application.extensions["idp"]
    with provider.database.reading() as tx:
        assert [session.address for session in provider.sessions.listed(tx)] == ["203.0.113.9"]


def test_one_line_tells_of_a_proxy_that_nobody_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(documents.audit, "warn", lambda event, **fields: told.append((event, fields)))
    web = web_of(build)
    for name in FORMS:
        for address in ("203.0.113.9", "203.0.113.10"):
            web.get("/login", headers={name: address}, environ_overrides={"REMOTE_ADDR": "172.17.0.1"})
    assert {event for event, _ in told} == {"proxy.misunderstood"}
    assert {fields["peer"] for _, fields in told} == {"172.17.0.1"}
    assert len(told) == len(FORMS)  # each header once
    assert all("IDP_TRUSTED_PROXIES" in str(fields["problem"]) for _, fields in told)


def test_strangers_fill_no_log_with_it(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(documents.audit, "warn", lambda event, **_: told.append(event))
    web = web_of(build)
    for number in range(100):
        web.get("/login", headers={"X-Forwarded-For": "x"}, environ_overrides={"REMOTE_ADDR": f"203.0.113.{number}"})
    assert len(told) == 16
