"""examples/socketio, for real: Express, socket.io and npm's jose, a provider, a sign-in, and a session that ends."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from idp import resources
from idp.runtime.paging import Page as PageOfAList
from tests.support import npm
from tests.support.browsing import Page
from tests.support.pace import slowness
from tests.support.serving import RunningProvider, free_port

SECONDS = 30
LIFETIME = 5
EXAMPLE = resources.folder("examples") / "socketio"
PAGE = Path(__file__).parent / "socketio_page.mjs"


class Program:
    """A Node program that says what happens, as JSON lines."""

    def __init__(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [npm.program("node"), *words], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(json.loads(line))

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next line of this kind."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                assert time.monotonic() < deadline, f"never heard of {event}"
                assert self._process.poll() is None, f"ended with {self._process.returncode} before {event}"
                continue
            if line["event"] == event:
                return line

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self._process.terminate()
        return self._process.wait(SECONDS)

    def close(self) -> None:
        with self._process:
            self._process.kill()


class Chat:
    """The example, served for one provider, and what a person does with it."""

    def __init__(self, provider: RunningProvider, stack: ExitStack) -> None:
        self.provider, self.stack = provider, stack
        self.home = npm.installed(EXAMPLE)
        port = str(free_port())
        self.base = f"http://localhost:{port}"
        metadata = json.loads((EXAMPLE / "client.json").read_text().replace("http://localhost:8003", self.base))
        registered = provider.add_client(metadata)
        told = {name.upper(): str(registered[name]) for name in ("client_id", "client_secret")}
        environment = provider.environment() | {"ISSUER": provider.issuer, "PORT": port} | told
        self.server = Program(str(self.home / "server.js"), environment=environment)
        stack.callback(self.server.close)
        self.server.wait_for("started")
        self.server.wait_for("feed_followed")

    def sign_in(self) -> tuple[httpx2.Client, str]:
        """A browser that is signed in, and the `sid`."""
        browser = self.stack.enter_context(httpx2.Client(follow_redirects=True, timeout=20, trust_env=False))
        page = browser.get(f"{self.base}/login")
        form = next(form for form in Page.of(page).forms if "login-submit" in form.buttons)
        person = {"username": "alice", "password": "correct horse battery staple"}
        answer = browser.post(page.url.join(form.action), data=form.fields | person)
        assert (answer.status_code, str(answer.url)) == (200, f"{self.base}/")
        return browser, self.server.wait_for("signed_in")["sid"]

    def token(self, browser: httpx2.Client) -> str:
        return str(browser.get(f"{self.base}/token").raise_for_status().json()["token"])

    def open_socket(self, token: str) -> Program:
        page = Program(str(PAGE), str(self.home), self.base, token)
        self.stack.callback(page.close)
        return page

    def streams(self) -> list[str]:
        """The streams that the provider keeps for it."""
        with self.provider.services.database.reading() as tx:
            return [stream.stream_id for stream in self.provider.services.streams.listed(tx, PageOfAList(10_000))]

    def wait_until_acknowledged(self, sid: str) -> None:
        """Wait until the end of a session is known to it, as far as the provider can tell."""
        deadline = time.monotonic() + SECONDS
        while True:
            with self.provider.services.database.reading() as tx:
                exposure = self.provider.services.streams.exposure(tx, sid)
            if exposure is not None and exposure.confirmed == exposure.followers == 1:
                return
            assert time.monotonic() < deadline, f"never acknowledged: {exposure}"
            time.sleep(0.05)

    def revoke_the_key(self) -> None:
        """Revoke the key that signs."""
        [kid] = [key["kid"] for key in self.provider.json("key", "list") if key["state"] == "signing"]
        self.provider.cli("key", "revoke", kid, "--reason", "a test")

    def ended_at(self, sid: str) -> float:
        """When the transaction began in which the session ended, in ms."""
        with self.provider.services.database.reading() as tx:
            session = self.provider.services.sessions.get(tx, sid)
            assert session is not None
            assert session.ended_at is not None
            return session.ended_at * 1000


@contextmanager
def chatting(folder: Path, **settings: str) -> Iterator[Chat]:
    provider = RunningProvider(folder, settings=settings)
    try:
        provider.start()
        provider.add_user()
        with ExitStack() as stack:
            yield Chat(provider, stack)
    finally:
        provider.close()


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    with chatting(tmp_path_factory.mktemp("provider")) as started:
        yield started


def test_the_socket_is_closed_when_an_operator_ends_the_session(chat: Chat) -> None:
    (browser, sid), (elsewhere, _), (third, _) = [chat.sign_in() for _ in range(3)]
    other = chat.open_socket(chat.token(elsewhere))
    page = chat.open_socket(chat.token(browser))
    for each in (page, other):
        each.wait_for("connected")

    chat.provider.cli("session", "end", sid)

    told, gone = page.wait_for("told"), page.wait_for("disconnected")
    assert (told["code"], told["reason"]) == (4401, "The session has ended")
    took = gone["at"] - chat.ended_at(sid)
    print(f"\nsocket.io: disconnected {took:.0f} ms after the session ended")
    assert took < 1000 * slowness()
    assert browser.get(f"{chat.base}/token").status_code == 401
    other.say(chat.token(third))  # of a session of its own: it extends nothing, and closes nothing
    assert other.wait_for("extended")["problem"] == "The token is of another session"
    assert other.wait_for("said")["text"] == "still here"


def test_a_token_of_an_ended_session_opens_no_socket(chat: Chat) -> None:
    browser, sid = chat.sign_in()
    token = chat.token(browser)
    chat.provider.cli("session", "end", sid)
    deadline = time.monotonic() + 5
    while browser.get(f"{chat.base}/token").status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert chat.open_socket(token).wait_for("refused")["reason"] == "The session has ended"


def test_signing_out_in_the_page_ends_the_session_at_the_provider(chat: Chat) -> None:
    browser, _ = chat.sign_in()
    page = chat.open_socket(chat.token(browser))
    page.wait_for("connected")
    assert browser.post(f"{chat.base}/sign-out", headers={"Origin": "https://evil.example"}).status_code == 200
    assert chat.token(browser)
    browser.post(f"{chat.base}/sign-out", headers={"Origin": chat.base})
    page.wait_for("told")
    page.wait_for("disconnected")


@pytest.mark.parametrize(
    "emitted",
    [["token", "x"], ["token"], ["token", {}, "no function"], ["say", {"toString": 1}], ["say"], ["error", "x"], ["nothing"]],
    ids=json.dumps,
)
def test_nothing_that_a_client_sends_ends_the_process(chat: Chat, emitted: list[object]) -> None:
    browser, _ = chat.sign_in()
    page = chat.open_socket(chat.token(browser))
    page.wait_for("connected")
    page.say(json.dumps(emitted))
    page.say(chat.token(browser))
    assert page.wait_for("extended")["problem"] is None
    assert page.wait_for("said")["text"] == "still here"


def test_a_revoked_key_closes_the_sockets_that_its_tokens_opened_and_the_sessions_go_on(chat: Chat) -> None:
    browser, _ = chat.sign_in()
    streams = chat.streams()
    for _ in range(3):  # the app cannot know every successor before it signs
        dead = chat.token(browser)
        page = chat.open_socket(dead)
        page.wait_for("connected")
        chat.revoke_the_key()
        assert page.wait_for("told")["reason"] == "The session has ended"
        page.wait_for("disconnected")
        assert chat.open_socket(dead).wait_for("refused")
        chat.open_socket(chat.token(browser)).wait_for("connected")
    assert chat.streams() == streams  # though the token that it is polled with was signed by a dead key too


def test_an_app_that_is_stopped_leaves_no_stream_behind(tmp_path: Path) -> None:
    with chatting(tmp_path) as chat:
        assert len(chat.streams()) == 1
        assert chat.server.stop() == 0
        assert chat.streams() == []


def test_a_refresh_extends_the_socket_and_without_one_it_is_closed(tmp_path: Path) -> None:
    """The one test here that waits: a Node program's clock cannot be moved."""
    with chatting(tmp_path, TOKENS_ACCESS_TOKEN_LIFETIME=str(LIFETIME)) as chat:
        (browser, _), (_, sid), streams = chat.sign_in(), chat.sign_in(), chat.streams()
        first = chat.token(browser)
        page = chat.open_socket(first)
        opened = page.wait_for("connected")["at"]
        while (newer := chat.token(browser)) == first:  # the app renews it at three quarters of its life
            time.sleep(0.1)
        page.say(newer)
        assert page.wait_for("extended")["problem"] is None
        assert page.wait_for("said")["text"] == "still here"
        told = page.wait_for("told")
        assert told["reason"] == "The token has expired"
        assert told["at"] - opened > LIFETIME * 1000
        # The access token that the stream was made with has expired as well: what ends now is acknowledged by another one.
        chat.provider.cli("session", "end", sid)
        chat.wait_until_acknowledged(sid)
        assert chat.streams() == streams


def test_no_lock_file_names_the_address_of_a_registry() -> None:
    lock = json.loads((EXAMPLE / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all("resolved" not in package and package["integrity"] for package in packages.values())
    wanted = json.loads((EXAMPLE / "package.json").read_text())
    assert lock["packages"][""]["dependencies"] == wanted["dependencies"]
