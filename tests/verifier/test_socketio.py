"""The python-socketio adapter, sync and async, with the real client over real sockets."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import socketio

from idp.verifier.guard import ENDED, EXPIRED, STALE, Guard
from idp.verifier.holding import OtherSessionError
from idp.verifier.socketio import AsyncSocketIOGuard, SocketIOGuard
from tests.verifier.feeding import SID, ToldFeed, claims, until
from tests.verifier.manual import Knowing, example
from tests.verifier.serving import served, served_by_werkzeug


class Sockets:
    """A server and its guarded sockets. `heard` is what came, `left` who was disconnected."""

    def __init__(self, guard: Guard, *, in_loop: bool) -> None:
        self.heard: list[str] = []
        self.left: list[str] = []
        self.slow: threading.Event | None = None
        if in_loop:
            self.server = socketio.AsyncServer(async_mode="asgi", ping_interval=1)
            self.guarded = AsyncSocketIOGuard(self.server, guard)
            self.app = socketio.ASGIApp(self.server)
            self._register_async()
        else:
            self.server = socketio.Server(async_mode="threading", ping_interval=1)
            self.guarded = SocketIOGuard(self.server, guard)
            self.app = socketio.WSGIApp(self.server)
            self._register()

    def _register(self) -> None:
        self.server.on("connect", self.connect)
        self.server.on("disconnect", self.disconnect)
        self.server.on("say", self.say)
        self.server.on("token", self.token)

    def _register_async(self) -> None:
        async def connect(sid, environ, auth) -> None:
            self.connect(sid, environ, auth)

        async def disconnect(sid, reason) -> None:
            self.disconnect(sid, reason)

        async def say(sid, text):
            return self.say(sid, text)

        async def token(sid, newer):
            return self.token(sid, newer)

        for handler in (connect, disconnect, say, token):
            self.server.on(handler.__name__, handler)

    def connect(self, sid, _environ, auth) -> None:
        self.guarded.bind(sid, claims(sid=auth["token"], expires=time.time() + 300))

    def disconnect(self, sid, _reason) -> None:
        self.guarded.release(sid)
        self.left.append(sid)
        if self.slow is not None:
            self.slow.wait(10)

    def say(self, _sid, text: str) -> str:
        self.heard.append(text)
        return text

    def token(self, sid, newer) -> str:
        try:
            self.guarded.extend(sid, newer)
        except OtherSessionError:
            return "refused"
        return "extended"


class Page:
    """A page's socket: what it was told at the end, and whether it is connected."""

    def __init__(self, address: str, token: str, transports: list[str]) -> None:
        self.told: list[object] = []
        self.client = socketio.Client(reconnection=False)
        self.client.on("session_ended", self.told.append)
        self.client.connect(f"http://{address}", auth={"token": token}, transports=transports, wait_timeout=5)

    def ask(self, event: str, data: object) -> object:
        return self.client.call(event, data, timeout=5)

    def is_gone(self) -> bool:
        return not self.client.connected and self.client.eio.state == "disconnected"


Open = Callable[..., Page]


@pytest.fixture
def feed() -> ToldFeed:
    return ToldFeed()


@pytest.fixture
def guard(feed: ToldFeed) -> Iterator[Guard]:
    with Guard(feed) as made:
        yield made


@pytest.fixture(params=["threads", "asyncio"])
def sockets(request: pytest.FixtureRequest, guard: Guard) -> Sockets:
    return Sockets(guard, in_loop=request.param == "asyncio")


@pytest.fixture
def open_page(sockets: Sockets) -> Iterator[Open]:
    with ExitStack() as stack:
        if isinstance(sockets.guarded, AsyncSocketIOGuard):
            address = stack.enter_context(served(sockets.app)).removeprefix("ws://")
        else:
            address = stack.enter_context(served_by_werkzeug(sockets.app))

        def open_one(token: str = SID) -> Page:
            page = Page(address, token, ["websocket"])
            stack.callback(page.client.disconnect)
            return page

        yield open_one


def test_the_sessions_end_disconnects_its_sockets_and_no_other(
    open_page: Open, feed: ToldFeed, sockets: Sockets, guard: Guard
) -> None:
    first, second, other = open_page(), open_page(), open_page("sid-of-bob")
    assert [page.ask("say", "hello") for page in (first, second, other)] == ["hello"] * 3
    began = time.monotonic()
    feed.end("sid", SID)
    until(lambda: first.is_gone() and second.is_gone())
    print(f"\ngone after {(time.monotonic() - began) * 1000:.0f} ms")
    assert first.told == second.told == [{"code": 4401, "reason": ENDED}]
    assert other.ask("say", "still here") == "still here"
    assert (len(sockets.left), len(guard), len(sockets.guarded)) == (2, 1, 1)


