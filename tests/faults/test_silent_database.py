"""PostgreSQL goes silent: packets are lost and nothing is refused. Nobody waits for good, and it is used again when it is back."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from idp.delivery.rules import NewDelivery
from idp.logout.rules import BACKCHANNEL
from idp.runtime.database import Database, table_of
from idp.runtime.limits import Limits
from idp.runtime.outage import DatabaseUnavailableError, Effect
from idp.sessions.models import SessionRow
from tests.delivery.receivers import Receiver, eventually
from tests.support import http
from tests.support.pace import slowness
from tests.support.serving import RunningProvider
from tests.support.silence import Network

#: Nothing that has an end takes as long, on the busiest machine.
NEVER = 60
LONG = 600


@pytest.fixture
def network(postgres_url: str) -> Iterator[Network]:
    made = Network(postgres_url)
    yield made
    made.close()


def database_over(network: Network, **limits: int) -> Database:
    url = network.url.replace("postgresql://", "postgresql+psycopg://", 1)
    return Database(url, limits=Limits(**{"connect": 2, "statement": LONG, "lock": LONG} | limits))


@pytest.fixture
def database(network: Network) -> Iterator[Database]:
    """Only what the network does ends anything here: its own time-outs are long."""
    made = database_over(network)
    yield made
    made.dispose()


class Attempt(threading.Thread):
    """What is done beside the test, and what came of it."""

    def __init__(self, work) -> None:
        super().__init__(daemon=True)
        self.work, self.result, self.error = work, None, None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.work()
        except Exception as error:
            self.error = error

    def end(self):
        self.join(NEVER)
        assert not self.is_alive(), "it waits for good"
        return self


def unavailable(attempt: Attempt) -> Effect:
    error = attempt.end().error
    assert isinstance(error, DatabaseUnavailableError), error
    return error.outage.effect


# -- one connection ---------------------------------------------------------------------------------------------------


def test_connecting_to_a_silent_server_ends(network: Network, database: Database) -> None:
    network.lose()
    assert unavailable(Attempt(lambda: ask(database))) is Effect.AWAY


def ask(database: Database, question: str = "SELECT 1", *, patiently: bool = False) -> object:
    with database.writing() as tx:
        if patiently:
            tx.take_time()
        return tx.execute(text(question)).scalar()


@pytest.mark.parametrize("patiently", [False, True], ids=["in haste", "with time"])
@pytest.mark.parametrize("comes_back", [False, True], ids=["the server is lost", "the connection is lost"])
def test_a_statement_that_nobody_works_on_ends_under_way(
    network: Network, database: Database, *, patiently: bool, comes_back: bool
) -> None:
    """A firewall that forgot a connection tells neither side: the server is there, and knows nothing of the statement."""

    def work() -> None:
        with database.writing() as tx:
            if patiently:
                tx.take_time()
            tx.execute(text("SELECT 1"))
            network.lose()
            tx.execute(text("SELECT 2"))

    attempt = Attempt(work)
    if comes_back:
        assert network.holds.wait(NEVER)
        network.mend()
    assert unavailable(attempt) is Effect.AWAY
    network.mend()
    database.availability.worked(writing=True, proven=True)
    assert ask(database) == 1  # whatever the pool holds


def test_what_the_pool_holds_is_not_waited_for(network: Network, database: Database) -> None:
    assert ask(database) == 1
    network.lose()
    assert unavailable(Attempt(lambda: ask(database))) is Effect.AWAY


def test_a_question_asked_again_and_again_ends_and_is_asked_anew(network: Network, database: Database) -> None:
    with database.writing() as tx:
        tx.execute(text("CREATE TABLE things (sid TEXT)"))
    glance = database.glance(text("SELECT true").columns(table_of(SessionRow).c.sid))
    assert glance()
    network.lose()
    assert unavailable(Attempt(glance)) is Effect.AWAY
    network.mend()
    database.availability.worked(writing=True, proven=True)
    assert glance()


def test_what_the_server_works_on_is_waited_for(network: Network, database: Database) -> None:
    """It takes longer than a connection may, so that the server is asked about it."""
    assert Attempt(lambda: ask(database, "SELECT 3 FROM pg_sleep(7)")).end().result == 3


def test_a_statement_of_a_request_is_cut_and_what_maintains_is_not(network: Network) -> None:
    hurried = database_over(network, statement=1, lock=1)
    slow = "SELECT 3 FROM pg_sleep(3)"
    assert unavailable(Attempt(lambda: ask(hurried, slow))) is Effect.BUSY
    assert Attempt(lambda: ask(hurried, slow, patiently=True)).end().result == 3
    assert unavailable(Attempt(lambda: ask(hurried, slow))) is Effect.BUSY, "the connection stays in no haste"
    hurried.dispose()


def test_whoever_waits_for_a_lock_in_vain_is_undone_and_the_other_one_goes_on(network: Network) -> None:
    hurried = database_over(network, statement=LONG, lock=1)
    with hurried.writing() as tx:
        tx.execute(text("CREATE TABLE things (number INTEGER)"))
        tx.execute(text("INSERT INTO things VALUES (1)"))
    with hurried.writing() as tx:
        tx.execute(text("UPDATE things SET number = 2"))
        assert unavailable(Attempt(lambda: ask(hurried, "UPDATE things SET number = number + 10 RETURNING 1"))) is Effect.BUSY
    assert ask(hurried, "SELECT number FROM things") == 2
    hurried.dispose()


def test_what_one_found_out_is_spared_the_others_for_a_moment(network: Network, database: Database) -> None:
    network.lose()
    Attempt(lambda: ask(database)).end()
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError):
        ask(database)
    assert time.monotonic() - began < 0.5 * slowness()  # a connection may take two seconds


# -- a provider -------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(network: Network, tmp_path: Path) -> Iterator[RunningProvider]:
    limits = {"DATABASE_CONNECT_TIMEOUT": "2", "DATABASE_LOCK_TIMEOUT": "2", "DATABASE_STATEMENT_TIMEOUT": "3"}
    running = RunningProvider(tmp_path, network.url, limits)
    try:
        yield running.start()
    finally:
        running.kill()
        running.services.database.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_a_provider_answers_while_its_database_is_silent_and_goes_on_when_it_is_back(
    network: Network, served: RunningProvider, receiver: Receiver
) -> None:
    client = served.add_client({"grant_types": ["client_credentials"], "scope": "read"})
    auth = (str(client["client_id"]), str(client["client_secret"]))

    def token(seconds: float = NEVER) -> httpx.Response:
        return http.post(f"{served.origin}/token", data={"grant_type": "client_credentials"}, auth=auth, timeout=seconds)

    def get(path: str) -> httpx.Response:
        return http.get(f"{served.origin}{path}", timeout=10)

    assert token().status_code == 200
    network.lose()
    attempts = [Attempt(token) for _ in range(3)]
    assert network.holds.wait(NEVER)
    for _ in range(3):  # before anybody was told that it is away, and after
        assert get("/health/live").status_code == 200
        assert get("/jwks").status_code == 200
    eventually(lambda: get("/health/ready").status_code == 503, "a provider that is not ready")
    assert int(get("/health/ready").headers["Retry-After"]) > 0
    for attempt in attempts:
        answer = attempt.end().result
        assert answer is not None, attempt.error
        assert answer.status_code == 503
        assert answer.json()["error"] == "temporarily_unavailable"
        assert int(answer.headers["Retry-After"]) > 0
    network.mend()
    eventually(lambda: get("/health/ready").status_code == 200, "a provider that is ready again")
    assert token().status_code == 200
    payload = {"aud": "app", "sub": "alice", "sid": "s", "jti": "j"}
    with served.services.database.writing() as tx:  # its worker's connections were lost as well
        news = NewDelivery(BACKCHANNEL, str(client["client_id"]), None, "once", receiver.url(), payload, time.time() + 600)
        served.services.deliveries.enqueue(tx, [news])
    eventually(lambda: receiver.requests, "a delivery by the worker that was there all the time")
    told = [event["event"] for event in served.events() if str(event["event"]).startswith("database.")]
    assert told == ["database.away", "database.back"]
    assert {event["event"] for event in served.events()} & {"request.failed", "delivery.stalled", "signals.stalled"} == set()
