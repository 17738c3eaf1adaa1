"""Fifty relying parties, of which some hang: signing out costs what it costs without them, and the healthy ones hear at once.

Figures are printed: the sign-out answer's p99 beside that with nobody hanging, and the healthy parties' time from commit to
receipt. `IDP_SIGNOUTS=200` signs out so often; `make test` a few times.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest

from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PARTIES = 50
SIGNOUTS = int(os.environ.get("IDP_SIGNOUTS", "5"))
#: Seconds from one sign-out to the next: with fewer healthy parties to wait for, they would come the sooner, and load more.
PACE = 0.3


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


@pytest.fixture
def provider(postgres_url: str, tmp_path: Path) -> Iterator[RunningProvider]:
    running = RunningProvider(tmp_path, postgres_url, {"WORKERS": "2"})
    running.start().add_user()
    yield running
    running.close()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def sign_out_often(provider: RunningProvider, hanging: int, ear: Ear, stack: ExitStack) -> tuple[list[float], list[float]]:
    """Seconds that each sign-out took to be answered, and each healthy party to hear of it."""
    healthy = {f"/{hanging}-{number}" for number in range(PARTIES - hanging)}
    uris = [ear.uri + path for path in sorted(healthy)] + [stack.enter_context(hole()) for _ in range(hanging)]
    main = RelyingParty.register(provider, backchannel_logout_uri=uris[0])
    others = [RelyingParty.register(provider, backchannel_logout_uri=uri) for uri in uris[1:]]
    answers, hearings = [], []
    services = provider.services
    began = -PACE
    for _ in range(SIGNOUTS):
        person = Person(provider.issuer)
        tokens = main.sign_in(person)
        sid = str(main.verified(tokens["id_token"], audience=main.client_id, typ="JWT")["sid"])
        with services.database.writing() as tx:
            session = services.sessions.hold(tx, sid)
            assert session is not None
            for other in others:
                services.sessions.take_part(tx, session, services.clients.get(tx, other.client_id))
        time.sleep(max(0.0, began + PACE - time.monotonic()))
        began = time.monotonic()
        assert person.http.get(f"{provider.issuer}/logout", params={"id_token_hint": tokens["id_token"]}).status_code == 303
        answers.append(time.monotonic() - began)
        deadline = time.monotonic() + 30
        while any((path, sid) not in ear.heard for path in healthy):
            assert time.monotonic() < deadline, "a healthy party was not told"
            time.sleep(0.005)
        with services.database.reading() as tx:
            committed = services.deliveries.of_session(tx, sid)[0].created_at
        hearings += [ear.heard[path, sid] - committed for path in healthy]
        person.http.close()
    return answers, hearings


def test_parties_that_hang_delay_nobody(provider: RunningProvider) -> None:
    ear = Ear()
    quiet = 0.0
    with ExitStack() as stack:
        for hanging in (0, PARTIES // 2, PARTIES - 1):
            answers, hearings = sign_out_often(provider, hanging, ear, stack)
            slowest = percentile(answers, 0.99)
            quiet = quiet or slowest
            print(
                f"\n{hanging} of {PARTIES} hang: sign-out answered p50 {percentile(answers, 0.5) * 1000:.0f} ms,"
                f" p99 {slowest * 1000:.0f} ms, ratio {slowest / quiet:.2f}; healthy parties hear after"
                f" p50 {percentile(hearings, 0.5) * 1000:.0f} ms, p99 {percentile(hearings, 0.99) * 1000:.0f} ms"
            )
            assert len(hearings) == SIGNOUTS * (PARTIES - hanging)
    with provider.services.database.reading() as tx:
        assert provider.services.deliveries.queue(tx).depth > 0  # those of the hanging ones wait, and held nobody up
    ear.close()
