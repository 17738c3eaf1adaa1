"""A real nginx in front: an issuer with a path, bodies that are too long, and who came."""

import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from tests.support import http, nginx
from tests.support.browsing import Person
from tests.support.pace import slowness
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider, free_port

LIMIT = 64 * 1024
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
#: As docs/operating.md has it, but for TLS. `{to}` ends in a slash where the path is taken off.
SERVER = """
        client_max_body_size 100m;
        location = /auth/id {{ proxy_pass http://127.0.0.1:{port}{root}; {more} }}
        location /auth/id/ {{
            proxy_pass http://127.0.0.1:{port}{to};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            {more}
        }}
        location ~ ^/\\.well-known/[a-z-]+/auth/id$ {{ proxy_pass http://127.0.0.1:{port}; }}
"""
WAYS = {
    "passes the path on": {"to": "", "root": "", "more": ""},
    "takes the path off": {"to": "/", "root": "/", "more": ""},
    "takes half of it off, and says so": {"to": "/id/", "root": "/id", "more": "proxy_set_header X-Forwarded-Prefix /auth;"},
    "does not keep bodies": {"to": "", "root": "", "more": "proxy_request_buffering off;"},
}


@pytest.fixture(scope="module", params=WAYS)
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """A provider behind nginx."""
    if nginx.program() is None:
        pytest.skip(nginx.MISSING)
    front = free_port()
    settings = {"ISSUER": f"http://localhost:{front}/auth/id", "TRUSTED_PROXIES": "127.0.0.1", "SESSIONS_MANAGEMENT": "true"}
    running = RunningProvider(tmp_path_factory.mktemp("behind"), settings=settings)
    try:
        running.start().add_user()
        server = SERVER.format(port=running.port, **WAYS[str(request.param)])
        with nginx.serving(tmp_path_factory.mktemp("nginx"), front, server):
            yield running
    finally:
        running.close()


def test_a_person_signs_in_and_out_through_it(provider: RunningProvider) -> None:
    receiver = Receiver()
    try:
        app, person = RelyingParty.register(provider, receiver=receiver), Person(provider.issuer)
        tokens = app.sign_in(person)
        assert app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["iss"] == provider.issuer
        assert app.userinfo(tokens["access_token"]).status_code == 200
        again = app.refresh(tokens["refresh_token"]).json()
        page = person.open("account")
        assert page.main == "account-page"
        style = person.http.get(provider.issuer + "/static/idp.css")
        assert (style.status_code, style.headers["Content-Type"].partition(";")[0]) == (200, "text/css")
        page = person.open("logout")
        assert person.submit(page, "logout-confirm").main == "logout-done"
        app.logout_claims(receiver.wait()[0])
        assert app.refresh(again["refresh_token"]).json()["error"] == "invalid_grant"
    finally:
        receiver.close()


def test_all_that_discovery_announces_is_there(provider: RunningProvider) -> None:
    origin = provider.issuer.removesuffix("/auth/id")
    for name in ("openid-configuration", "oauth-authorization-server", "ssf-configuration"):
        appended = http.get(f"{provider.issuer}/.well-known/{name}")
        inserted = http.get(f"{origin}/.well-known/{name}/auth/id")
        assert (appended.status_code, inserted.json()) == (200, appended.json())
        for member, value in appended.json().items():
            if str(value).startswith(provider.issuer + "/"):
                assert http.get(str(value)).status_code != 404, member
    assert http.get(provider.issuer).status_code == 200
    assert http.post(f"{provider.issuer}/ssf/poll/nobody").status_code == 401


def test_sessions_know_where_people_are_and_not_where_the_proxy_is(provider: RunningProvider) -> None:
    """The test sits on the proxy's own machine, so that the hop before this one is the farthest that is named."""
    person = Person(provider.issuer)
    person.http.headers["X-Forwarded-For"] = "203.0.113.9:4711"
    page = person.open("login")
    assert person.sign_in(page, "alice", "correct horse battery staple").main == "account-page"
    assert "203.0.113.9" in [session["address"] for session in provider.json("session", "list")]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_too_long_is_a_413_and_never_a_502(provider: RunningProvider, is_chunked: bool) -> None:
    """A connection that is closed on a proxy that still sends is a 502 to whoever is behind it."""
    for size in (LIMIT + 1, 2 * LIMIT, 1024 * 1024, 5 * 1024 * 1024):
        for path in ("/token", "/login", "/ssf/poll/x"):
            content = (b"a" * 4096 for _ in range(size // 4096 + 1)) if is_chunked else b"a" * size
            answer = http.post(provider.issuer + path, content=content, headers=FORM, timeout=30)
            assert answer.status_code == 413, (size, path, answer.status_code, answer.text[:200])


def test_a_connection_that_carried_too_much_carries_the_next_request(provider: RunningProvider) -> None:
    with http.client() as browser:
        for _ in range(5):
            assert browser.post(provider.issuer + "/token", content=b"a" * (LIMIT + 1)).status_code == 413
            assert browser.get(provider.issuer + "/jwks").status_code == 200


# -- without a proxy: what is read of a body that is too long is bounded -----------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    running = RunningProvider(tmp_path_factory.mktemp("alone"))
    yield running.start()
    running.close()


def head(more: str) -> bytes:
    return (
        f"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n{more}\r\n\r\n".encode()
    )


def status(sock: socket.socket) -> int:
    response = HTTPResponse(sock, method="POST")
    response.begin()
    return response.status


def test_who_announces_more_than_is_worth_reading_is_answered_before_it_sends(alone: RunningProvider) -> None:
    for more in (f"Content-Length: {10**9}", f"Content-Length: {10**6}\r\nExpect: 100-continue"):
        with socket.create_connection(("127.0.0.1", alone.port), timeout=10) as sock:
            sock.sendall(head(more))
            assert status(sock) == 413


def test_a_body_without_end_is_read_to_a_bound_and_no_further(alone: RunningProvider) -> None:
    sent, piece = 0, b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", alone.port), timeout=20) as sock:
        sock.sendall(head("Transfer-Encoding: chunked"))
        try:
            while sent < 256 * 1024 * 1024:
                sock.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            pass
    assert sent < 64 * 1024 * 1024


def test_many_who_send_too_much_slowly_hold_up_nobody(alone: RunningProvider) -> None:
    slow = [socket.create_connection(("127.0.0.1", alone.port), timeout=30) for _ in range(100)]
    try:
        for sock in slow:
            sock.sendall(head(f"Content-Length: {LIMIT * 2}") + b"a" * 10)
        began = time.perf_counter()
        assert http.get(alone.origin + "/health/ready", timeout=10).status_code == 200
        assert time.perf_counter() - began < 5 * slowness()
        assert {status(sock) for sock in slow} == {413}
    finally:
        for sock in slow:
            sock.close()
