"""Draining the outbox: how fast `idp serve` tells everybody, when many sessions have ended at once."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs

import jwt
from sqlalchemy import update

from benchmarks import limits
from benchmarks.figures import CORES
from benchmarks.receivers import receiving
from benchmarks.servers import cpu_seconds
from benchmarks.verifying import BadTokenError
from idp.delivery.models import DeliveryRow
from idp.runtime.database import table_of
from idp.sessions.rules import SignIn
from tests.support import http
from tests.support.relying_party import BACKCHANNEL_EVENT
from tests.support.serving import RunningProvider

PARTIES = 20

ROUNDS = 3
_LIMIT_SECONDS = 1.0
_LATER = 3600.0
#: From the first worker that answers until every one of them is up, and has nothing left to import.
_SETTLING_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Drained:
    """`rate` is deliveries per second from the first receipt to the last; `signing` is that over the bare limit of signatures."""

    database: str
    workers: int
    deliveries: int
    seconds: float
    rate: float
    signing: float
    server_share: float
    receivers_share: float
    verified: int

    def shown(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def best(database: str, fresh: Callable[[], str], workers: int, deliveries: int) -> Drained:
    """The best of ROUNDS, each on an empty database and beside the limit of that minute: machines are not always as quick."""
    rounds = []
    for _ in range(ROUNDS):
        limit = limits.signatures_per_second(workers, _LIMIT_SECONDS)
        rounds.append(_measure(database, fresh(), workers, deliveries, limit))
    return max(rounds, key=lambda one: one.signing)


def _measure(database: str, url: str, workers: int, deliveries: int, limit: float) -> Drained:
    """End as many sessions as make `deliveries` with every party in each, then let `idp serve` tell them. Raises BadTokenError."""
    with TemporaryDirectory(prefix="idp-bench-") as folder, receiving(PARTIES, deliveries) as receivers:
        running = RunningProvider(Path(folder), url, {"WORKERS": str(workers), "CLIENTS_CACHE_SECONDS": "5"})
        try:
            running.start()  # makes keys and schema
            audiences = [str(running.add_client(_metadata(port))["client_id"]) for port in receivers.ports]
            running.stop()
            _end_sessions(running, audiences, deliveries // PARTIES)
            _set_due(running, time.time() + _LATER)  # what is measured is delivering, not starting
            running.start()
            _set_due(running, time.time() + _SETTLING_SECONDS)
            assert running.process is not None
            before = sum(cpu_seconds(running.process.pid))
            received = receivers.wait()
            spent = sum(cpu_seconds(running.process.pid)) - before
            keys = jwt.PyJWKSet.from_dict(http.get(f"{running.issuer}/jwks").json())
            for body in received.sample:
                _verify(body, keys, running.issuer, audiences)
        finally:
            running.close()
    rate = received.count / received.seconds
    return Drained(
        database,
        workers,
        received.count,
        received.seconds,
        rate,
        rate / limit,
        spent / received.seconds / CORES,
        received.cpu_seconds / received.seconds / CORES,
        len(received.sample),
    )


def _metadata(port: int) -> dict[str, object]:
    return {
        "client_name": f"Party {port}",
        "redirect_uris": ["http://localhost:9999/callback"],
        "backchannel_logout_uri": f"http://localhost:{port}/backchannel",
    }


def _end_sessions(running: RunningProvider, client_ids: list[str], count: int) -> None:
    services = running.services
    sign_in = SignIn(subject="somebody", amr="pwd", address="127.0.0.1", user_agent="bench")
    for _ in range(count):
        with services.database.writing() as tx:
            session = services.sessions.start(tx, sign_in).session
            for client_id in client_ids:
                client = services.clients.find(client_id)
                assert client is not None
                services.sessions.take_part(tx, session, client)
            services.logout.end_session(tx, session.sid, "sign_out")


def _set_due(running: RunningProvider, instant: float) -> None:
    with running.services.database.writing() as tx:
        tx.execute(update(table_of(DeliveryRow)).values(next_attempt_at=instant))


def _verify(body: bytes, keys: jwt.PyJWKSet, issuer: str, audiences: list[str]) -> None:
    token = parse_qs(body.decode())["logout_token"][0]
    try:
        claims = jwt.decode(
            token,
            keys[jwt.get_unverified_header(token)["kid"]].key,
            algorithms=["RS256"],
            audience=audiences,
            issuer=issuer,
            options={"require": ["iss", "aud", "exp", "iat", "jti", "sid", "events"]},
        )
    except (jwt.PyJWTError, KeyError) as error:
        message = f"a logout token does not verify ({type(error).__name__}: {error})"
        raise BadTokenError(message) from None
    if BACKCHANNEL_EVENT not in claims["events"]:
        message = "a logout token without its event"
        raise BadTokenError(message)
