"""docs/threats.md 7, 8, 24, 32-34: the headers on every answer, cookies, and a `Host` that nobody believes."""

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from idp import app as application
from idp.config import Settings
from idp.runtime import migrations
from tests.attacks import raw
from tests.attacks.conftest import ON_ONE_DATABASE
from tests.attacks.raw import Answer
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

CHECKOUT = Path(__file__).resolve().parents[2]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
#: Every kind of answer that there is: method, target, body, and what it is.
ANSWERS: list[tuple[str, str, bytes]] = [
    ("GET", "/", b""),
    ("GET", "/login", b""),
    ("GET", "/login?request=unknown", b""),
    ("GET", "/login?username=%ff", b""),
    ("GET", "/login/select", b""),
    ("POST", "/login", b"username=a&password=b"),
    ("POST", "/login", b"username=%ff"),
    ("GET", "/account", b""),
    ("GET", "/consent", b""),
    ("GET", "/consent?request=unknown", b""),
    ("POST", "/consent", b"decision=allow"),
    ("GET", "/logout", b""),
    ("GET", "/logout?id_token_hint=x&client_id=y&client_id=z", b""),
    ("POST", "/logout", b"decision=confirm"),
    ("POST", "/logout", b"state=x"),
    ("GET", "/authorize", b""),
    ("GET", "/authorize?client_id=unknown", b""),
    ("GET", "/authorize?continue=unknown", b""),
    ("GET", "/authorize?%00", b""),
    ("POST", "/authorize", b"client_id=unknown"),
    ("DELETE", "/authorize", b""),
    ("PUT", "/login", b"x"),
    ("GET", "/nowhere", b""),
    ("GET", "/nowhere/%2e%2e/%00", b""),
    ("POST", "/nowhere", b"x"),
    ("HEAD", "/login", b""),
    ("OPTIONS", "/login", b""),
    ("POST", "/login", b"x" * 70_000),
    ("POST", "/authorize", b"x" * 70_000),
    ("GET", "/static/idp.css", b""),
    ("GET", "/static/nowhere.css", b""),
    ("GET", "/static/../app.py", b""),
    ("GET", "/static/%2e%2e/app.py", b""),
    ("GET", "/token", b""),
    ("POST", "/token", b""),
    ("POST", "/token", b"grant_type=x"),
    ("POST", "/token", b"x" * 70_000),
    ("PUT", "/token", b"x"),
    ("GET", "/userinfo", b""),
    ("POST", "/userinfo", b""),
    ("DELETE", "/userinfo", b""),
    ("POST", "/introspect", b"token=x"),
    ("GET", "/introspect", b""),
    ("POST", "/revoke", b"token=x"),
    ("GET", "/revoke", b""),
    ("GET", "/jwks", b""),
    ("POST", "/jwks", b""),
    ("OPTIONS", "/jwks", b""),
    ("GET", "/.well-known/openid-configuration", b""),
    ("GET", "/.well-known/nowhere", b""),
    ("GET", "/health/live", b""),
    ("GET", "/health/ready", b""),
    ("GET", "/metrics", b""),
]


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    ("method", "target", "body"), ANSWERS, ids=[f"{method} {target[:40]} {len(body)}" for method, target, body in ANSWERS]
)
def test_every_answer_whatever_it_is_carries_the_strict_headers(
    provider: RunningProvider, method: str, target: str, body: bytes
) -> None:
    answer = raw.send(provider, method, target, FORM if body else [], body)
    assert 200 <= answer.status < 500
    is_strict(answer)


