"""The ASGI adapter over real sockets, on each of uvicorn's websocket implementations."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from idp.verifier.asgi import TOKEN_PROTOCOL, GuardedSockets, socket_of, token_of
from idp.verifier.guard import ENDED, EXPIRED, STALE, Guard
from idp.verifier.holding import OtherSessionError
from tests.verifier.feeding import SID, ToldFeed, claims, until
from tests.verifier.serving import served


class Echo:
    """An app that says what it hears, takes a newer token by `{"extend": ...}`, and keeps what it was told at the end."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.ends: list[object] = []
        self.hold: threading.Event | None = None
        self.began = threading.Event()

    async def __call__(self, scope, receive, send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        self.began.set()
        while self.hold is not None and not self.hold.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.005)
        await send({"type": "websocket.accept", "subprotocol": TOKEN_PROTOCOL if scope["subprotocols"] else None})
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self.heard.append(message["text"])
                await send({"type": "websocket.send", "text": self.answer(scope, message["text"])})
        except OSError as error:
            self.ends.append(error)
        else:
            self.ends.append(message.get("code"))

    def answer(self, scope, text: str) -> str:
        if not text.startswith("{"):
            return text
        try:
            socket_of(scope).handle.extend(json.loads(text)["extend"])
        except OtherSessionError:
            return "refused"
        return "extended"


class Flood(Echo):
    """An app that talks without end, whoever listens."""

    async def __call__(self, scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(100_000)})
        except OSError as error:
            self.ends.append(error)


def who(scope) -> dict[str, object] | None:
    """Stands for a verifier: the token is the claims' own JSON."""
    token = token_of(scope)
    return None if token is None else claims(sid=token, expires=time.time() + 300)


Open = Callable[..., ClientConnection]


@pytest.fixture
def feed() -> ToldFeed:
    return ToldFeed()


@pytest.fixture
def guard(feed: ToldFeed) -> Iterator[Guard]:
    with Guard(feed) as made:
        yield made


@pytest.fixture(params=["websockets-sansio", "wsproto"])
def implementation(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def base(guard: Guard, echo: Echo, implementation: str) -> Iterator[str]:
    with served(GuardedSockets(echo, guard, who), ws=implementation) as address:
        yield address


@pytest.fixture
def open_socket(base: str) -> Iterator[Open]:
    with ExitStack() as opened:

        def open_one(token: str | None = SID, **options: object) -> ClientConnection:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return opened.enter_context(connect(base, additional_headers=headers, proxy=None, **options))

        yield open_one


def closing(connection: ClientConnection) -> tuple[int, str]:
    """Read on until the socket closes: with what."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            connection.recv(timeout=5)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_the_sessions_end_closes_its_sockets_and_no_other(open_socket: Open, feed: ToldFeed, echo: Echo) -> None:
    first, second, other = open_socket(), open_socket(), open_socket("sid-of-bob")
    first.send("hello")
    assert first.recv(timeout=5) == "hello"
    began = time.monotonic()
    feed.end("sid", SID)
    assert closing(first) == closing(second) == (4401, ENDED)
    print(f"closed after {(time.monotonic() - began) * 1000:.1f} ms")
    other.send("still here")
    assert other.recv(timeout=5) == "still here"
    until(lambda: echo.ends == [4401, 4401])


def test_nothing_that_is_sent_after_the_end_is_heard(base: str, open_socket: Open, feed: ToldFeed, echo: Echo) -> None:
    connection = open_socket()
    connection.send("before")
    assert connection.recv(timeout=5) == "before"
    feed.end("sid", SID)
    for _ in range(50):
        try:
            connection.send("after")
        except ConnectionClosed:
            break
    until(lambda: echo.ends == [4401])
    assert echo.heard == ["before"]


def test_without_a_token_or_with_one_that_has_ended_the_handshake_is_refused(open_socket: Open, feed: ToldFeed) -> None:
    feed.end("sid", SID)
    for token in (None, SID):
        with pytest.raises(InvalidStatus) as refusal:
            open_socket(token)
        assert refusal.value.response.status_code == 401
    feed.lose()
    with pytest.raises(InvalidStatus):
        open_socket("sid-of-bob")


def test_a_session_that_ends_during_the_handshake_opens_no_socket(base: str, feed: ToldFeed, echo: Echo) -> None:
    echo.hold = threading.Event()

    def end() -> None:
        echo.began.wait(5)
        feed.end("sid", SID)

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(InvalidStatus) as refusal:
        connect(base, additional_headers={"Authorization": f"Bearer {SID}"}, proxy=None)
    assert refusal.value.response.status_code == 401
    ending.join()
    echo.hold.set()
    until(lambda: echo.ends == [4401])


def test_a_browser_presents_its_token_as_a_subprotocol(base: str, feed: ToldFeed) -> None:
    with connect(base, subprotocols=[TOKEN_PROTOCOL, SID], proxy=None) as connection:
        assert connection.subprotocol == TOKEN_PROTOCOL
        feed.end("sid", SID)
        assert closing(connection) == (4401, ENDED)


def test_a_token_in_the_address_is_not_looked_at(base: str) -> None:
    with pytest.raises(InvalidStatus):
        connect(f"{base}/?access_token={SID}", proxy=None)


def test_a_refresh_extends_the_open_socket_and_another_session_does_not(
    open_socket: Open, guard: Guard, feed: ToldFeed
) -> None:
    connection = open_socket()
    for number in range(1, 20):
        connection.send(json.dumps({"extend": claims(number, expires=time.time() + 300 + number)}))
        assert connection.recv(timeout=5) == "extended"
        feed.end("jti", f"family-of-{SID}.{number - 1}")
    connection.send(json.dumps({"extend": claims(1, sid="sid-of-bob", expires=time.time() + 900)}))
    assert connection.recv(timeout=5) == "refused"
    feed.clock = time.time() + 301
    guard.sweep()
    connection.send("still here")
    assert connection.recv(timeout=5) == "still here"
    feed.clock += 100
    guard.sweep()
    assert closing(connection) == (4401, EXPIRED)


def test_a_verifier_that_cannot_know_closes_every_socket(open_socket: Open, feed: ToldFeed) -> None:
    connections = [open_socket(f"sid-{number}") for number in range(5)]
    feed.lose()
    assert {closing(connection) for connection in connections} == {(4401, STALE)}


def test_a_socket_that_its_page_closes_is_forgotten(open_socket: Open, guard: Guard, echo: Echo) -> None:
    open_socket().close()
    until(lambda: len(guard) == 0)
    until(lambda: len(echo.ends) == 1)
    assert echo.ends != [4401]


def test_an_app_that_waits_in_a_send_for_a_page_that_reads_nothing_is_woken(
    guard: Guard, feed: ToldFeed, implementation: str
) -> None:
    flood = Flood()
    with served(GuardedSockets(flood, guard, who), ws=implementation) as base:
        headers = {"Authorization": f"Bearer {SID}"}
        with connect(base, additional_headers=headers, max_queue=1, proxy=None, close_timeout=0.1):
            time.sleep(0.3)  # until the buffers between the two are full
            assert flood.ends == []
            feed.end("sid", SID)
            until(lambda: len(flood.ends) == 1)


def test_an_app_without_websockets_is_left_alone() -> None:
    async def app(scope, receive, send) -> None:
        await send(scope)

    async def ask() -> list[object]:
        sent: list[object] = []

        async def send(message: object) -> None:
            sent.append(message)

        await GuardedSockets(app, Guard(ToldFeed()))({"type": "http"}, None, send)
        return sent

    assert asyncio.run(ask()) == [{"type": "http"}]
