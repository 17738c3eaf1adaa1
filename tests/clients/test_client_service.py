"""Finding clients: kept for a stated time, forgotten when removed, and their secrets shown once."""

from collections.abc import Iterator

import pytest

from idp.clients import ending
from idp.clients.models import ClientOriginRow, ClientRow
from idp.clients.rules import Client
from idp.clients.service import ClientService, Lease
from idp.runtime.database import Database
from tests.keys.grounds import DATABASES, EPOCH, Clock, database_for, empty

MODELS = (ClientRow, ClientOriginRow)
METADATA = {"redirect_uris": ["https://app.example/callback"]}


@pytest.fixture(scope="module")
def _clock() -> Clock:
    return Clock()


@pytest.fixture
def clock(_clock: Clock) -> Clock:
    _clock.now = EPOCH
    return _clock


@pytest.fixture(scope="module", params=DATABASES)
def _database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _clock: Clock) -> Iterator[Database]:
    with database_for(request, tmp_path_factory.mktemp("clients"), _clock, MODELS) as made:
        yield made


@pytest.fixture
def database(_database: Database, clock: Clock) -> Database:
    empty(_database, MODELS)
    return _database


@pytest.fixture
def clients(database: Database) -> ClientService:
    return ClientService(database, cache_seconds=5, loopback_http=False)


def test_a_registration_answers_as_rfc_7591_says(database: Database, clients: ClientService) -> None:
    with database.writing() as tx:
        answer = clients.add(tx, METADATA | {"client_name": "An app"}).response()
    assert answer["client_name"] == "An app"
    assert answer["client_id_issued_at"] == EPOCH
    assert answer["client_secret_expires_at"] == 0
    assert len(str(answer["client_secret"])) >= 43
    assert "secret_hash" not in answer


def test_a_public_client_has_no_secret(database: Database, clients: ClientService) -> None:
    with database.writing() as tx:
        answer = clients.add(tx, METADATA | {"token_endpoint_auth_method": "none"}).response()
    assert "client_secret" not in answer
    assert "client_secret_expires_at" not in answer


def test_another_process_hears_of_a_removal_within_the_stated_seconds(
    database: Database, clients: ClientService, clock: Clock
) -> None:
    elsewhere = ClientService(database, cache_seconds=5, loopback_http=False)
    with database.writing() as tx:
        client_id = clients.add(tx, METADATA).client.client_id
    assert elsewhere.find(client_id) is not None
    with database.writing() as tx:
        ending.mark_removed(tx, client_id)
    clock.now += 5.1
    assert elsewhere.find(client_id) is None


def test_a_clock_that_jumps_back_keeps_no_client_for_longer(database: Database, clients: ClientService, clock: Clock) -> None:
    with database.writing() as tx:
        client_id = clients.add(tx, METADATA).client.client_id
    assert clients.find(client_id) is not None
    with database.writing() as tx:
        ending.mark_removed(tx, client_id)
    clock.now -= 3600
    assert clients.find(client_id) is None


@pytest.mark.parametrize("client_id", [None, "", "unknown", "x" * 100_000, "' OR 1=1 --", "ä"])
def test_who_is_not_registered_is_nobody(clients: ClientService, client_id: str | None) -> None:
    assert clients.find(client_id) is None


def test_strangers_fill_no_memory(clients: ClientService) -> None:
    for number in range(100):
        clients.find(f"stranger{number}")
    assert len(clients._cache) == 0


def test_only_the_origins_of_registered_redirect_uris_may_read_answers(
    database: Database, clients: ClientService, clock: Clock
) -> None:
    assert not clients.allows_origin("https://app.example")
    with database.writing() as tx:
        clients.add(tx, METADATA)
    clock.now += 5.1
    assert clients.allows_origin("https://app.example")
    for other in ("https://app.example:8443", "http://app.example", "https://app.example.evil", "null", "*", ""):
        assert not clients.allows_origin(other)


def test_an_origin_counts_for_as_long_as_some_client_has_it(database: Database, clients: ClientService, clock: Clock) -> None:
    lease = Lease("h", EPOCH + 1e9)
    with database.writing() as tx:
        first, second = clients.add(tx, METADATA, lease).client, clients.add(tx, METADATA, lease).client
    with database.writing() as tx:
        moved = {"redirect_uris": ["https://new.example:8443/cb", "https://new.example:8443/other"]}
        assert clients.change(tx, first, moved, lease) is not None
    assert clients.allows_origin("https://new.example:8443")
    assert clients.allows_origin("https://app.example")
    with database.writing() as tx:
        ending.mark_removed(tx, second.client_id)
    clock.now += 5.1
    assert not clients.allows_origin("https://app.example")
    assert clients.allows_origin("https://new.example:8443")
    with database.writing() as tx:
        ending.mark_removed(tx, first.client_id)
    clock.now += 5.1
    assert not clients.allows_origin("https://new.example:8443")


def test_whether_an_origin_is_a_clients_costs_the_same_however_many_there_are(
    database: Database, clients: ClientService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.writing() as tx:
        for number in range(20):
            clients.add(tx, {"redirect_uris": [f"https://app{number}.example/cb"]})
    monkeypatch.setattr(Client, "of", lambda _record: pytest.fail("a client was parsed"))
    assert clients.allows_origin("https://app7.example")
    monkeypatch.setattr(database, "reading", lambda: pytest.fail("what is known is not looked up again"))
    assert clients.allows_origin("https://app7.example")


@pytest.mark.parametrize(
    "origin", ["x" * 100_000, "https://\x00.example", "https://ä.example", "\udcff", "http://[", "null", "https://a.example/"]
)
def test_strange_origins_are_nobodys_and_fill_no_memory(clients: ClientService, origin: str) -> None:
    assert not clients.allows_origin(origin)
    assert clients._origins == {}
