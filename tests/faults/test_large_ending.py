"""`kill -9` in the midst of a very large ending: what was decided is over, and whoever comes next carries it out."""

import json
import os
import signal
import subprocess
import sys

from sqlalchemy import func, insert, select

from idp.clients.rules import Client
from idp.delivery.models import DeliveryRow
from idp.runtime.database import table_of
from idp.sessions.models import SessionClientRow, SessionRow
from tests.delivery.receivers import eventually
from tests.faults.test_kill import worker
from tests.support.serving import RunningProvider

MANY = 1_200


def sign_in_often(deployment: RunningProvider) -> tuple[str, Client]:
    """Alice has very many sessions, in each of which one app takes part that cannot be reached; her subject, and the app."""
    services = deployment.services
    with services.database.writing() as tx:
        account = services.accounts.find(tx, "alice")
        assert account is not None
        metadata = {"redirect_uris": ["https://a.example/cb"], "backchannel_logout_uri": "http://127.0.0.1:9/logout"}
        client = services.clients.add(tx, metadata).client
        now = tx.now
        rows = [
            {
                "sid": f"session-{number}",
                "cookie_hash": f"cookie-{number}",
                "subject": account.subject,
                "started_at": now,
                "auth_time": now,
                "last_used_at": now,
                "expires_at": now + 3600,
                "amr": "pwd",
                "address": "192.0.2.1",
                "user_agent": "a browser",
            }
            for number in range(MANY)
        ]
        tx.execute(insert(table_of(SessionRow)), rows)
        parts = [{"sid": row["sid"], "client_id": client.client_id, "first_used_at": now} for row in rows]
        tx.execute(insert(table_of(SessionClientRow)), parts)
    return account.subject, client


def owed(deployment: RunningProvider) -> tuple[int, int]:
    """How many deliveries are written down, and of how many sessions."""
    table = table_of(DeliveryRow)
    with deployment.services.database.reading() as tx:
        row = tx.execute(select(func.count(), func.count(table.c.sid.distinct()))).one()
    return int(row[0]), int(row[1])


def left(deployment: RunningProvider) -> int:
    with deployment.services.database.reading() as tx:
        return deployment.services.logout.left(tx)


def test_a_command_that_is_killed_half_way_leaves_nothing_undone(deployment: RunningProvider) -> None:
    subject, _ = sign_in_often(deployment)
    deployment.stop()  # so that the command alone is at it
    command = [sys.executable, "-m", "idp", "user", "sign-out", "alice", "--json"]
    process = subprocess.Popen(
        command,
        env=deployment.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith('{"left"') and json.loads(line)["left"] < MANY - 150:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert 0 < left(deployment) < MANY
    assert 0 < owed(deployment)[0] < MANY
    with deployment.services.database.reading() as tx:
        assert deployment.services.sessions.count(tx, subject) == 0, "all of it is over"
    with worker(deployment):
        eventually(lambda: left(deployment) == 0, "everything is carried out")
    assert owed(deployment) == (MANY, MANY)


def test_progress_is_told_beside_the_answer(deployment: RunningProvider) -> None:
    sign_in_often(deployment)
    command = [sys.executable, "-m", "idp", "user", "disable", "alice", "--json"]
    done = subprocess.run(
        command, env=deployment.environment(), capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert json.loads(done.stdout)["sessions_ended"] == MANY
    told = [json.loads(line)["left"] for line in done.stderr.splitlines() if line.startswith('{"left"')]
    assert told == sorted(told, reverse=True)
    assert told[-1] == 0
    assert owed(deployment) == (MANY, MANY)
