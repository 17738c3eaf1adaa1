"""The arena over real sockets: who may open one, and that the session's end closes it at once."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Self

import httpx2
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from examples.arena.app import create_app
from examples.arena.game import LONGEST_MESSAGE, MOST_SOCKETS, place_of
from examples.receiver import Receiver
from examples.sessions import Session, Sessions
from examples.settings import Settings
from tests.examples.conftest import CLIENT_ID, ISSUER
from tests.verifier.feeding import ToldFeed


class Feed(ToldFeed):
    """Stands for the verifier: a test says what the provider's feed tells."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was begun."""

    async def wait(self, _seconds: float) -> bool:
        return not self.refuses


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def base(sessions: Sessions, receiver: Receiver, feed: Feed) -> Iterator[str]:
    """The app on a free port of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))
    settings = Settings(ISSUER, CLIENT_ID, "secret", listening.getsockname()[1])
    app = create_app(settings, sessions=sessions, receiver=receiver, verifier=feed)  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws_max_size=LONGEST_MESSAGE, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield settings.base
    server.should_exit = True
    thread.join()
    listening.close()


Open = Callable[..., ClientConnection]


@pytest.fixture
def open_socket(base: str) -> Iterator[Open]:
    with ExitStack() as opened:

        def open_one(session: Session | None, origin: str | None = base) -> ClientConnection:
            cookie = {"Cookie": f"arena_session={session.key}"} if session else {}
            address = base.replace("http", "ws") + "/arena"
            return opened.enter_context(connect(address, origin=origin, additional_headers=cookie, proxy=None))

        yield open_one


def post_logout(base: str, token: str) -> httpx2.Response:
    return httpx2.post(f"{base}/backchannel-logout", data={"logout_token": token}, trust_env=False)


def close_code(connection: ClientConnection) -> int:
    """Read on until the socket closes."""
    with pytest.raises(ConnectionClosed) as closed:
        _read_on(connection)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def _read_on(connection: ClientConnection) -> None:
    while True:
        connection.recv(timeout=5)


def players(connection: ClientConnection) -> list[list[object]]:
    found: list[list[object]] = json.loads(connection.recv(timeout=5))["players"]
    return found


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_session_of_the_app_opens_a_socket(open_socket: Open, alice: Session) -> None:
    assert [name for _, name, _, _ in players(open_socket(alice))] == ["Alice"]


def test_a_move_is_shown_to_everybody(open_socket: Open, alice: Session, bob: Session) -> None:
    mover, watcher = open_socket(alice), open_socket(bob)
    mover.send("[0.25, 0.75]")
    until(lambda: ["Alice", 0.25, 0.75] in [player[1:] for player in players(watcher)])


def test_without_a_session_there_is_no_socket(open_socket: Open) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        open_socket(None)
    assert refusal.value.response.status_code == 401


@pytest.mark.parametrize("origin", ["http://localhost:8001", "https://evil.example", "null", None])
def test_another_origin_opens_no_socket_even_with_our_cookie(open_socket: Open, alice: Session, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        open_socket(alice, origin=origin)
    assert refusal.value.response.status_code == 403


def test_a_logout_token_closes_each_socket_of_its_sid_and_no_other(
    base: str, open_socket: Open, sign_now: Callable[..., str], alice: Session, bob: Session
) -> None:
    first, second, other = open_socket(alice), open_socket(alice), open_socket(bob)
    answer = post_logout(base, sign_now())
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (close_code(first), close_code(second)) == (4401, 4401)
    until(lambda: [name for _, name, _, _ in players(other)] == ["bob"])
    with pytest.raises(InvalidStatus):
        open_socket(alice)


def test_the_feed_closes_each_socket_of_the_sid_and_no_other(
    base: str, open_socket: Open, feed: Feed, alice: Session, bob: Session
) -> None:
    first, second, other = open_socket(alice), open_socket(alice), open_socket(bob)
    feed.end("sid", alice.sid)
    assert (close_code(first), close_code(second)) == (4401, 4401)
    until(lambda: [name for _, name, _, _ in players(other)] == ["bob"])
    with httpx2.Client(base_url=base, cookies={"arena_session": alice.key}, trust_env=False) as browser:
        assert not browser.get("/me").json()["signed_in"]
    with pytest.raises(InvalidStatus):
        open_socket(alice)


@pytest.mark.parametrize("first", ["feed", "logout token"])
def test_whichever_comes_first_closes_the_socket_and_the_other_changes_nothing(
    base: str, open_socket: Open, feed: Feed, sign_now: Callable[..., str], alice: Session, bob: Session, first: str
) -> None:
    connection, other = open_socket(alice), open_socket(bob)
    channels = [lambda: feed.end("sid", alice.sid), lambda: post_logout(base, sign_now()).raise_for_status()]
    for tell in channels if first == "feed" else reversed(channels):
        tell()
        assert close_code(connection) == 4401
    other.send("[0.5, 0.25]")
    until(lambda: [0.5, 0.25] in [player[2:] for player in players(other)])


def test_a_provider_that_is_not_heard_closes_every_socket_and_none_is_opened(
    base: str, open_socket: Open, feed: Feed, alice: Session, bob: Session
) -> None:
    connections = [open_socket(alice), open_socket(bob)]
    feed.lose()
    assert [close_code(connection) for connection in connections] == [4401, 4401]
    with pytest.raises(InvalidStatus) as refusal:
        open_socket(alice)
    assert refusal.value.response.status_code == 503
    feed.find()
    assert players(open_socket(alice))


def test_the_end_of_a_session_and_its_socket_is_written_with_the_time_it_took(
    base: str, open_socket: Open, sign_now: Callable[..., str], alice: Session, capfd: pytest.CaptureFixture[str]
) -> None:
    connection = open_socket(alice)
    post_logout(base, sign_now())
    close_code(connection)
    written: list[dict[str, object]] = []

    def all_told() -> bool:
        written.extend(json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{"))
        return {"socket_opened", "session_ended", "socket_closed"} <= {str(line["event"]) for line in written}

    until(all_told)
    closed = next(line for line in written if line["event"] == "socket_closed")
    assert (closed["sid"], closed["code"]) == ("sid-of-alice", 4401)
    assert 0 <= float(str(closed["ms"])) < 1000


@pytest.mark.parametrize("token", ["a.b.c", "", "x" * 20_000, "x" * 100_000])
def test_a_bad_logout_token_is_refused_and_closes_nothing(base: str, open_socket: Open, alice: Session, token: str) -> None:
    connection = open_socket(alice)
    answer = post_logout(base, token)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (400, "no-store")
    assert set(answer.json()) == {"error", "error_description"}
    connection.send("[0.1, 0.1]")
    until(lambda: [0.1, 0.1] in [player[2:] for player in players(connection)])


@pytest.mark.parametrize("message", ["no json", "{}", "[1]", '["a", 1]', "[NaN, 1]", "[1, 2, 3]", "[" * 200])
def test_a_message_that_is_no_move_closes_its_socket_but_not_the_session(
    open_socket: Open, alice: Session, message: str
) -> None:
    connection = open_socket(alice)
    connection.send(message)
    assert close_code(connection) == 1008
    assert players(open_socket(alice))


def test_a_message_beyond_measure_closes_its_socket(open_socket: Open, alice: Session) -> None:
    connection = open_socket(alice)
    connection.send("[0.1," + " " * 1000 + "0.1]")
    assert close_code(connection) == 1009


def test_a_session_has_a_limited_number_of_sockets(open_socket: Open, alice: Session, bob: Session) -> None:
    for _ in range(MOST_SOCKETS):
        open_socket(alice)
    with pytest.raises(InvalidStatus):
        open_socket(alice)
    assert players(open_socket(bob))


def test_a_place_outside_the_arena_is_pulled_inside() -> None:
    assert place_of("[-3, 7.5]") == (0.0, 1.0)


def test_a_forged_sign_out_changes_nothing_and_a_good_one_needs_the_token(base: str, alice: Session) -> None:
    with httpx2.Client(base_url=base, cookies={"arena_session": alice.key}, trust_env=False) as browser:
        for data in ({}, {"csrf_token": ""}, {"csrf_token": "guessed"}):
            assert browser.post("/sign-out", data=data).status_code == 400
        assert browser.get("/me").json()["signed_in"]
        assert browser.get("/sign-out").status_code == 405


def test_another_host_name_is_led_to_our_own(base: str) -> None:
    answer = httpx2.get(base, headers={"Host": "rebound.example"}, trust_env=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, base)
