"""docs/threats.md 39, 42, 49: a request that waits, for somebody else's server or for a password, holds up nobody else."""

import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import text

from idp.accounts import passwords
from idp.clients import assertions
from tests.attacks import held_passwords
from tests.attacks.conftest import PASSWORD, SETTINGS
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

#: In seconds: so long a request may wait that nobody lets go.
LONG = 60


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningProvider]:
    """One process, in which passwords are held until there is a file `go`."""
    patient = {"DATABASE_LOCK_TIMEOUT": str(2 * LONG), "DATABASE_STATEMENT_TIMEOUT": str(2 * LONG)}
    settings = SETTINGS | patient | {"CLIENTS_REGISTRATION": "open", "DELIVERY_TIMEOUT": str(LONG)}
    deployment = RunningProvider(tmp_path, settings=settings, program="tests.attacks.held_passwords")
    try:
        deployment.start()
        accounts = deployment.services.accounts
        with deployment.services.database.writing() as tx:
            accounts.add(tx, accounts.prepare("alice", PASSWORD))
        yield deployment
    finally:
        deployment.kill()
        deployment.services.database.dispose()


@pytest.fixture
def hanging() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LONG / 2)  # for whoever should come, and does not
        yield server


def others_are_served(provider: RunningProvider) -> None:
    machine = RelyingParty.register(provider, grant_types=["client_credentials"], scope="reports")
    assert http.get(f"{provider.origin}/health/live", timeout=LONG / 2).status_code == 200
    assert machine.token("client_credentials").status_code == 200


def register(provider: RunningProvider, hanging: socket.socket) -> httpx.Response:
    metadata = {
        "redirect_uris": ["https://app.example.org/callback"],
        "subject_type": "pairwise",
        "sector_identifier_uri": f"https://127.0.0.1:{hanging.getsockname()[1]}/sector",
    }
    return http.post(f"{provider.origin}/register", json=metadata, timeout=LONG)


def test_registrations_whose_sector_hangs_hold_up_nobody_and_are_few(running: RunningProvider, hanging: socket.socket) -> None:
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(register, running, hanging) for _ in range(5)]
        taken = [hanging.accept()[0] for _ in range(4)]
        (refused,), waiting = wait(asked, LONG / 2, FIRST_COMPLETED)
        others_are_served(running)
        assert not any(each.done() for each in waiting)
        for connection in taken:
            connection.close()
        assert refused.result().status_code == 429
        assert int(refused.result().headers["Retry-After"]) > 0
        assert {each.result().status_code for each in waiting} == {400}


def sign_in(person: Person, page: Page) -> httpx.Response:
    """The first answer to a form, in the browser that it was opened in."""
    (form,) = page.forms
    fields = form.fields | {"username": "alice", "password": PASSWORD}
    cookies = dict(person.http.cookies)
    return http.post(f"{person.home}/login", data=fields, cookies=cookies, timeout=LONG)


def until_done(asked: list[Future[httpx.Response]], count: int) -> list[httpx.Response]:
    """The first answers, when there are so many."""
    done: set[Future[httpx.Response]] = set()
    while len(done) < count:
        more, _ = wait(set(asked) - done, LONG / 2, FIRST_COMPLETED)
        assert more
        done |= more
    return [each.result() for each in done]


def test_more_sign_ins_than_find_room_are_sent_away_while_others_are_served(running: RunningProvider) -> None:
    person = Person(running.issuer)
    page = person.open("/login")
    room, surplus = passwords.AT_ONCE + passwords.WAITING, 6
    with ThreadPoolExecutor(room + surplus) as pool:
        asked = [pool.submit(sign_in, person, page) for _ in range(room + surplus)]
        for answer in until_done(asked, surplus):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == str(held_passwords.SECONDS)
        others_are_served(running)
        assert sum(each.done() for each in asked) == surplus
        (running.data_dir / "go").touch()
        assert sorted(each.result().status_code for each in asked) == [303] * room + [503] * surplus


def test_keys_that_cannot_be_fetched_hold_up_nobody_who_asks_for_others(
    running: RunningProvider, hanging: socket.socket
) -> None:
    client = RelyingParty.register(
        running,
        grant_types=["client_credentials"],
        scope="reports",
        token_endpoint_auth_method="private_key_jwt",
        jwks_uri=f"https://127.0.0.1:{hanging.getsockname()[1]}/keys",
    )
    with ThreadPoolExecutor(3) as pool:  # one fetches, and the others wait for what it will find
        asked = [pool.submit(client.token, "client_credentials", **assertion(client)) for _ in range(3)]
        connection, _ = hanging.accept()
        others_are_served(running)
        assert not any(each.done() for each in asked)
        connection.close()
        assert {each.result().status_code for each in asked} == {401}


def assertion(client: RelyingParty) -> dict[str, str]:
    """Signed by a key that nobody knows."""
    now = int(time.time())
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.provider.issuer,
        "jti": secrets.token_hex(8),
        "iat": now,
        "exp": now + 60,
    }
    signed = jwt.encode({"alg": "ES256"}, claims, ECKey.generate_key("P-256"))
    return {"client_assertion_type": assertions.TYPE, "client_assertion": signed}


def test_more_requests_than_may_wait_for_a_thread_are_told_to_come_again(running: RunningProvider) -> None:
    urls = [RelyingParty.register(running).authorization_url()] * (1 + held_passwords.QUEUE + 5)
    with ThreadPoolExecutor(len(urls)) as pool:
        with running.services.database.writing() as tx:  # whoever runs waits for the database, and nobody else runs
            tx.execute(text("SELECT 1"))
            asked = [pool.submit(http.get, url, timeout=LONG) for url in urls]
            for answer in until_done(asked, 5):
                assert answer.status_code == 503
                assert answer.json()["error"] == "temporarily_unavailable"
                assert int(answer.headers["Retry-After"]) > 0
                assert answer.headers["Cache-Control"] == "no-store"
            page = http.get(urls[0], timeout=LONG, headers={"Accept": "text/html,*/*;q=0.8"})
            assert page.status_code == 503, "and a person gets a page, with a way on"
            assert 'id="error-page"' in page.text
            assert 'id="try-again"' in page.text
            assert "form-action 'self'" in page.headers["Content-Security-Policy"]
        assert sorted(each.result().status_code for each in asked) == [303] * (len(urls) - 5) + [503] * 5