def is_strict(answer: Answer) -> None:
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Referrer-Policy") == "no-referrer"
    assert answer.header("X-Frame-Options") == "DENY"
    assert answer.header("X-Powered-By") is None
    kind = answer.header("Content-Type") or ""
    if kind.startswith("text/html"):
        assert kind == "text/html; charset=utf-8"
        assert answer.header("Cache-Control") == "no-store"
        policy = answer.header("Content-Security-Policy") or ""
        directives = dict(directive.strip().partition(" ")[::2] for directive in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["frame-ancestors"] == "'none'"
        assert directives["base-uri"] == "'none'"
        assert directives["form-action"].split()[0] == "'self'"
        assert "unsafe" not in policy
        assert "*" not in policy
    if answer.status >= 400 and answer.body:
        assert kind in {"text/html; charset=utf-8", "application/json"}
        for inside in ("Traceback", "werkzeug", str(CHECKOUT), "site-packages", "sqlalchemy"):
            assert inside not in answer


@ON_ONE_DATABASE
def test_scripts_are_our_own_files_and_only_on_the_pages_that_need_them(
    app: RelyingParty, provider: RunningProvider, person: Person
) -> None:
    for page in (person.open("logout"), person.open("account/apps"), person.open("nowhere"), person.open("")):
        if page.main == "login-page":
            continue
        assert "script-src 'none'" in page.response.headers["Content-Security-Policy"]
        assert "<script" not in page.response.text
    for page in (person.open("login"), person.open(app.authorization_url())):
        assert page.main == "login-page"
        assert "script-src 'self'" in page.response.headers["Content-Security-Policy"]
        assert re.findall(r"<script.*?</script>", page.response.text, re.DOTALL) == [
            '<script src="/static/show_password.js" defer></script>'
        ]
        assert " style=" not in page.response.text
        assert "javascript:" not in page.response.text
        assert not re.search(r"\son[a-z]+=", page.response.text)
    page = person.open(app.authorization_url(prompt="none", response_mode="form_post"))
    policy = page.response.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "form-action" not in policy, "whatever the app redirects to, it may"
    assert page.response.text.count("<form") == 1


@ON_ONE_DATABASE
def test_a_native_app_can_be_gone_back_to_after_a_form(provider: RunningProvider, person: Person) -> None:
    """Chromium holds the redirect that follows a form to `form-action`, a private-use scheme too (RFC 8252 §7.1)."""
    native = RelyingParty.register(
        provider, application_type="native", token_endpoint_auth_method="none", redirect_uris=["com.example.app:/callback"]
    )
    policy = person.open(native.authorization_url()).response.headers["Content-Security-Policy"]
    targets = next(part.split()[1:] for part in policy.split("; ") if part.startswith("form-action"))
    assert targets == ["'self'", "com.example.app:"]


@ON_ONE_DATABASE
def test_a_page_loads_nothing_from_elsewhere(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(
        provider,
        logo_uri="https://tracker.example/logo.png",
        policy_uri="https://a.example/p",
        tos_uri="https://a.example/t",
        first_party=False,
    )
    consent = person.sign_in(person.open(app.authorization_url()), "alice", "correct horse battery staple")
    assert consent.main == "consent-page"
    directives = [part.strip() for part in consent.response.headers["Content-Security-Policy"].split(";")]
    assert {"default-src 'none'", "img-src 'self'", "style-src 'self'", "script-src 'none'"} <= set(directives)


# -- 500 --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path: Path) -> FlaskClient:
    """A provider in this process whose every view fails with words that nobody outside may read."""
    built = application.build(Settings(data_dir=tmp_path, issuer="https://idp.example"))
    migrations.upgrade(built.database)
    built.keys.keep_up()
    web: Flask = application.create_app(built)

    def fail(**_: object) -> None:
        message = "the innermost secret"
        raise RuntimeError(message)

    web.view_functions = dict.fromkeys(web.view_functions, fail)
    yield web.test_client()
    built.database.dispose()


@pytest.mark.parametrize(
    "path", ["/login", "/account", "/authorize", "/consent", "/logout", "/token", "/userinfo", "/introspect", "/revoke"]
)
def test_a_failure_inside_says_nothing_outside(broken: FlaskClient, path: str) -> None:
    method = "POST" if path in {"/token", "/introspect", "/revoke"} else "GET"
    answer = broken.open(path, method=method)
    assert answer.status_code == 500
    is_strict(Answer(500, tuple(answer.headers.items()), answer.data))
    assert "innermost" not in answer.text
    if answer.content_type == "application/json":
        assert json.loads(answer.data)["error"] == "server_error"
    else:
        assert 'id="error-page"' in answer.text


# -- 24, 34: what is kept ---------------------------------------------------------------------------------------------


def test_no_answer_with_a_token_or_about_one_is_ever_stored(
    app: RelyingParty, provider: RunningProvider, person: Person
) -> None:
    tokens = app.sign_in(person)
    answers = [
        app.refresh(tokens["refresh_token"]),
        app.refresh("garbage"),
        app.token("nonsense"),
        app.userinfo(tokens["access_token"]),
        app.userinfo("garbage"),
        http.post(f"{provider.issuer}/introspect", data={"token": tokens["access_token"]}, auth=app.auth),
        http.post(f"{provider.issuer}/introspect", data={"token": "x"}),
        app.revoke(tokens["refresh_token"]),
    ]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"


def test_after_signing_out_neither_the_back_button_nor_the_cache_shows_anything(
    app: RelyingParty, provider: RunningProvider, person: Person
) -> None:
    app.sign_in(person)
    for path in ("", "account", "logout", "login"):
        page = person.open(path)
        assert page.response.headers["Cache-Control"] == "no-store"
        assert page.response.headers.get("ETag") is None
    kept = dict(person.http.cookies)
    person.submit(person.open("logout"), "logout-confirm")
    for cookies in (dict(person.http.cookies), kept):
        back = http.get(f"{provider.issuer}/account", cookies=cookies)
        assert back.status_code == 303
        assert "alice" not in back.text
        assert "alice" not in http.get(f"{provider.issuer}/", cookies=cookies).text


# -- 32: Host and X-Forwarded-* ---------------------------------------------------------------------------------------

FORGED = [
    [("Host", "evil.example")],
    [("Host", "evil.example:8443")],
    [("Host", "localhost@evil.example")],
    [("Host", "")],
    [("Host", "evil.example\\x")],
    [("Host", "evil.example" + "x" * 300)],
    [("Host", "evil.example:x:y")],
    [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Forwarded-Port", "1"),
    ],
    [("Forwarded", 'host=evil.example;proto=https;for="[::1]"')],
    [("X-Original-URL", "/evil.example"), ("X-Rewrite-URL", "/evil.example"), ("X-HTTP-Method-Override", "DELETE")],
]
TARGETS = [
    "/",
    "/login",
    "/account",
    "/logout",
    "/nowhere",
    "/authorize",
    "/authorize?client_id=x",
    "//login",
    "/login/",
    "//evil.example/login",
    "/account/",
    "/static//idp.css",
    "/health//live",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/jwks",
    "http://evil.example/login",
]


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "headers", FORGED, ids=[" ".join(name for name, _ in headers) + headers[0][1][:14] for headers in FORGED]
)
@pytest.mark.parametrize("target", TARGETS)
def test_a_forged_host_changes_no_link_issuer_or_cookie(
    provider: RunningProvider, target: str, headers: list[tuple[str, str]]
) -> None:
    answer = raw.send(provider, "GET", target, headers)
    assert answer.status < 500
    assert not [value for name, value in answer.headers if name.lower() == "location" and "evil" in value]
    assert "evil.example" not in answer
    assert answer.status not in {301, 302, 307, 308}
    if answer.status == 303:
        assert str(answer.header("Location")).startswith(("/", "login", "account"))
        assert not str(answer.header("Location")).startswith("//")
    for name, value in answer.headers:
        if name.lower() == "set-cookie":
            assert "Secure" not in value
            assert "Domain" not in value
    if target.startswith("/.well-known"):
        assert answer.status == 400 or json.loads(answer.body)["issuer"] == provider.issuer


@ON_ONE_DATABASE
def test_tokens_and_redirects_are_the_same_under_a_forged_host(app: RelyingParty, provider: RunningProvider) -> None:
    forged = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "203.0.113.9",
    }
    person = Person(provider.issuer)
    person.http.headers.update({name: value for name, value in forged.items() if name != "Host"})
    tokens = app.sign_in(person)
    claims = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
    assert claims["iss"] == provider.issuer
    with provider.services.database.reading() as tx:
        session = provider.services.sessions.get(tx, str(claims["sid"]))
    assert session is not None
    assert session.address == "127.0.0.1"
    answer = http.post(
        f"{provider.issuer}/token",
        data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
        auth=app.auth,
        headers=forged,
    )
    assert app.verified(answer.json()["access_token"], audience=provider.issuer, typ="at+jwt")["iss"] == provider.issuer


