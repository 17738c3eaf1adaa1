"""docs/threats.md 50: whoever sends slowly, or nothing, holds up nobody else."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.attacks import raw
from tests.attacks.conftest import ON_ONE_DATABASE
from tests.support import http
from tests.support.browsing import Person
from tests.support.pace import slowness
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

pytestmark = ON_ONE_DATABASE

MANY = 200
#: As many as docs/threats.md 50 names, and five times what granian would take of its own accord. They are opened within two seconds.
IDLE = 10_000
#: Files that the process of the tests has open besides.
_OTHERS = 500
PATIENCE = 5.0


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Connections that stay open until the test is over."""
    with ExitStack() as stack:
        yield stack


def hold(provider: RunningProvider, held: ExitStack, count: int, data: bytes) -> list[socket.socket]:
    sockets = [held.enter_context(raw.connect(provider)) for _ in range(count)]
    for sock in sockets:
        if data:
            sock.sendall(data)
    return sockets


def others_are_served(app: RelyingParty) -> None:
    began = time.perf_counter()
    for path in ("/health/live", "/jwks", "/login"):
        assert http.get(app.provider.issuer + path, timeout=PATIENCE).status_code == 200
    app.sign_in(Person(app.provider.issuer))
    assert time.perf_counter() - began < PATIENCE


SLOW = {
    "nothing at all": b"",
    "half a request line": b"GET /login HT",
    "headers without an end": b"GET /login HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "a body that never comes": b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n",
    "a body that stops": b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nusername=alice",
    "a chunk that never comes": b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "an expectation": b"POST /token HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW.keys())
def test_two_hundred_who_send_slowly_hold_up_nobody_else(
    app: RelyingParty, provider: RunningProvider, held: ExitStack, data: bytes
) -> None:
    hold(provider, held, MANY, data)
    others_are_served(app)


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open so many connections. It is an error where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + _OTHERS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_ten_thousand_idle_connections_hold_up_nobody_else(
    app: RelyingParty, provider: RunningProvider, held: ExitStack
) -> None:
    hold(provider, held, IDLE, b"")
    others_are_served(app)


def test_headers_that_do_not_end_are_cut_off(provider: RunningProvider, held: ExitStack) -> None:
    (sock,) = hold(provider, held, 1, b"GET /login HTTP/1.1\r\nHost: localhost\r\n")
    began = time.monotonic()
    sock.settimeout(30)
    answer = sock.recv(100)
    assert time.monotonic() - began < 20 * slowness()
    assert answer == b"" or b" 408 " in answer or b" 400 " in answer


def test_whoever_leaves_in_the_middle_leaves_nothing_behind(app: RelyingParty, provider: RunningProvider) -> None:
    for data in SLOW.values():
        with ExitStack() as leaving:
            hold(provider, leaving, 20, data)
    others_are_served(app)


def test_ten_thousand_headers_or_a_megabyte_of_them_are_refused(app: RelyingParty, provider: RunningProvider) -> None:
    for headers in (
        [(f"X-{number}", "x") for number in range(10_000)],
        [("X-Large", "x" * 1_000_000)],
        [("Cookie", "a=b; " * 400_000)],
    ):
        answer = raw.send(provider, "GET", "/login", headers)
        assert answer.status in {0, 400, 413, 431}
    others_are_served(app)
