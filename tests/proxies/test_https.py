"""Under https every answer says that this host is https from now on: ready bytes, errors, and what the gateway refuses."""

from collections.abc import Iterator

import pytest

from tests.attacks import raw
from tests.support import http
from tests.support.serving import RunningProvider

HSTS = "Strict-Transport-Security"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
REQUESTS = [
    ("GET", path, [])
    for path in (
        "/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/ssf-configuration",
        "/login", "/", "/account", "/authorize", "/userinfo", "/static/idp.css", "/static/nothing", "/nowhere", "/health/live", "/health/ready",
        "/metrics", "/status", "/check_session", "/ssf/poll/x", "/token",
    )
]  # fmt: skip
REQUESTS += [
    (method, path, [])
    for method in ("HEAD", "OPTIONS", "POST", "DELETE", "BREW")
    for path in ("/jwks", "/token", "/login", "/ssf/poll/x")
]
REQUESTS += [
    ("GET", "/jwks", [("If-None-Match", "*")]),
    ("POST", "/token", [FORM, ("Content-Length", str(10**9))]),
    ("POST", "/ssf/poll/x", [FORM, ("Content-Length", str(10**9))]),
]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    settings = {"ISSUER": "https://op.example", "SIGNALS_STATUS_LIST": "true", "SESSIONS_MANAGEMENT": "true"}
    running = RunningProvider(tmp_path_factory.mktemp("https"), settings=settings)
    yield running.start()
    running.close()


@pytest.mark.parametrize(("method", "path", "headers"), REQUESTS)
def test_every_answer_says_so_once(provider: RunningProvider, method: str, path: str, headers: list[tuple[str, str]]) -> None:
    answer = raw.send(provider, method, path, headers)
    assert answer.status
    names = [name.lower() for name, _ in answer.headers]
    for name in (HSTS, "X-Content-Type-Options", "Referrer-Policy"):
        assert names.count(name.lower()) == 1, f"{method} {path}: {answer.status} {name}"


def test_what_is_unchanged_says_so_too(provider: RunningProvider) -> None:
    etag = http.get(provider.origin + "/jwks").headers["ETag"]
    answer = http.get(provider.origin + "/jwks", headers={"If-None-Match": etag})
    assert (answer.status_code, HSTS in answer.headers) == (304, True)


def test_a_body_that_does_not_come_in_time_is_refused_with_them(provider: RunningProvider) -> None:
    with raw.connect(provider, timeout=30) as sock:
        head = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\na"
        answer = raw.exchange(sock, "POST", head)
    assert answer.status == 408
    assert answer.header(HSTS) is not None
    assert answer.header("X-Content-Type-Options") == "nosniff"


def test_a_plain_issuer_says_nothing_of_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    running = RunningProvider(tmp_path_factory.mktemp("plain"))
    try:
        running.start()
        for path in ("/jwks", "/login", "/nowhere", "/ssf/poll/x"):
            assert HSTS not in http.get(running.origin + path).headers
    finally:
        running.close()