def test_who_has_no_websocket_and_polls_is_disconnected_too(guard: Guard, feed: ToldFeed) -> None:
    with served_by_werkzeug(Sockets(guard, in_loop=False).app) as address:
        page = Page(address, SID, ["polling"])
        feed.end("sid", SID)
        until(page.is_gone)
        # Why it was disconnected it hears only where one of its polls was waiting just then.
        assert page.told in ([], [{"code": 4401, "reason": ENDED}])


def test_a_session_that_has_ended_connects_no_more(open_page: Open, feed: ToldFeed, guard: Guard) -> None:
    feed.end("sid", SID)
    with pytest.raises(socketio.exceptions.ConnectionError):
        open_page()
    assert len(guard) == 0


def test_the_manuals_server_refuses_what_is_no_good_token_and_says_why(
    guard: Guard, feed: ToldFeed, caplog: pytest.LogCaptureFixture
) -> None:
    server = socketio.Server(async_mode="threading")
    exec(example("sockets.md", "python-socketio"), {"server": server, "guard": guard, "verifier": Knowing()})
    with served_by_werkzeug(socketio.WSGIApp(server)) as address:
        page = Page(address, SID, ["websocket"])
        assert (page.ask("token", SID), page.ask("token", "another")) == ("extended", "refused")
        for auth in ({"token": "another"}, {}, None):
            client = socketio.Client(reconnection=False)
            refused: list[object] = []
            client.on("connect_error", refused.append)
            with pytest.raises(socketio.exceptions.ConnectionError):
                client.connect(f"http://{address}", auth=auth, transports=["websocket"], wait_timeout=5)
            until(lambda refused=refused: refused == [{"message": "not a token", "data": 4401}])
            client.disconnect()
        feed.end("sid", SID)
        until(page.is_gone)
        assert page.told == [{"code": 4401, "reason": ENDED}]
    assert "Traceback" not in caplog.text


def test_a_refresh_extends_the_open_socket_and_another_session_does_not(open_page: Open, feed: ToldFeed, guard: Guard) -> None:
    page = open_page()
    assert page.ask("token", claims(1, expires=time.time() + 600)) == "extended"
    assert page.ask("token", claims(2, sid="sid-of-bob", expires=time.time() + 900)) == "refused"
    feed.end("jti", f"family-of-{SID}.0")
    feed.clock = time.time() + 400
    guard.sweep()
    assert page.ask("say", "still here") == "still here"
    feed.clock += 300
    guard.sweep()
    until(page.is_gone)
    assert page.told == [{"code": 4401, "reason": EXPIRED}]


def test_a_verifier_that_cannot_know_disconnects_everybody(open_page: Open, feed: ToldFeed) -> None:
    pages = [open_page(f"sid-{number}") for number in range(4)]
    feed.lose()
    until(lambda: all(page.is_gone() for page in pages))
    assert all(page.told == [{"code": 4401, "reason": STALE}] for page in pages)


def test_a_page_that_leaves_is_forgotten(open_page: Open, guard: Guard, sockets: Sockets) -> None:
    open_page().client.disconnect()
    until(lambda: (len(guard), len(sockets.guarded)) == (0, 0))


def test_a_disconnect_handler_that_takes_its_time_holds_up_no_other_socket(guard: Guard, feed: ToldFeed) -> None:
    sockets = Sockets(guard, in_loop=False)
    sockets.slow = threading.Event()
    with served_by_werkzeug(sockets.app) as address:
        pages = [Page(address, SID, ["websocket"]) for _ in range(40)]
        feed.end("sid", SID)
        until(lambda: len(sockets.left) == 40, seconds=3)
        sockets.slow.set()
        until(lambda: all(page.is_gone() for page in pages))


def test_what_ends_between_binding_and_answering_is_refused_or_disconnected(guard: Guard, feed: ToldFeed) -> None:
    """The session ends within the `connect` handler, after `bind` returned."""
    sockets = Sockets(guard, in_loop=False)
    plain = sockets.connect

    def connect(sid, environ, auth) -> None:
        plain(sid, environ, auth)
        feed.end("sid", SID)
        time.sleep(0.1)

    sockets.server.on("connect", connect)
    with served_by_werkzeug(sockets.app) as address:
        client = socketio.Client(reconnection=False)
        try:
            client.connect(f"http://{address}", auth={"token": SID}, transports=["websocket"], wait_timeout=2)
        except socketio.exceptions.ConnectionError:
            pass
        until(lambda: client.eio.state == "disconnected")
        client.disconnect()
    assert (len(guard), sockets.heard) == (0, [])