def test_metrics_are_not_opened_by_a_proxy_on_the_same_machine_that_nobody_named(tmp_path: Path) -> None:
    built = application.build(Settings(data_dir=tmp_path))
    client = application.create_app(built).test_client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 404
    built.database.dispose()


def test_metrics_are_not_opened_by_a_forged_address(tmp_path: Path) -> None:
    built = application.build(Settings(data_dir=tmp_path, metrics_allow="10.0.0.0/8"))  # type: ignore[arg-type]
    client = application.create_app(built).test_client()
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"):
        assert client.get("/metrics", headers={name: "10.0.0.1"}).status_code == 404
    built.database.dispose()


TRUSTED = [
    ("198.51.100.7", "10.0.0.1", "198.51.100.7"),
    ("203.0.113.9, 198.51.100.7", "10.0.0.1", "198.51.100.7"),
    ("203.0.113.9, 198.51.100.7, 10.0.0.2", "10.0.0.1", "198.51.100.7"),
    ("203.0.113.9", "192.0.2.1", "192.0.2.1"),
    ("nonsense", "10.0.0.1", "10.0.0.1"),
    ("203.0.113.9, nonsense", "10.0.0.1", "10.0.0.1"),
    ("", "10.0.0.1", "10.0.0.1"),
    ("10.0.0.3, 10.0.0.2", "10.0.0.1", "10.0.0.3"),
]


