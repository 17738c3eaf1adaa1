"""A database that takes no writes, or is away: 503 with `Retry-After` everywhere, one line in the log, and back by itself."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.attacks.raw import Answer
from tests.cli.running import REFUSED, run
from tests.delivery.receivers import eventually
from tests.fuzz.seeds import Request, good_requests, headers, pairs
from tests.support import disks, http
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider
from tests.support.silence import Network

OPEN = {"CLIENTS_REGISTRATION": "open", "CLIENTS_REGISTRATION_HOURLY": "100000", "SIGNALS_STATUS_LIST": "true"}
LIMITS = {"DATABASE_CONNECT_TIMEOUT": "2", "DATABASE_LOCK_TIMEOUT": "2", "DATABASE_STATEMENT_TIMEOUT": "3"}
JSON = (("Content-Type", b"application/json"),)
CLIENT = json.dumps({"redirect_uris": ["https://app.example.org/cb"]}).encode()
REGISTER = Request("POST", "/register", headers=JSON, body=CLIENT)


def is_ready(served: RunningProvider) -> bool:
    return http.get(f"{served.origin}/health/ready", timeout=10).status_code == 200


def told(served: RunningProvider) -> list[object]:
    return [event["event"] for event in served.events() if str(event["event"]).startswith("database.")]


def processes(served: RunningProvider) -> list[psutil.Process]:
    assert served.process is not None
    family = psutil.Process(served.process.pid)
    return [family, *family.children(recursive=True)]


def is_unavailable(answer: Answer) -> bool:
    return answer.status == 503 and int(str(answer.header("Retry-After"))) > 0


def sees_it_through(
    served: RunningProvider, break_it: Callable[[], object], mend_it: Callable[[], object], said: str | None
) -> None:
    """Whatever is wrong with writing: it is seen, said, refused and recovered from without a restart.

    `said`: what the doctor says; None where it is not so for the doctor's process.
    """
    app = RelyingParty.register(served)
    asked = parse_qsl(urlsplit(app.authorization_url()).query)
    sign_in = Request("GET", "/authorize", tuple((name.encode(), value.encode()) for name, value in asked))
    assert sign_in.send(served).status == 303
    assert REGISTER.send(served).status == 201
    assert is_ready(served)

    break_it()
    eventually(lambda: not is_ready(served), "a provider that is not ready")
    for _ in range(20):
        page, refusal = sign_in.send(served), REGISTER.send(served)
        assert is_unavailable(page)
        assert "error-page" in page.text
        assert is_unavailable(refusal)
        assert json.loads(refusal.body)["error"] == "temporarily_unavailable"
    assert http.get(f"{served.origin}/health/live", timeout=10).status_code == 200
    assert http.get(f"{served.origin}/jwks", timeout=10).json()["keys"]
    doctor = run(served, "doctor", "--json")
    assert said is None or doctor.code == REFUSED
    assert said is None or any(
        said in finding["finding"] for finding in json.loads(doctor.out) if finding["state"] == "wrong"
    ), doctor.out

    mend_it()
    eventually(lambda: is_ready(served), "a provider that is ready again")
    assert sign_in.send(served).status == 303
    assert REGISTER.send(served).status == 201
    assert told(served) == ["database.away", "database.back"]
    failures = {event["event"] for event in served.events() if event.get("level") in {"warning", "error"}}
    assert failures <= {"server.insecure", "database.away"}
    (back,) = [event for event in served.events() if event["event"] == "database.back"]
    assert int(str(back["refused"])) >= 40


@pytest.fixture
def started() -> Iterator[Callable[[RunningProvider], RunningProvider]]:
    running: list[RunningProvider] = []

    def start(provider: RunningProvider) -> RunningProvider:
        running.append(provider)
        return provider.start()

    yield start
    for each in running:
        each.kill()
        each.close()


def test_a_full_disk_is_seen_and_recovered_from(tmp_path: Path, started: Callable[[RunningProvider], RunningProvider]) -> None:
    with disks.small(tmp_path / "disk") as disk:
        url = f"sqlite:///{disk.folder / 'idp.sqlite3'}"
        served = started(RunningProvider(tmp_path, url, OPEN))
        try:
            said = None if isinstance(disk, disks.Bound) else "disk of the database is full"
            sees_it_through(served, lambda: disk.fill(processes(served)), disk.free, said)
        finally:
            served.kill()
            served.close()


def test_a_postgresql_that_turns_read_only_is_seen_and_recovered_from_whatever_the_pool_holds(
    postgres_url: str, tmp_path: Path, started: Callable[[RunningProvider], RunningProvider]
) -> None:
    """As after a switch to a standby: whoever is connected keeps what was so when the connection began."""
    admin = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg", database="postgres"))
    name = make_url(postgres_url).database
    served = started(RunningProvider(tmp_path, postgres_url, OPEN | LIMITS))

    def run_as_admin(*statements: str) -> None:
        with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    try:
        sees_it_through(
            served,
            lambda: run_as_admin(
                f"ALTER DATABASE {name} SET default_transaction_read_only = on",
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            ),
            lambda: run_as_admin(f"ALTER DATABASE {name} RESET default_transaction_read_only"),
            "takes no writes",
        )
    finally:
        admin.dispose()


def test_an_sqlite_file_that_another_program_holds_is_seen_and_recovered_from(
    tmp_path: Path, started: Callable[[RunningProvider], RunningProvider]
) -> None:
    served = started(RunningProvider(tmp_path, settings=OPEN | {"DATABASE_LOCK_TIMEOUT": "1"}))
    RelyingParty.register(served)
    holder = served.services.database.engine.raw_connection()
    try:
        holder.cursor().execute("BEGIN IMMEDIATE")
        eventually(lambda: is_unavailable(REGISTER.send(served)), "a refusal")
        eventually(lambda: not is_ready(served), "a provider that is not ready")
        holder.cursor().execute("ROLLBACK")
    finally:
        holder.close()
    eventually(lambda: is_ready(served), "a provider that is ready again")
    assert REGISTER.send(served).status == 201
    assert {"database.away", "database.back"} >= set(told(served)) - {"database.busy"}
    assert not [event for event in served.events() if event["event"] == "request.failed"]


#: What needs no database, and is answered as ever.
AS_EVER = ("/jwks", "/.well-known", "/metrics", "/static", "/health/live")


def test_while_the_database_is_away_every_endpoint_says_so_in_its_own_way(
    postgres_url: str, tmp_path: Path, started: Callable[[RunningProvider], RunningProvider]
) -> None:
    network = Network(postgres_url)
    served = started(RunningProvider(tmp_path, network.url, OPEN | LIMITS))
    served.add_user()
    seeds = good_requests(served)
    bearer = headers(bearer="x.y.z")
    seeds += [
        REGISTER,
        Request("GET", "/register/x", headers=bearer),
        Request("GET", "/status/0"),
        Request("GET", "/ssf/streams", headers=bearer),
        Request("POST", "/ssf/streams", headers=(*bearer, *JSON), body=b"{}"),
        Request("GET", "/ssf/status", pairs(stream_id="x"), headers=bearer),
        Request("POST", "/ssf/poll/x", headers=(*bearer, *JSON), body=b"{}"),
        Request("GET", "/account/apps", headers=next(each.headers for each in seeds if each.path == "/account")),
    ]
    try:
        network.lose()
        eventually(lambda: not is_ready(served), "a provider that is not ready")
        refused: dict[str, int] = {}
        for seed in seeds:
            from_elsewhere = (*seed.headers, ("Origin", b"https://app.example.org"))  # whose origins are looked up, too
            for request in (seed, Request(seed.method, seed.path, seed.query, seed.form, from_elsewhere, seed.body)):
                answer = request.send(served)
                if request.path.startswith(AS_EVER):
                    assert answer.status == 200, request
                    continue
                assert answer.status < 500 or is_unavailable(answer), (request, answer)
                refused[request.path] = refused.get(request.path, 0) + (answer.status == 503)
                if (
                    answer.status != 503
                ):  # it was refused, or led on, before the database was needed; never an answer from nowhere
                    assert answer.status >= 300, (request, answer)
                    assert not request.path.startswith(("/token", "/introspect", "/revoke", "/userinfo")), (request, answer)
                elif (answer.header("Content-Type") or "").startswith("text/html"):
                    assert "error-page" in answer.text
                    assert request.path.startswith(("/authorize", "/log", "/consent", "/account")) or request.path == "/"
                else:
                    body = json.loads(answer.body)
                    said = {body.get("error"), body.get("err"), body.get("status")}
                    assert said & {"temporarily_unavailable", "not ready"}, body
        for path in (
            "/authorize",
            "/token",
            "/userinfo",
            "/introspect",
            "/revoke",
            "/register",
            "/register/x",
            "/account",
            "/",
        ):
            assert refused[path], path
        for path in (
            "/login",
            "/login/select",
            "/consent",
            "/logout",
            "/status/0",
            "/ssf/streams",
            "/ssf/status",
            "/ssf/poll/x",
        ):
            assert refused[path], path
        assert told(served) == ["database.away"]
        assert not [event for event in served.events() if event["event"] in {"request.failed", "signals.poll_failed"}]
    finally:
        served.kill()
        network.close()
