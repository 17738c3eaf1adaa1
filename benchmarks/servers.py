"""The servers under load: a real `idp serve` with its own database, and the empty view. Each ends with its `with` block."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.cases import Case, ClientCredentials, Credentials, EmptyView, Introspect, Jwks, Refresh
from benchmarks.lane import request
from tests.support import http, postgres
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider, free_port

_START_SECONDS = 30
_ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def provider(workers: int, database_url: str) -> Iterator[RunningProvider]:
    """`idp serve` on a fresh database, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="idp-bench-") as folder:
        running = RunningProvider(Path(folder), database_url, {"WORKERS": str(workers), "CLIENTS_CACHE_SECONDS": "5"})
        try:
            yield running.start()
        finally:
            running.stop()
            running.services.database.dispose()


@contextmanager
def databases(name: str) -> Iterator[Callable[[], str]]:
    """What makes the URL of an empty database; '' for the embedded one, which the provider makes itself."""
    if name == "sqlite":
        yield str
        return
    with postgres.serving(durable=True) as make:
        yield make


@contextmanager
def empty_view(workers: int) -> Iterator[tuple[int, int]]:
    """The empty Flask view: its process and its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.limits", str(port), str(workers)]
    process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/")
        yield process.pid, port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get(url, timeout=1).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    message = f"{url} was not ready within {_START_SECONDS} s"
    raise RuntimeError(message)


def cases(running: RunningProvider, connections: int) -> list[list[Case]]:
    """What the provider is asked: each kind once, with a lane for each connection. The refresh chains begin with real sign-ins."""
    running.add_user()
    grants = ["authorization_code", "refresh_token", "client_credentials"]
    app = RelyingParty.register(running, grant_types=grants, scope="openid profile email bench")
    client = Credentials(running.port, app.client_id, str(app.registration["client_secret"]))
    signed_in = [app.sign_in(Person(running.issuer)) for _ in range(connections)]
    return [
        [ClientCredentials(client.post("/token", grant_type="client_credentials", scope="bench")) for _ in signed_in],
        [Refresh(client, str(tokens["refresh_token"])) for tokens in signed_in],
        [Jwks(request("GET", "/jwks", running.port)) for _ in signed_in],
        [Introspect(client.post("/introspect", token=str(tokens["access_token"]))) for tokens in signed_in],
    ]


def empty_lanes(port: int, connections: int) -> list[Case]:
    """A lane on the empty view for each connection."""
    return [EmptyView(request("GET", "/", port)) for _ in range(connections)]


def cpu_seconds(pid: int) -> list[float]:
    """The processor seconds that a server's processes have used, the parent's first."""
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return [spent.user + spent.system for spent in times]
