"""An issuer with a path: everything is served whether a proxy takes the path off or not, and every link has it."""

import re
from pathlib import Path

import pytest
from werkzeug.test import Client

from idp import app as application
from idp.runtime.inbound import documents
from tests.proxies.conftest import Build
from tests.support import http
from tests.support.serving import RunningProvider, free_port

ISSUER = "https://op.example/auth/id"
ROOT = "/auth/id"
ON = {
    "sessions_management": True,
    "signals_status_list": True,
    "clients_registration": "open",
    "metrics_token": "0123456789abcdef",
}
#: Every path of ours: method, path, and the status that says that it is served there.
SERVED = [
    ("GET", "/.well-known/openid-configuration", 200),
    ("GET", "/.well-known/oauth-authorization-server", 200),
    ("GET", "/.well-known/ssf-configuration", 200),
    ("GET", "/jwks", 200),
    ("GET", "/health/live", 200),
    ("GET", "/metrics", 401),
    ("GET", "/authorize", 400),
    ("POST", "/token", 400),
    ("GET", "/userinfo", 401),
    ("POST", "/introspect", 400),
    ("POST", "/revoke", 400),
    ("POST", "/register", 415),
    ("GET", "/register/nobody", 401),
    ("GET", "/status", 200),
    ("GET", "/check_session", 200),
    ("GET", "/login", 200),
    ("GET", "/logout", 200),
    ("GET", "/", 200),
    ("GET", "/account", 303),
    ("GET", "/account/apps", 303),
    ("GET", "/ssf/streams", 401),
    ("GET", "/static/idp.css", 200),
    ("GET", "/brand.css", 200),
    ("GET", "/brand/logo", 404),  # none is set here
]
#: How a path comes here: as it is, without the issuer's path, or without a part of it that a trusted proxy names.
WAYS = {
    "whole": (ROOT, {}),
    "stripped": ("", {}),
    "stripped, and the proxy says so": ("", {"X-Forwarded-Prefix": ROOT}),
    "whole, though the proxy says what it could have stripped": (ROOT, {"X-Forwarded-Prefix": ROOT}),
    "half stripped": ("/id", {"X-Forwarded-Prefix": "/auth"}),
    "half stripped by two proxies": ("", {"X-Forwarded-Prefix": "/auth, /id/"}),
}


@pytest.fixture
def web(build: Build) -> Client:
    return application.create_app(build(issuer=ISSUER, trusted_proxies="127.0.0.1", **ON)).test_client(use_cookies=False)


@pytest.mark.parametrize("way", WAYS)
def test_every_endpoint_is_served(web: Client, way: str) -> None:
    before, headers = WAYS[way]
    for method, path, status in SERVED:
        answer = web.open(before + path, method=method, headers=headers)
        assert answer.status_code == status, f"{method} {before + path}: {answer.status_code} {answer.text[:500]}"
        answer.close()


def test_every_route_that_there_is_stands_in_the_table_above(web: Client) -> None:
    known = {path.split("/")[1] for _, path, _ in SERVED}
    for rule in web.application.url_map.iter_rules():
        assert rule.rule.split("/")[1] in known | {"consent"}, rule.rule


def test_the_issuer_itself_is_the_first_page(web: Client) -> None:
    assert {web.get(path).status_code for path in (ROOT, ROOT + "/", "/")} == {200}


@pytest.mark.parametrize("name", ["openid-configuration", "oauth-authorization-server", "ssf-configuration"])
def test_both_forms_of_each_well_known_address_give_the_same(web: Client, name: str) -> None:
    """OIDC Discovery 1.0 §4 appends, RFC 8414 §3 inserts, and clients of each try the other."""
    appended, inserted, stripped = (
        web.get(path).json for path in (f"{ROOT}/.well-known/{name}", f"/.well-known/{name}{ROOT}", f"/.well-known/{name}")
    )
    assert appended == inserted == stripped
    assert appended["issuer"] == ISSUER
    assert all(str(value).startswith(ISSUER + "/") for key, value in appended.items() if key.endswith(("_endpoint", "_uri")))


