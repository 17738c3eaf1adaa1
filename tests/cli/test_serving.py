"""`idp serve` and `idp worker` as processes: what they answer together, and that they end when they are asked to."""

import gc
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from idp import serving
from idp.delivery.rules import NewDelivery
from idp.logout.rules import BACKCHANNEL
from tests.delivery.receivers import Receiver, Reply, eventually
from tests.support import http
from tests.support.serving import RunningProvider


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningProvider]:
    running = RunningProvider(tmp_path, settings={"WORKERS": "2"})
    try:
        yield running.start()
    finally:
        running.kill()
        running.services.database.dispose()


def test_the_figures_of_all_worker_processes_are_added_up(served: RunningProvider) -> None:
    client = served.add_client({"grant_types": ["client_credentials"], "scope": "read"})
    auth = (str(client["client_id"]), str(client["client_secret"]))
    for _ in range(20):  # a connection each, so that both processes answer
        answer = http.post(f"{served.issuer}/token", data={"grant_type": "client_credentials"}, auth=auth)
        assert answer.status_code == 200
    for _ in range(5):  # whichever process answers
        figures = http.get(f"{served.issuer}/metrics").text
        counted = re.search(r'^idp_events_total\{event="token.issued"\} (\S+)$', figures, re.MULTILINE)
        assert counted is not None, figures
        assert float(counted[1]) == 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_when_it_is_asked_to_and_leaves_no_process(served: RunningProvider, number: int) -> None:
    assert served.process is not None
    family = psutil.Process(served.process.pid).children(recursive=True)
    assert len(family) >= 2
    served.process.send_signal(number)
    assert served.process.wait(15) == 0
    assert psutil.wait_procs(family, 5)[1] == []
    assert "Traceback" not in served.log_file.read_text()


def slowly(_number: int) -> Reply:
    """So that a lane is held for long by what waits in it, and no attempt takes long."""
    time.sleep(0.1)
    return Reply()


def lanes(served: RunningProvider) -> list[str]:
    """Those that some process holds."""
    with served.services.database.reading() as tx:
        return list(tx.execute(text("SELECT lane FROM delivery_lanes")).scalars())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.reply = slowly
    yield made
    made.close()


#: Whoever is in the middle of a request keeps granian serving until it is killed.
HALF = b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", HALF], ids=["nobody else is there", "somebody sends slowly"])
def test_a_server_that_ends_leaves_no_lane_to_itself(served: RunningProvider, receiver: Receiver, sent: bytes) -> None:
    client_id = str(served.add_client({"redirect_uris": ["https://app.example.org/callback"]})["client_id"])
    payload = {"aud": client_id, "sub": "alice", "sid": "s", "jti": "j"}
    many = [
        NewDelivery(BACKCHANNEL, client_id, None, f"{number}", receiver.url(), payload, time.time() + 600)
        for number in range(300)
    ]
    with ExitStack() as held:
        for _ in range(10 if sent else 0):  # for both processes, most probably
            held.enter_context(socket.create_connection(("127.0.0.1", served.port))).sendall(sent)
        with served.services.database.writing() as tx:
            served.services.deliveries.enqueue(tx, many)
        eventually(lambda: lanes(served) and receiver.requests, "a lane that is held")
        assert served.process is not None
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(15)
        assert lanes(served) == []
        assert len(receiver.requests) < len(many)
    assert "Traceback" not in served.log_file.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_alone_ends_when_it_is_asked_to(tmp_path: Path, number: int) -> None:
    deployment = RunningProvider(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "idp", "worker"], env=deployment.environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            log = ""
            while "worker.started" not in log:
                line = process.stderr.readline()
                assert line, log
                log += line
            process.send_signal(number)
            assert process.wait(15) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_what_is_there_from_the_start_is_not_looked_through_for_garbage() -> None:
    before = gc.get_threshold()
    try:
        serving._leave_in_peace()
        assert gc.get_freeze_count() > 0.9 * (gc.get_freeze_count() + len(gc.get_objects()))
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


FORKS = """
import os, signal, time
from idp import serving

for number in serving._TOLD:
    signal.signal(number, lambda *_: None)
serving._watch_forks()
for number in sorted(serving._TOLD):
    for _ in range(20):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        os.kill(child, number)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
print("each of them ended")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")
def test_a_process_that_is_told_to_end_the_moment_it_is_forked_does() -> None:
    """It has its parent's handlers, which only take note."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "each of them ended", done.stderr
