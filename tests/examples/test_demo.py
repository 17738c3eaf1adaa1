"""`idp demo` as a newcomer runs it: the provider, both apps, one sign-in, one sign-out, and nothing left behind."""

import json
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from idp import resources
from idp.demo import DemoOptions, run, screen
from tests.support.browsing import Page
from tests.support.serving import free_port

Event = dict[str, Any]
COMMAND = [sys.executable, "-c", "from idp.demo import command; command()"]
SECONDS = 60


def ports() -> list[str]:
    """DemoOptions that choose ports which nobody listens on."""
    return [f"--{name}={free_port()}" for name in ("port", "notes-port", "arena-port")]


class Demo:
    """A running demo, heard through its JSON lines."""

    def __init__(self, *arguments: str, temporary: Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--json", *ports(), *arguments],
            env={**os.environ, "TMPDIR": str(temporary), "IDP_DATABASE_URL": "postgresql://nobody@nowhere/not-the-demos"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=temporary,
        )
        self.told: list[Event] = []
        self._lines: queue.SimpleQueue[Event] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.ready = self.wait_for("demo", "ready")
        self.addresses: dict[str, str] = self.ready["addresses"]

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(json.loads(line))

    def hear(self, name: str, event: str, **fields: object) -> Event:
        """A line of this kind, whether it came already or not: what two processes say comes in any order."""
        wanted = {"from": name, "event": event, **fields}
        found = [line for line in self.told if wanted.items() <= line.items()]
        return found[0] if found else self.wait_for(name, event, **fields)

    def wait_for(self, name: str, event: str, **fields: object) -> Event:
        """The next line of this kind; those before it are in `told`."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                assert time.monotonic() < deadline, f"{name} never said {event}: {self.told}"
                assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
                continue
            self.told.append(line)
            if line["from"] == name and line["event"] == event and fields.items() <= line.items():
                return line

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Its exit status and what it wrote to standard error."""
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, error


@contextmanager
def demo(*arguments: str, temporary: Path) -> Iterator[Demo]:
    running = Demo(*arguments, temporary=temporary)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
        for stream in (running.process.stdout, running.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(temporary=tmp_path_factory.mktemp("demo")) as started:
        yield started


@pytest.fixture
def browser() -> Iterator[httpx2.Client]:
    with httpx2.Client(follow_redirects=True, timeout=20, trust_env=False) as client:
        yield client


def submit(browser: httpx2.Client, response: httpx2.Response, button: str, **values: str) -> httpx2.Response:
    form = next(form for form in Page.of(response).forms if button in form.buttons)
    return browser.post(response.url.join(form.action), data=form.fields | values)


def sign_in(browser: httpx2.Client, running: Demo, app: str) -> httpx2.Response:
    """Sign in to an app; the password is asked for only where the provider does not know this browser yet."""
    page = browser.get(f"{running.addresses[app]}/login")
    if Page.of(page).main == "login-page":
        page = submit(browser, page, "login-submit", username=running.ready["username"], password=running.ready["password"])
    assert "".join(page.text.split('id="signed-in-as">')[1:]).startswith("Alice<"), page.text
    return page


def is_signed_in(browser: httpx2.Client, running: Demo, app: str) -> bool:
    return bool(browser.get(f"{running.addresses[app]}/me").json()["signed_in"])


@pytest.mark.parametrize(("pressed", "other"), [("notes", "arena"), ("arena", "notes")])
def test_one_sign_out_ends_both_apps_and_the_socket_within_a_second(
    running: Demo, browser: httpx2.Client, pressed: str, other: str
) -> None:
    pages = {app: sign_in(browser, running, app) for app in ("notes", "arena")}
    sid = running.wait_for("arena", "signed_in")["sid"]
    base = running.addresses["arena"]
    cookie = f"arena_session={browser.cookies['arena_session']}"
    with connect(
        base.replace("http", "ws") + "/arena", origin=base, additional_headers={"Cookie": cookie}, proxy=None
    ) as playing:
        running.wait_for("arena", "socket_opened", sid=sid)
        page = submit(browser, pages[pressed], "sign-out-everywhere")
        with pytest.raises(ConnectionClosed) as closed:
            _read_on(playing.recv)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    assert "You are signed out everywhere." in page.text
    socket_closed = running.wait_for("arena", "socket_closed", sid=sid)
    assert socket_closed["ms"] < 1000
    told = next((line for line in running.told if line["event"] == "delivery.delivered" and line["sid"] == sid), None)
    assert (told or running.wait_for("provider", "delivery.delivered", sid=sid))["ms"] < 1000
    _until(lambda: not is_signed_in(browser, running, other))
    assert not is_signed_in(browser, running, pressed)
    ended = [line for line in running.told if line["event"] == "session.ended" and line["sid"] == sid]
    assert len(ended) == 1


def test_the_arena_hears_of_the_end_by_the_feed_or_by_the_logout_token(running: Demo, browser: httpx2.Client) -> None:
    assert any(line["event"] == "feed_followed" for line in running.told) or running.wait_for("arena", "feed_followed")
    sign_in(browser, running, "arena")
    sid = running.wait_for("arena", "signed_in")["sid"]
    submit(browser, sign_in(browser, running, "notes"), "sign-out-everywhere")
    assert running.wait_for("arena", "session_ended", sid=sid)["through"] in {"feed", "logout token"}


def test_another_browsers_session_stays(running: Demo, browser: httpx2.Client) -> None:
    with httpx2.Client(follow_redirects=True, timeout=20, trust_env=False) as elsewhere:
        sign_in(elsewhere, running, "notes")
        submit(browser, sign_in(browser, running, "notes"), "sign-out-everywhere")
        ended = running.wait_for("notes", "session_ended", by="sign-out")
        running.hear("provider", "delivery.delivered", sid=ended["sid"])
        assert is_signed_in(elsewhere, running, "notes")


def _read_on(receive: Callable[..., object]) -> None:
    while True:
        receive(timeout=5)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    with demo(temporary=tmp_path) as running:
        family = psutil.Process(running.process.pid).children(recursive=True)
        assert len(family) >= 3
        assert list(tmp_path.iterdir()) != []
        assert running.stop(number) == (0, "")
        assert psutil.wait_procs(family, SECONDS)[1] == []  # init reaps what multiprocessing leaves it
        assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_is_named_and_the_others_end(tmp_path: Path) -> None:
    with demo(temporary=tmp_path) as running:
        family = psutil.Process(running.process.pid).children(recursive=True)
        next(process for process in family if "examples.arena" in process.cmdline()).kill()
        _, error = running.process.communicate(timeout=SECONDS)
        assert running.process.returncode == 1
        assert "The process 'arena' was ended by signal 9" in json.loads(error)["error"]
        assert psutil.wait_procs(family, SECONDS)[1] == []  # init reaps what multiprocessing leaves it
        assert list(tmp_path.iterdir()) == []


def test_state_in_a_folder_is_kept_and_found_again(tmp_path: Path) -> None:
    kept, temporary = tmp_path / "kept", tmp_path / "temporary"
    temporary.mkdir()
    same = [f"--data-dir={kept}", *ports()]
    clients = []
    for _ in range(2):
        with demo(*same, temporary=temporary) as running:
            clients.append(running.ready["clients"])
            assert running.stop() == (0, "")
    assert clients[0] == clients[1]
    assert stat.S_IMODE((kept / "demo.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert list(temporary.iterdir()) == []


def test_apps_at_other_ports_are_registered_anew_beside_the_same_person(tmp_path: Path, browser: httpx2.Client) -> None:
    clients = []
    for _ in range(2):
        with demo(f"--data-dir={tmp_path / 'kept'}", temporary=tmp_path) as running:
            clients.append(set(running.ready["clients"]))
            sign_in(browser, running, "notes")
    assert clients[0].isdisjoint(clients[1])


def test_a_folder_with_somebody_elses_state_is_refused(tmp_path: Path) -> None:
    with demo(f"--data-dir={tmp_path}", temporary=tmp_path) as running:
        running.stop()
    (tmp_path / "demo.json").unlink()
    again = subprocess.run(
        [*COMMAND, *ports(), f"--data-dir={tmp_path}"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert again.returncode == 1
    assert "holds the state of something else: name another folder with --data-dir" in again.stderr


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("option", ["port", "notes_port", "arena_port"])
def test_a_taken_port_is_said_in_one_sentence_with_the_mend(
    capsys: pytest.CaptureFixture[str], option: str, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        taken = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 here")
    with taken:
        port = taken.getsockname()[1]
        chosen = {"port": free_port(), "notes_port": free_port(), "arena_port": free_port(), option: port}
        assert run(DemoOptions(**chosen)) == 1
    flag = "--" + option.replace("_", "-")
    sentence = f"idp demo: Port {port} is taken: stop what listens there, or choose another with {flag}.\n"
    assert capsys.readouterr().err == sentence


def test_an_installation_without_the_apps_says_where_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Path:
        raise FileNotFoundError(name)

    monkeypatch.setattr(resources, "folder", absent)
    assert run(DemoOptions(free_port(), free_port(), free_port())) == 1
    assert "clone the repository and run `make demo` there" in capsys.readouterr().err


def test_an_event_without_its_fields_still_makes_a_line() -> None:
    assert screen.sentence({"event": "delivery.delivered"}, {}) == "logout token delivered to a client in ? ms"
    assert screen.sentence({"event": "socket_closed", "ms": None}, {}) == "socket closed"
    assert screen.sentence({"event": "key.created"}, {}) is None


def test_a_name_cannot_write_to_the_terminal() -> None:
    said = screen.sentence({"event": "signed_in", "name": "\x1b[2J\u202eAlice {ms}"}, {})
    assert said == "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}Alice {ms} signed in"
