"""HTTP itself: bodies in chunks, bodies without end, and requests hidden in others."""

import json
import time

import pytest

from tests.attacks import raw
from tests.attacks.conftest import ON_ONE_DATABASE
from tests.support.pace import slowness
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

pytestmark = ON_ONE_DATABASE

FORM = ("Content-Type", "application/x-www-form-urlencoded")
CHUNKED = ("Transfer-Encoding", "chunked")
LIMIT = 64 * 1024


def chunks(body: bytes, size: int = 1000) -> bytes:
    """A body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_body_in_chunks_is_read_like_any_other(app: RelyingParty, provider: RunningProvider) -> None:
    client_id, secret = app.auth  # type: ignore[misc]
    body = f"token=x&client_id={client_id}&client_secret={secret}".encode()
    for size in (1, 7, 1000):
        answer = raw.send(provider, "POST", "/introspect", [FORM, CHUNKED], chunks(body, size))
        assert (answer.status, json.loads(answer.body)) == (200, {"active": False})


@pytest.mark.parametrize(
    "path", ["/token", "/introspect", "/revoke", "/userinfo", "/login", "/consent", "/authorize", "/logout"]
)
def test_no_body_is_read_beyond_its_bound(provider: RunningProvider, path: str) -> None:
    for headers, body in (
        ([FORM], b"a" * (LIMIT + 1)),
        ([FORM, CHUNKED], chunks(b"a=" + b"x" * 4 * LIMIT, 4000)),
        ([("Content-Type", "multipart/form-data; boundary=x")], b"--x\r\n" * 20_000),
    ):
        began = time.perf_counter()
        answer = raw.send(provider, "POST", path, headers, body)
        assert answer.status in {400, 413, 415}
        assert time.perf_counter() - began < 2 * slowness()


def test_a_length_that_is_a_lie_is_refused_or_waits_for_nobody(provider: RunningProvider) -> None:
    for length in ("-1", "x", "1e3", "0x10", "99999999999999999999", "+5", "5, 6", ""):
        answer = raw.send(provider, "POST", "/token", [FORM, ("Content-Length", length)])
        assert answer.status in {0, 400, 413}, length


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "5"), CHUNKED],
        [CHUNKED, ("Content-Length", "5")],
        [("Content-Length", "5"), ("Content-Length", "50")],
        [("Transfer-Encoding", "chunked, identity")],
        [("Transfer-Encoding", "identity, chunked"), ("Content-Length", "5")],
        [("Transfer-Encoding", "xchunked"), ("Content-Length", "5")],
        [("Transfer-Encoding ", "chunked"), ("Content-Length", "5")],
        [("Transfer-Encoding", "\x0bchunked"), ("Content-Length", "5")],
    ],
    ids=range(8),
)
def test_a_request_hidden_in_another_is_not_answered(provider: RunningProvider, headers: list[tuple[str, str]]) -> None:
    """A front proxy may read such a message in another way than we do: one answer, and the connection is closed."""
    lines = b"".join(
        name.encode() + b": " + value.encode() + b"\r\n" for name, value in [("Host", "localhost"), FORM, *headers]
    )
    with raw.connect(provider, timeout=3) as sock:
        sock.sendall(b"POST /token HTTP/1.1\r\n" + lines + b"\r\n0\r\n\r\n" + SMUGGLED)
        received = b""
        try:
            while data := sock.recv(65_536):
                received += data
        except (TimeoutError, ConnectionError):
            pass
    assert received.count(b"HTTP/1.1 ") <= 1, received


def test_what_is_no_http_is_refused_and_nobody_is_disturbed(app: RelyingParty, provider: RunningProvider) -> None:
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n" * 1000,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 1000,
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        with raw.connect(provider, timeout=2) as sock:
            try:
                answer = raw.exchange(sock, "GET", data)
            except TimeoutError:
                continue
        assert answer.status < 500
    assert raw.send(provider, "GET", "/health/live").status == 200
    assert app.token("client_credentials").status_code == 400
