"""A log that cannot be written: what runs in the background goes on, and so do requests."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from idp.delivery.rules import NewDelivery
from idp.logout.rules import BACKCHANNEL
from tests.delivery.receivers import Receiver, receiving
from tests.support import http
from tests.support.serving import RunningProvider


@pytest.fixture
def receiver() -> Iterator[Callable[[], Receiver]]:
    with receiving() as make:
        yield make


@contextmanager
def running(provider: RunningProvider, command: str, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """`idp COMMAND`, whose standard error is a full disk, a pipe that nobody reads any more, or closed."""
    arguments = [sys.executable, "-m", "idp", command]
    if how == "closed":
        arguments = ["sh", "-c", 'exec "$@" 2>&-', "sh", *arguments]
    stderr = {
        "full": lambda: open("/dev/full", "wb"),
        "closed": lambda: subprocess.DEVNULL,
        "reader gone": lambda: subprocess.PIPE,
    }[how]()
    process = subprocess.Popen(arguments, env=provider.environment(), stdout=subprocess.DEVNULL, stderr=stderr)
    if how == "reader gone":
        process.stderr.close()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            if how == "full":
                stderr.close()


def send(provider: RunningProvider, party: Receiver, once: str) -> None:
    services = provider.services
    with services.database.writing() as tx:
        payload = {"aud": "app", "sid": once, "jti": once}
        new = NewDelivery(BACKCHANNEL, "app", once, once, party.url(), payload, services.database.clock() + 3600)
        services.deliveries.enqueue(tx, [new])


@pytest.mark.parametrize("how", ["full", "reader gone", "closed"])
def test_a_worker_goes_on_delivering(tmp_path: Path, receiver: Callable[[], Receiver], how: str) -> None:
    """Each delivery logs a line after its commit: with the first, the thread was gone for good."""
    provider = RunningProvider(tmp_path)
    provider.cli("migrate")
    party = receiver()
    try:
        with running(provider, "worker", how) as process:
            for number in range(3):
                send(provider, party, f"s{number}")
                while len(party.requests) <= number:  # a start takes as long as the machine is busy
                    assert process.poll() is None
                    time.sleep(0.05)
    finally:
        provider.close()


def test_a_server_goes_on_serving_and_delivering(tmp_path: Path, receiver: Callable[[], Receiver]) -> None:
    provider = RunningProvider(tmp_path)
    provider.cli("migrate")
    client = provider.add_client(
        {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": [], "scope": "api"}
    )
    party = receiver()

    def is_ready() -> bool:
        try:
            return http.get(f"{provider.origin}/health/ready", timeout=2).status_code == 200
        except OSError:
            return False
        except http.httpx.TransportError:
            return False

    def token() -> int:
        auth = (str(client["client_id"]), str(client["client_secret"]))
        data = {"grant_type": "client_credentials"}
        return http.post(f"{provider.origin}/token", data=data, auth=auth).status_code

    try:
        with running(provider, "serve", "full") as process:
            while not is_ready():  # a start takes as long as the machine is busy
                assert process.poll() is None
                time.sleep(0.1)
            for number in range(3):
                assert token() == 200
                send(provider, party, f"s{number}")
                while len(party.requests) <= number:
                    assert process.poll() is None
                    time.sleep(0.05)
            assert is_ready()
    finally:
        provider.close()