@pytest.mark.parametrize("way", WAYS)
def test_every_link_form_and_redirect_has_the_issuer_s_path(web: Client, way: str) -> None:
    before, headers = WAYS[way]
    for path in ("/", "/login", "/logout", "/account", "/nowhere", "/check_session"):
        answer = web.get(before + path, headers=headers)
        targets = re.findall(r'(?:href|src|action)="(/[^"]*)"', answer.text)
        location = answer.headers.get("Location")
        assert targets or location
        for target in [*targets, *([location] if location else [])]:
            assert target.startswith(ROOT + "/"), f"{path}: {target}"


def test_cookies_are_the_whole_host_s_as_their_prefix_demands(web: Client) -> None:
    """`__Host-` demands the path `/` (RFC 6265bis §4.1.3.2), so that whether a proxy strips makes no difference to them."""
    for path in (ROOT + "/login", "/login"):
        cookies = web.get(path).headers.getlist("Set-Cookie")
        assert cookies
        assert all(re.search(r"; Path=/(;|$)", cookie) for cookie in cookies)


@pytest.mark.parametrize("prefix", ["/evil", "/auth/id/evil", "//evil.example", "/auth", "https://evil.example", "/id"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.9"])
def test_no_link_is_made_of_what_a_proxy_or_a_stranger_says_of_the_path(web: Client, prefix: str, peer: str) -> None:
    answer = web.get("/login", headers={"X-Forwarded-Prefix": prefix}, environ_overrides={"REMOTE_ADDR": peer})
    assert answer.status_code == 200
    assert "evil" not in answer.text
    assert f'action="{ROOT}/login"' in answer.text


def test_a_stranger_takes_nothing_off(web: Client) -> None:
    environ = {"REMOTE_ADDR": "203.0.113.9"}
    assert web.get("/id/login", headers={"X-Forwarded-Prefix": "/auth"}, environ_overrides=environ).status_code == 404


def test_a_proxy_below_whose_path_the_issuer_is_not_is_told_of_once(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(documents.audit, "warn", lambda event, **fields: told.append({"event": event} | fields))
    web = application.create_app(build(issuer="https://op.example", trusted_proxies="127.0.0.1")).test_client()
    for _ in range(3):
        assert web.get("/login", headers={"X-Forwarded-Prefix": "/id"}).status_code == 200
        web.get("/login", headers={"X-Forwarded-Prefix": "/other"}, environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
    assert [line["event"] for line in told] == ["proxy.misunderstood"]
    assert "/id" in str(told[0]["problem"])
    assert "IDP_ISSUER" in str(told[0]["problem"])


def test_an_issuer_s_path_may_hold_what_is_written_with_percent_signs(build: Build) -> None:
    web = application.create_app(build(issuer="https://op.example/caf%C3%A9%20x")).test_client(use_cookies=False)
    for path in ("/caf%C3%A9%20x/login", "/login", "/caf%C3%A9%20x/jwks", "/jwks"):
        assert web.get(path).status_code == 200, path


@pytest.mark.parametrize(("path", "is_told"), [("/login", True), ("/login/x", True), ("/id/login", False), ("", False)])
def test_a_path_that_could_not_be_told_from_ours_is_told_of_at_the_start(tmp_path: Path, path: str, is_told: bool) -> None:
    port = free_port()
    running = RunningProvider(tmp_path, settings={"ISSUER": f"http://localhost:{port}{path}"}, port=port)
    try:
        running.start()
        assert bool(running.events("server.issuer_path")) is is_told
        assert http.get(f"{running.issuer}/login").status_code == 200
        assert http.get(f"{running.issuer}/jwks").status_code == 200
    finally:
        running.close()
