"""Thousands of open websockets of one app, on a real server and a real provider: what an ending closes, and what it costs.

Figures are printed: the time from the beginning of the ending's transaction to each socket's close frame at its page, and how
many sockets refreshes and rotations dropped. `IDP_ROTATIONS=100` waits for so many rotations, four seconds each, with 2,000
sockets open; `make test` for two, with 40.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.load.socket_app import App
from tests.support.pace import slowness
from tests.support.serving import RunningProvider

SOCKETS = 2000
REFRESHES = 1000
ROTATIONS = int(os.environ.get("IDP_ROTATIONS", "2"))
SESSIONS = 40
#: Of each session, while keys rotate.
SOCKETS_EACH = 50 if ROTATIONS >= 100 else 1
#: The quickest rotation that a policy allows: a key is announced for four seconds.
QUICK = {
    "KEYS_JWKS_MAX_AGE": "1",
    "KEYS_VERIFIER_COOLDOWN": "0",
    "KEYS_CLOCK_SKEW": "0",
    "KEYS_ROTATION_PERIOD": "4",
    "TOKENS_ACCESS_TOKEN_LIFETIME": "60",
}
AT_ONCE = 50


class Page(asyncio.Protocol):
    """A page's socket, as little of it as can be: what is measured is the server, not a client's library."""

    def __init__(self, sid: str, port: int, access_token: str, closed: Callable[["Page"], None]) -> None:
        self.sid, self._port, self._token, self._told = sid, port, access_token, closed
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed_at: float | None = None
        self.code: int | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        lines = [
            "GET / HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
            f"Authorization: Bearer {self._token}",
            "\r\n",
        ]
        transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        if not self.open.done():
            assert data.startswith(b"HTTP/1.1 101 "), data
            self.open.set_result(None)
        elif data[:1] == b"\x88":  # a close frame: two bytes of header, two of code
            self.closed_at = time.monotonic()
            self.code = int.from_bytes(data[2:4], "big")
            self._told(self)
            self.transport.write(b"\x88\x80\x00\x00\x00\x00")


@dataclass
class Pages:
    """Open sockets, in turn of each of these sessions."""

    app: App
    all: list[Page] = field(default_factory=list)
    closed: list[Page] = field(default_factory=list)
    expected: int = SOCKETS
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self, tokens: list[dict[str, str]], count: int) -> None:
        """Open `count` sockets."""
        gate, loop = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop()

        async def open_one(given: dict[str, str]) -> None:
            page = Page(given["sid"], self.app.port, given["access_token"], self._note)
            async with gate:
                await loop.create_connection(lambda: page, "127.0.0.1", self.app.port)
                await page.open
            self.all.append(page)

        await asyncio.gather(*(open_one(tokens[number % len(tokens)]) for number in range(count)))

    def _note(self, page: Page) -> None:
        self.closed.append(page)
        if len(self.closed) == self.expected:
            self.enough.set()

    def leave(self) -> None:
        """Close those that are still open."""
        for page in self.all:
            page.transport.close()


@pytest.fixture
def provider(tmp_path: Path, postgres_url: str) -> Iterator[RunningProvider]:
    url = postgres_url.replace("postgresql://", "postgresql+psycopg://", 1)
    running = RunningProvider(tmp_path, url, {"TOKENS_ACCESS_TOKEN_LIFETIME": "900"})
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def app(provider: RunningProvider) -> Iterator[App]:
    provider.start()
    provider.add_user()
    running = App.start(provider)
    yield running
    running.close()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def figures(times: list[float]) -> str:
    p50, p99, most = (f"{each * 1000:.0f}" for each in (percentile(times, 0.5), percentile(times, 0.99), max(times)))
    return f"p50 {p50} ms, p99 {p99} ms, max {most} ms"


async def _ended(app: App, tokens: list[dict[str, str]], spared: int) -> list[float]:
    """End all of these sessions but the last few, one after another; seconds until each socket got its close frame."""
    pages = Pages(app, expected=SOCKETS - spared * SOCKETS // len(tokens))
    await pages.connect(tokens, SOCKETS)
    began = {each["sid"]: await asyncio.to_thread(app.end, each["sid"]) for each in tokens[: len(tokens) - spared]}
    async with asyncio.timeout(30):
        await pages.enough.wait()
    assert {page.sid for page in pages.closed} == began.keys()
    assert {page.code for page in pages.closed} == {4401}
    pages.leave()
    return [page.closed_at - began[page.sid] for page in pages.closed]


def test_two_thousand_sockets_close_within_a_second_of_their_sessions_end(app: App) -> None:
    times = asyncio.run(_ended(app, app.sign_in(100), spared=10))
    print(f"\n{SOCKETS} sockets of 100 sessions, 90 ended one after another: revoke to closed {figures(times)}")
    assert percentile(times, 0.99) < slowness()


def test_two_thousand_sockets_of_one_session_close_within_a_second(app: App) -> None:
    times = asyncio.run(_ended(app, app.sign_in(1), spared=0))
    print(f"\n{SOCKETS} sockets of one session: revoke to closed {figures(times)}")
    assert percentile(times, 0.99) < slowness()


@dataclass
class Renewed:
    """What became of the refreshes: how many, and by how many keys their tokens were signed."""

    refreshes: int = 0
    kids: set[str] = field(default_factory=set)

    @property
    def is_enough(self) -> bool:
        return self.refreshes >= REFRESHES and len(self.kids) > ROTATIONS


async def _refreshed(app: App, tokens: list[dict[str, str]]) -> tuple[Renewed, int]:
    """Refresh until there were enough, each session in its turn; how many sockets are open at the end."""
    renewed, address = Renewed(), f"ws://127.0.0.1:{app.port}"
    async with AsyncExitStack() as stack:
        pages = []
        for each in tokens:
            headers = {"Authorization": f"Bearer {each['access_token']}"}
            opened = [connect(address, additional_headers=headers, ping_interval=None, proxy=None) for _ in range(SOCKETS_EACH)]
            pages.append(([await stack.enter_async_context(one) for one in opened], each))

        await asyncio.gather(*(_serve(app, pages[lane::4], renewed) for lane in range(4)))
        return renewed, [await _said(page) for some, _ in pages for page in some].count(True)


async def _serve(app: App, pages: list[tuple[list[ClientConnection], dict[str, str]]], renewed: Renewed) -> None:
    while not renewed.is_enough:
        for some, held in pages:
            answer = await asyncio.to_thread(app.party.refresh, held["refresh_token"])
            assert answer.status_code == 200, answer.text
            held |= answer.json()
            for page in some:
                await page.send(held["access_token"])
            assert {await page.recv() for page in some} == {"extended"}
            renewed.refreshes += 1
            renewed.kids.add(jwt.get_unverified_header(held["access_token"])["kid"])
        if renewed.refreshes >= REFRESHES:
            await asyncio.sleep(1)  # only rotations are awaited now


async def _said(page: ClientConnection) -> bool:
    """Whether the socket is still served."""
    try:
        await page.send("still here")
        return await page.recv() == "still here"
    except ConnectionClosed:
        return False


def test_refreshes_and_rotations_drop_no_socket(provider: RunningProvider) -> None:
    provider.settings |= QUICK
    provider.start()
    provider.add_user()
    app = App.start(provider)
    try:
        tokens = app.sign_in(SESSIONS)
        renewed, alive = asyncio.run(_refreshed(app, tokens))
    finally:
        app.close()
    sockets = len(tokens) * SOCKETS_EACH
    dropped = sockets - alive
    print(f"\n{renewed.refreshes} refreshes, {len(renewed.kids) - 1} rotations, {sockets} sockets: {dropped} dropped")
    assert dropped == 0
