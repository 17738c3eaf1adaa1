"""Fifty relying parties, of which some hang: signing out costs what it costs without them, and the healthy ones hear at once.

A party hangs by taking a connection and never answering, or by having a name that never resolves. Figures are printed: the
sign-out answer's p99 beside that with nobody hanging, and the healthy parties' time from commit to receipt. `IDP_SIGNOUTS=200`
signs out so often; `make test` a few times.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs
from uuid import uuid4

import jwt
import pytest

from idp.delivery.rules import Delivery
from tests.load.hanging_names import DOMAIN
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PARTIES = 50
SIGNOUTS = int(os.environ.get("IDP_SIGNOUTS", "5"))
#: Seconds from one sign-out to the next: with fewer healthy parties to wait for, they would come the sooner, and load more.
PACE = 0.3
#: So often every hanging party is tried before somebody signs out once more.
ATTEMPTS = 3

Party: TypeAlias = Callable[[], AbstractContextManager[str]]


class Ear:
    """One server for all healthy parties: when each `sid` was heard of, by path."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, str], float] = {}
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at = time.time()
                token = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["logout_token"][0]
                sid = str(jwt.decode(token, options={"verify_signature": False})["sid"])
                ear.heard.setdefault((self.path, sid), at)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # fifty come at once, and a connection that is not taken is tried again after a second

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.uri = f"http://localhost:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def hole() -> Iterator[str]:
    """A party that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield f"http://localhost:{listening.getsockname()[1]}/out"


@contextmanager
def nowhere() -> Iterator[str]:
    """A party whose name server never answers."""
    yield f"https://{uuid4().hex}{DOMAIN}/out"


@pytest.fixture
def provider(postgres_url: str, tmp_path: Path) -> Iterator[RunningProvider]:
    running = RunningProvider(tmp_path, postgres_url, {"WORKERS": "2"}, program="tests.load.hanging_names")
    running.start().add_user()
    yield running
    running.close()


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came true"
        time.sleep(0.005)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@dataclass
class Round:
    """Sign-outs with the same parties: seconds until each was answered, and until each healthy party heard of it."""

    provider: RunningProvider
    main: RelyingParty
    others: list[RelyingParty]
    ear: Ear
    healthy: set[str]
    sids: list[str] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    hearings: list[float] = field(default_factory=list)

    def sign_out(self) -> None:
        """Sign a person out, and wait until each healthy party has heard of it."""
        person = Person(self.provider.issuer)
        tokens = self.main.sign_in(person)
        sid = str(self.main.verified(tokens["id_token"], audience=self.main.client_id, typ="JWT")["sid"])
        services = self.provider.services
        with services.database.writing() as tx:
            session = services.sessions.hold(tx, sid)
            assert session is not None
            for other in self.others:
                services.sessions.take_part(tx, session, services.clients.get(tx, other.client_id))
        began = time.monotonic()
        answer = person.http.get(f"{self.provider.issuer}/logout", params={"id_token_hint": tokens["id_token"]})
        self.answers.append(time.monotonic() - began)
        assert answer.status_code == 303
        eventually(lambda: all((path, sid) in self.ear.heard for path in self.healthy), "what a healthy party hears")
        committed = self.deliveries(sid)[0].created_at
        self.hearings += [self.ear.heard[path, sid] - committed for path in self.healthy]
        self.sids.append(sid)
        person.http.close()

    def deliveries(self, sid: str) -> list[Delivery]:
        with self.provider.services.database.reading() as tx:
            return self.provider.services.deliveries.of_session(tx, sid)

    def failures(self) -> dict[str, int]:
        """How often each of the parties failed that did."""
        ours = {party.client_id for party in (self.main, *self.others)}
        with self.provider.services.database.reading() as tx:
            found = self.provider.services.deliveries.parties(tx)
        return {party.client_id: party.failures for party in found if party.client_id in ours}

    def told_at_once(self) -> bool:
        """Whether each healthy party was told by one attempt, none of which failed, and no other was told anything."""
        done = [one for sid in self.sids for one in self.deliveries(sid)]
        healthy = [one for one in done if one.uri.startswith(self.ear.uri)]
        others = [one for one in done if not one.uri.startswith(self.ear.uri)]
        return all(one.delivered_at is not None and one.attempts == 1 for one in healthy) and not any(
            one.delivered_at for one in others
        )


@contextmanager
def parties(provider: RunningProvider, name: str, hanging: int, party: Party, ear: Ear) -> Iterator[Round]:
    """So many parties that hang, and the rest of PARTIES that do not."""
    healthy = {f"/{name}-{number}" for number in range(PARTIES - hanging)}
    with ExitStack() as stack:
        uris = [ear.uri + path for path in sorted(healthy)] + [stack.enter_context(party()) for _ in range(hanging)]
        main, *others = [RelyingParty.register(provider, backchannel_logout_uri=uri) for uri in uris]
        yield Round(provider, main, others, ear, healthy)


@pytest.mark.parametrize("party", [hole, nowhere])
def test_parties_that_hang_delay_nobody(provider: RunningProvider, party: Party) -> None:
    ear = Ear()
    quiet = 0.0
    for hanging in (0, PARTIES // 2, PARTIES - 1):
        with parties(provider, str(hanging), hanging, party, ear) as round_:
            for _ in range(SIGNOUTS):
                round_.sign_out()
                time.sleep(PACE)
            if hanging == PARTIES - 1:  # each of them is being tried again: what the first attempts took is still taken

                def fail_again(round_: Round = round_, hanging: int = hanging) -> bool:
                    return sum(n >= ATTEMPTS for n in round_.failures().values()) == hanging

                eventually(fail_again, "that they fail again", 150)
                round_.sign_out()
            eventually(round_.told_at_once, "that each was told by its first attempt")
            slowest = percentile(round_.answers, 0.99)
            quiet = quiet or slowest
            print(
                f"\n{hanging} of {PARTIES} hang: sign-out answered p50 {percentile(round_.answers, 0.5) * 1000:.0f} ms,"
                f" p99 {slowest * 1000:.0f} ms, ratio {slowest / quiet:.2f}; healthy parties hear after"
                f" p50 {percentile(round_.hearings, 0.5) * 1000:.0f} ms, p99 {percentile(round_.hearings, 0.99) * 1000:.0f} ms"
            )
            assert len(round_.failures()) <= hanging, "nothing is held against one that does not hang"
    ear.close()
