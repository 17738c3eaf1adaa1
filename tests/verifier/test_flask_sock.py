"""The Flask-Sock adapter: a real Flask app with real sockets."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from flask import Flask, request
from flask_sock import Sock
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from idp.verifier.flask_sock import guarded
from idp.verifier.guard import ENDED, EXPIRED, STALE, Guard
from idp.verifier.holding import OtherSessionError
from tests.verifier.feeding import SID, ToldFeed, claims, until
from tests.verifier.manual import Knowing, example
from tests.verifier.serving import served_by_werkzeug

HANDSHAKE = f"""GET /echo?sid={SID} HTTP/1.1
Host: localhost
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==

""".replace("\n", "\r\n")
Open = Callable[..., ClientConnection]


class App:
    """`/echo` says what it hears and takes newer tokens; `/flood` talks without end. `ended` counts handlers that are over."""

    def __init__(self, guard: Guard) -> None:
        self.heard: list[str] = []
        self.ended: list[str] = []
        self.flask = Flask(__name__)
        sock = Sock(self.flask)

        @sock.route("/echo")
        def echo(socket) -> None:
            try:
                with guarded(guard, socket, claims(sid=request.args["sid"], expires=time.time() + 300)) as handle:
                    while True:
                        text = socket.receive()
                        self.heard.append(text)
                        socket.send(self.answer(handle, text))
            finally:
                self.ended.append("echo")

        @sock.route("/flood")
        def flood(socket) -> None:
            try:
                with guarded(guard, socket, claims(sid=request.args["sid"], expires=time.time() + 300)):
                    while True:
                        socket.send(bytes(100_000))
            finally:
                self.ended.append("flood")

    def answer(self, handle, text: str) -> str:
        if not text.startswith("{"):
            return text
        try:
            handle.extend(json.loads(text))
        except OtherSessionError:
            return "refused"
        return "extended"


@pytest.fixture
def feed() -> ToldFeed:
    return ToldFeed()


@pytest.fixture
def guard(feed: ToldFeed) -> Iterator[Guard]:
    with Guard(feed) as made:
        yield made


@pytest.fixture
def app(guard: Guard) -> App:
    return App(guard)


@pytest.fixture
def open_socket(app: App) -> Iterator[Open]:
    with served_by_werkzeug(app.flask) as address, ExitStack() as opened:

        def open_one(sid: str = SID, path: str = "echo", **options: object) -> ClientConnection:
            return opened.enter_context(connect(f"ws://{address}/{path}?sid={sid}", proxy=None, close_timeout=0.2, **options))

        yield open_one


def closing(connection: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            connection.recv(timeout=5)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def say(connection: ClientConnection, text: str) -> str:
    connection.send(text)
    return str(connection.recv(timeout=5))


def test_the_sessions_end_closes_its_sockets_and_no_other(open_socket: Open, feed: ToldFeed, app: App, guard: Guard) -> None:
    first, second, other = open_socket(), open_socket(), open_socket("sid-of-bob")
    assert [say(each, "hello") for each in (first, second, other)] == ["hello"] * 3
    feed.end("sid", SID)
    assert closing(first) == closing(second) == (4401, ENDED)
    assert say(other, "still here") == "still here"
    until(lambda: (len(app.ended), len(guard)) == (2, 1))


def test_a_session_that_has_ended_gets_no_served_socket(open_socket: Open, feed: ToldFeed, app: App) -> None:
    feed.end("sid", SID)
    connection = open_socket()
    try:
        connection.send("hello")
    except ConnectionClosed:
        pass
    assert closing(connection) == (4401, ENDED)
    assert app.heard == []


def test_the_manuals_handler_serves_a_good_token_and_closes_for_any_other(guard: Guard, feed: ToldFeed) -> None:
    flask = Flask(__name__)
    exec(example("sockets.md", "Flask-Sock"), {"sock": Sock(flask), "guard": guard, "verifier": Knowing(), "answer": str.upper})
    with served_by_werkzeug(flask) as address:
        with connect(f"ws://{address}/live", proxy=None, close_timeout=0.2) as page:
            page.send(SID)
            assert say(page, "hello") == "HELLO"
            feed.end("sid", SID)
            assert closing(page) == (4401, ENDED)
        with connect(f"ws://{address}/live", proxy=None, close_timeout=0.2) as page:
            page.send("another")
            assert closing(page) == (4401, "Sign in again")


def test_a_handler_is_woken_though_its_page_never_answers_the_close(app: App, guard: Guard, feed: ToldFeed) -> None:
    with served_by_werkzeug(app.flask) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as page:
            page.sendall(HANDSHAKE.encode())
            until(lambda: len(guard) == 1)
            feed.end("sid", SID)
            until(lambda: app.ended == ["echo"], seconds=2)
            page.settimeout(5)
            said = b"".join(iter(lambda: page.recv(4096), b""))
            assert said.endswith(b"\x88\x17\x11\x31" + ENDED.encode())  # a close frame of 23 bytes, 4401, and no more


def test_a_handler_that_waits_in_a_send_for_a_page_that_reads_nothing_is_woken(
    open_socket: Open, feed: ToldFeed, app: App, guard: Guard
) -> None:
    open_socket(path="flood", max_queue=1)
    until(lambda: len(guard) == 1)
    time.sleep(0.5)  # until the buffers between the two are full
    feed.end("sid", SID)
    until(lambda: app.ended == ["flood"], seconds=2)


def test_a_refresh_extends_the_open_socket_and_another_session_does_not(
    open_socket: Open, feed: ToldFeed, guard: Guard
) -> None:
    connection = open_socket()
    assert say(connection, json.dumps(claims(1, expires=time.time() + 600))) == "extended"
    assert say(connection, json.dumps(claims(2, sid="sid-of-bob", expires=time.time() + 900))) == "refused"
    feed.end("jti", f"family-of-{SID}.0")
    feed.clock = time.time() + 400
    guard.sweep()
    assert say(connection, "still here") == "still here"
    feed.clock += 300
    guard.sweep()
    assert closing(connection) == (4401, EXPIRED)


def test_a_verifier_that_cannot_know_closes_every_socket(open_socket: Open, feed: ToldFeed) -> None:
    connections = [open_socket(f"sid-{number}") for number in range(5)]
    assert [say(each, "hello") for each in connections] == ["hello"] * 5
    feed.lose()
    assert {closing(each) for each in connections} == {(4401, STALE)}


def test_a_page_that_leaves_is_forgotten(open_socket: Open, guard: Guard) -> None:
    connection = open_socket()
    assert say(connection, "hello") == "hello"
    connection.close()
    until(lambda: len(guard) == 0)


def test_two_hundred_sockets_of_one_session_are_all_closed(open_socket: Open, feed: ToldFeed, app: App) -> None:
    connections = [open_socket() for _ in range(200)]
    assert {say(each, "hello") for each in connections} == {"hello"}
    began = time.monotonic()
    feed.end("sid", SID)
    assert {closing(each) for each in connections} == {(4401, ENDED)}
    print(f"\n200 sockets in threads closed after {(time.monotonic() - began) * 1000:.0f} ms")
    until(lambda: len(app.ended) == 200)
    assert threading.active_count() < 1000
