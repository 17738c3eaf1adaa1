"""`kill -9` at the worst moment: what was committed is delivered, what was answered holds, and nothing is half done."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import jwt
import psutil
from sqlalchemy import text

from idp.delivery.rules import Delivery, DeliveryState
from idp.tokens import refresh
from tests.faults.parties import LateReceiver
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import Process, RunningProvider

CLIENTS = 6
ROUNDS = 4

Late = Callable[[], LateReceiver]


@dataclass
class SignedIn:
    """A person signed in at a relying party that will have to be told."""

    app: RelyingParty
    person: Person
    id_token: str
    sid: str

    @classmethod
    def at(cls, provider: RunningProvider, receiver: LateReceiver) -> "SignedIn":
        person = Person(provider.issuer)
        app = RelyingParty.register(provider, backchannel_logout_uri=receiver.uri)
        id_token = str(app.sign_in(person)["id_token"])
        return cls(app, person, id_token, str(app.verified(id_token, audience=app.client_id, typ="JWT")["sid"]))

    def sign_out(self) -> None:
        """The real way; when this returns, the ending is committed."""
        done = self.person.http.get(f"{self.app.provider.issuer}/logout", params={"id_token_hint": self.id_token})
        assert done.status_code in {200, 303}, done.text


def deliveries(provider: RunningProvider) -> list[Delivery]:
    """The outbox as it is in the database, whoever is alive."""
    services = provider.services
    with services.database.reading() as tx:
        return services.deliveries.listed(tx)


def is_alive(provider: RunningProvider, sid: str) -> bool:
    services = provider.services
    with services.database.reading() as tx:
        return services.sessions.alive(tx, sid) is not None


def wait_until_noted(provider: RunningProvider) -> None:
    """Until it stands in the database that the one delivery is being attempted: so does every attempt that takes long."""
    deadline = time.monotonic() + 10
    while [one.attempts for one in deliveries(provider)] != [1]:
        assert time.monotonic() < deadline, "an attempt that hangs is not noted"
        time.sleep(0.02)


@contextmanager
def worker(provider: RunningProvider) -> Iterator[Process]:
    """`idp worker`, a process of its own."""
    with provider.log_file.open("ab") as log:
        process = provider.run("worker", log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# -- endings ----------------------------------------------------------------------------------------------------------


def test_an_ending_that_was_committed_is_delivered_after_a_kill(deployment: RunningProvider, late: Late) -> None:
    receiver = late()
    one = SignedIn.at(deployment, receiver)
    one.sign_out()
    deployment.kill()

    (waiting,) = deliveries(deployment)
    assert waiting.delivered_at is None
    assert waiting.sid == one.sid
    receiver.open()
    deployment.start()

    claims = one.app.logout_claims(receiver.wait())
    assert claims["sid"] == one.sid
    assert claims["jti"] == waiting.payload["jti"]
    assert not is_alive(deployment, one.sid)


def test_a_delivery_that_was_in_flight_is_taken_over_after_a_kill(deployment: RunningProvider, late: Late) -> None:
    receiver = late()
    one = SignedIn.at(deployment, receiver)
    receiver.hang()
    one.sign_out()
    receiver.wait_until_asked()
    wait_until_noted(deployment)
    deployment.kill()

    (torn,) = deliveries(deployment)
    assert torn.delivered_at is None
    assert torn.attempts == 1
    receiver.open()
    deployment.start()

    assert one.app.logout_claims(receiver.wait())["sid"] == one.sid


def test_at_whatever_moment_it_is_killed_a_session_and_its_news_end_together(deployment: RunningProvider, late: Late) -> None:
    """The request to sign out and the kill race each other: the session has ended exactly if its party is told."""
    receiver = late()
    receiver.open()
    told: list[SignedIn] = []
    for attempt in range(ROUNDS):
        one = SignedIn.at(deployment, receiver)
        request = threading.Thread(target=_sign_out_or_be_cut_off, args=(one,))
        request.start()
        time.sleep(attempt * 0.006)  # no wait for something: the moment of the kill is what varies
        deployment.kill()
        request.join()
        news = [delivery for delivery in deliveries(deployment) if delivery.sid == one.sid]
        assert len(news) == (0 if is_alive(deployment, one.sid) else 1)
        if news:
            told.append(one)
        deployment.start()

    deadline = time.monotonic() + 30
    while any(delivery.delivered_at is None for delivery in deliveries(deployment)) and time.monotonic() < deadline:
        time.sleep(0.05)
    heard = {str(jwt.decode(token, options={"verify_signature": False})["sid"]) for token in receiver.tokens}
    assert heard == {one.sid for one in told}


def _sign_out_or_be_cut_off(one: SignedIn) -> None:
    try:
        one.sign_out()
    except httpx.TransportError:
        pass


# -- the worker alone -------------------------------------------------------------------------------------------------


def test_a_killed_worker_loses_nothing_and_the_next_one_goes_on(deployment: RunningProvider, late: Late) -> None:
    receiver = late()
    one = SignedIn.at(deployment, receiver)
    deployment.stop()
    receiver.hang()
    with worker(deployment) as first:
        deployment.cli("session", "end", one.sid)
        receiver.wait_until_asked()
        wait_until_noted(deployment)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    (torn,) = deliveries(deployment)
    assert torn.state(deployment.services.database.clock()) is DeliveryState.IN_FLIGHT

    receiver.open()
    with worker(deployment):
        token = receiver.wait()
    deployment.start()
    assert one.app.logout_claims(token)["sid"] == one.sid


def test_the_server_takes_over_from_a_killed_worker(deployment: RunningProvider, late: Late) -> None:
    """Both deliver; whichever holds the lease when the worker dies, the token arrives and requests are answered."""
    receiver = late()
    one = SignedIn.at(deployment, receiver)
    with worker(deployment) as beside:
        receiver.hang()
        one.sign_out()
        receiver.wait_until_asked()
        os.kill(beside.pid, signal.SIGKILL)
        beside.wait()
    assert http.get(f"{deployment.issuer}/health/ready").status_code == 200
    receiver.open()
    assert one.app.logout_claims(receiver.wait())["sid"] == one.sid


# -- refresh chains ---------------------------------------------------------------------------------------------------


@dataclass
class Chain:
    """A client that refreshes without pause. `token` is what it holds; `rotations` are those that it got an answer to."""

    app: RelyingParty
    token: str
    rotations: int = 0
    refused: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    def go_on(self) -> None:
        """Refresh until the server is gone."""
        with http.client(base_url=self.app.provider.issuer, auth=self.app.auth, timeout=10) as keeping:
            while not self.stopping.is_set():
                try:
                    answer = keeping.post("/token", data={"grant_type": "refresh_token", "refresh_token": self.token})
                except httpx.TransportError:
                    return
                if answer.status_code != 200:
                    self.refused = answer.text
                    return
                self.token = answer.json()["refresh_token"]
                self.rotations += 1


def test_every_chain_of_refreshes_goes_on_after_a_kill(deployment: RunningProvider) -> None:
    app = RelyingParty.register(deployment)
    chains = [Chain(app, app.sign_in(Person(deployment.issuer))["refresh_token"]) for _ in range(CLIENTS)]
    for _ in range(2):
        _run_and_kill(deployment, chains)
        generations = _generations(deployment)
        deployment.start()
        for chain in chains:
            _goes_on(chain, generations)
    assert min(chain.rotations for chain in chains) > 4


def _run_and_kill(deployment: RunningProvider, chains: list[Chain]) -> None:
    threads = [threading.Thread(target=chain.go_on) for chain in chains]
    goals = [chain.rotations + 5 for chain in chains]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while any(chain.rotations < goal for chain, goal in zip(chains, goals, strict=True)) and time.monotonic() < deadline:
        time.sleep(0.005)
    deployment.kill()
    for chain in chains:
        chain.stopping.set()
    for thread in threads:
        thread.join()
    for chain in chains:
        chain.stopping.clear()
    assert [chain.refused for chain in chains] == [""] * len(chains)


def _generations(deployment: RunningProvider) -> dict[str, int]:
    """The generation of each family as the dead server left it: a family has one live token, that of its generation."""
    with deployment.services.database.reading() as tx:
        rows = tx.execute(text("SELECT family_id, generation FROM token_families WHERE ended_at IS NULL")).all()
    return {row.family_id: row.generation for row in rows}


def _goes_on(chain: Chain, generations: dict[str, int]) -> None:
    """The client asks again with the token that it holds: its answer may have been lost, or never been."""
    held = refresh.read(chain.token, chain.app.provider.services.secrets)
    assert held is not None
    assert generations[held.family_id] in {chain.rotations, chain.rotations + 1}
    assert held.generation == chain.rotations

    first, again = chain.app.refresh(chain.token), chain.app.refresh(chain.token)
    assert (first.status_code, again.status_code) == (200, 200), (first.text, again.text)
    assert first.json()["refresh_token"] == again.json()["refresh_token"]
    assert chain.app.introspect(chain.token) == {"active": False}
    assert chain.app.introspect(first.json()["refresh_token"])["active"] is True
    chain.token, chain.rotations = first.json()["refresh_token"], chain.rotations + 1


# -- one process of the server ----------------------------------------------------------------------------------------


def test_a_killed_worker_process_of_the_server_is_replaced_and_its_deliveries_are_taken_over(
    deployment: RunningProvider, late: Late
) -> None:
    receiver = late()
    one = SignedIn.at(deployment, receiver)
    receiver.hang()
    one.sign_out()
    receiver.wait_until_asked()
    assert deployment.process is not None
    server = psutil.Process(deployment.process.pid)
    before = _workers(server)
    for process in before:  # one of them holds the lease: whichever, the others must go on
        process.kill()
        process.wait(10)
        _until(lambda: len(_workers(server)) == len(before))
    assert deployment.process.poll() is None

    receiver.open()
    assert one.app.logout_claims(receiver.wait())["sid"] == one.sid
    assert one.app.userinfo("gone").status_code == 401


def _workers(server: psutil.Process) -> list[psutil.Process]:
    """The processes that answer requests: those that hold a thread of ours, not Python's own helpers."""
    return [child for child in server.children() if "resource_tracker" not in " ".join(child.cmdline())]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