@pytest.mark.parametrize(("forwarded", "peer", "believed"), TRUSTED)
def test_of_a_trusted_proxy_the_nearest_stranger_is_believed_and_nobody_behind(
    tmp_path: Path, forwarded: str, peer: str, believed: str
) -> None:
    """`/metrics` is open to one address alone here: whoever is let in is taken for that one."""
    for allowed, status in ((believed, 200), ("203.0.113.77", 404)):
        built = application.build(Settings(data_dir=tmp_path, trusted_proxies="10.0.0.0/8", metrics_allow=allowed))  # type: ignore[arg-type]
        client = application.create_app(built).test_client()
        answer = client.get("/metrics", headers={"X-Forwarded-For": forwarded}, environ_overrides={"REMOTE_ADDR": peer})
        assert answer.status_code == status
        built.database.dispose()


# -- 33: cookies ------------------------------------------------------------------------------------------------------


@ON_ONE_DATABASE
def test_cookies_are_for_the_server_alone_and_this_site_only(
    provider: RunningProvider, app: RelyingParty, person: Person
) -> None:
    login = person.http.get(f"{provider.issuer}/login")
    fields = Person(provider.issuer)  # a browser of its own, whose answers are looked at one by one
    page = fields.open("login")
    answer = fields.http.post(
        f"{provider.issuer}/login",
        data=page.forms[0].fields | {"username": "alice", "password": "correct horse battery staple"},
    )
    cookies = login.headers.get_list("Set-Cookie") + answer.headers.get_list("Set-Cookie")
    assert len(cookies) >= 2
    for cookie in cookies:
        name, *attributes = (part.strip() for part in cookie.split(";"))
        assert name.startswith("idp_")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
        assert not [attribute for attribute in attributes if attribute.lower().startswith("domain")]


def test_under_https_cookies_are_bound_to_the_host_and_a_subdomain_cannot_override_them(tmp_path: Path) -> None:
    built = application.build(Settings(data_dir=tmp_path, issuer="https://idp.example"))
    migrations.upgrade(built.database)
    built.keys.keep_up()
    web = application.create_app(built)
    answer = web.test_client().get("/login")
    cookies = answer.headers.getlist("Set-Cookie")
    assert cookies
    for cookie in cookies:
        assert cookie.startswith("__Host-idp_")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert "domain" not in cookie.lower()
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    value = cookies[0].partition("=")[2].partition(";")[0]
    planted = web.test_client()
    again = planted.get("/login", headers={"Cookie": f"idp_session={value}; session={value}"})
    assert again.headers.getlist("Set-Cookie")  # it was not read: this browser is given its own
    built.database.dispose()
