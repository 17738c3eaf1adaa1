"""Nothing grows without a bound: what is over goes, in batches, and every table says what bounds it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from idp.accounts import throttle_store
from idp.accounts.models import SignInThrottleRow
from idp.app import Provider, create_app
from idp.authorization.models import PendingRow
from idp.clients.models import ClientRow
from idp.config import Settings
from idp.consent.models import ConsentRow
from idp.delivery import store as outbox
from idp.delivery.models import PartyRow
from idp.delivery.rules import Party, lane_in_order
from idp.discovery.metrics import forget_the_dead
from idp.logout.rules import Reason
from idp.provider import build
from idp.runtime import migrations
from idp.runtime.bounded import Bounded
from idp.runtime.database import Base, Transaction, table_of
from idp.runtime.paging import Page
from idp.sessions.rules import SignIn
from idp.signals.requests import Configuration, StreamDelivery
from idp.signals.rules import PUSH
from idp.tables import metadata
from tests.keys.grounds import Clock
from tests.support.databases import DIALECTS, migrated

DAY = 86_400
MOST = 10
METADATA: dict[str, object] = {
    "client_name": "An app",
    "redirect_uris": ["https://app.example/cb"],
    "backchannel_logout_uri": "https://app.example/logout",
    "token_endpoint_auth_method": "none",
}


@pytest.fixture(params=DIALECTS)
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    chosen = {
        "database_url": migrated(request, tmp_path),
        "data_dir": tmp_path,
        "secret_key": "a secret of the tests that is long enough",
        "authorization_requests_per_network": MOST,
    }
    built = build(Settings.model_validate(chosen), Clock())
    migrations.upgrade(built.database)
    built.keys.open()
    yield built
    built.keys.close()
    built.database.dispose()


@pytest.fixture
def asked(provider: Provider) -> list[tuple[str, object]]:
    """Every statement with its parameters."""
    found: list[tuple[str, object]] = []
    event.listen(provider.database.engine, "before_cursor_execute", lambda _c, _cur, sql, given, *_: found.append((sql, given)))
    return found


def count(provider: Provider, row: type[Base]) -> int:
    with provider.database.reading() as tx:
        return int(tx.execute(select(func.count()).select_from(table_of(row))).scalar_one())


def later(provider: Provider, seconds: float) -> None:
    clock = provider.database.clock
    assert isinstance(clock, Clock)
    clock.now += seconds
    provider.housekeeper.tidy()


def add_client(provider: Provider) -> str:
    with provider.database.writing() as tx:
        return provider.clients.add(tx, METADATA).client.client_id


def fail(provider: Provider, *names: str) -> None:
    """These parties do not answer."""
    with provider.database.writing() as tx:
        outbox.failed(tx, provider.database.dialect, [Party(name, 9, tx.now, tx.now + 60, "refused") for name in names])


# -- every table --------------------------------------------------------------------------------------------------------------


def test_the_documentation_says_of_every_table_what_bounds_it() -> None:
    page = Path("docs/operating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]{15,}) \|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(metadata.tables)


def test_whatever_is_forgotten_is_forgotten_in_batches(provider: Provider, asked: list[tuple[str, object]]) -> None:
    provider.housekeeper.tidy()
    deleting = [sql for sql, _ in asked if "DELETE FROM" in sql]
    tables = {match[1] for sql in deleting if (match := re.search(r"DELETE FROM (\w+)", sql))}
    assert len(tables) >= 14
    assert [sql for sql in deleting if "LIMIT" not in sql] == []


# -- what was left behind -----------------------------------------------------------------------------------------------------


def test_a_party_that_is_gone_is_held_against_nobody(provider: Provider) -> None:
    client_id = add_client(provider)
    with provider.database.writing() as tx:
        delivery = StreamDelivery(PUSH, "https://app.example/events", None)
        stream = provider.streams.create(tx, client_id, Configuration(None, None, delivery))
    fail(provider, client_id, lane_in_order(stream.stream_id))
    with provider.database.writing() as tx:
        provider.logout.end_client(tx, client_id)
    assert count(provider, PartyRow) == 0


def test_a_stream_that_is_deleted_takes_its_circuit_with_it(provider: Provider) -> None:
    client_id = add_client(provider)
    with provider.database.writing() as tx:
        delivery = StreamDelivery(PUSH, "https://app.example/events", None)
        stream = provider.streams.create(tx, client_id, Configuration(None, None, delivery))
    fail(provider, client_id, lane_in_order(stream.stream_id))
    with provider.database.writing() as tx:
        provider.streams.end(tx, client_id, stream.stream_id)
    assert count(provider, PartyRow) == 1


def test_a_party_that_nobody_tries_any_more_is_forgotten(provider: Provider) -> None:
    """As one that failed once more after it was removed: an attempt was under way."""
    fail(provider, "gone")
    later(provider, DAY)
    assert count(provider, PartyRow) == 1
    later(provider, 120)
    assert count(provider, PartyRow) == 0


def test_of_a_removed_client_the_metadata_goes_at_once_and_the_row_in_time(provider: Provider) -> None:
    client_id = add_client(provider)
    add_client(provider)
    with provider.database.writing() as tx:
        provider.logout.end_client(tx, client_id)
        kept = tx.execute(
            select(table_of(ClientRow).c.metadata).where(table_of(ClientRow).c.client_id == client_id)
        ).scalar_one()
    assert kept == "{}"
    later(provider, 90 * DAY - 1)
    assert count(provider, ClientRow) == 2
    later(provider, 10)
    assert count(provider, ClientRow) == 1


def test_what_was_allowed_once_is_forgotten_in_time_and_what_is_allowed_stays(provider: Provider) -> None:
    client_id = add_client(provider)
    for scopes in (["openid"], ["openid", "email"]):
        with provider.database.writing() as tx:
            provider.consents.remember(tx, "alice", client_id, scopes)
    assert count(provider, ConsentRow) == 2
    later(provider, 90 * DAY + 10)
    assert count(provider, ConsentRow) == 1
    with provider.database.reading() as tx:
        assert provider.consents.covers(tx, "alice", client_id, ["openid", "email"])


# -- what strangers make ------------------------------------------------------------------------------------------------------


def authorize(provider: Provider, client_id: str, address: str, times: int) -> list[str]:
    """Ask as somebody who is not signed in, from an address; where each request leads."""
    web = create_app(provider)
    query = f"client_id={client_id}&response_type=code&redirect_uri=https://app.example/cb&scope=openid&state=s"
    challenge = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeGrU8zTjpYtEH6R0lKM&code_challenge_method=S256"
    led = []
    for _ in range(times):
        answer = web.test_client().get(f"/authorize?{query}&{challenge}", environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == 303, answer.text
        led.append(str(answer.headers["Location"]))
    return led


def test_nobody_fills_the_table_of_requests(provider: Provider) -> None:
    client_id = add_client(provider)
    authorize(provider, client_id, "192.0.2.1", 3)
    authorize(provider, client_id, "2001:db8::1", 2 * MOST)
    authorize(provider, client_id, "2001:db8::2", 5)  # of the same network
    assert count(provider, PendingRow) == 3 + MOST
    with provider.database.reading() as tx:
        networks = tx.execute(
            select(table_of(PendingRow).c.network, func.count()).group_by(table_of(PendingRow).c.network)
        ).all()
    assert sorted(number for _, number in networks) == [3, MOST]


def test_a_request_for_which_somebody_signed_in_makes_room_for_none(provider: Provider) -> None:
    client_id = add_client(provider)
    (led,) = authorize(provider, client_id, "192.0.2.1", 1)
    request_id = led.partition("request=")[2]
    with provider.database.writing() as tx:
        table = table_of(PendingRow)
        tx.execute(table.update().where(table.c.request_id == request_id).values(signed_in_by="alice"))
    authorize(provider, client_id, "192.0.2.1", 2 * MOST)
    with provider.database.reading() as tx:
        assert tx.execute(select(table.c.request_id).where(table.c.request_id == request_id)).first() is not None
    assert count(provider, PendingRow) == MOST + 1


# -- what is looked at --------------------------------------------------------------------------------------------------------


def sign_in(provider: Provider, clients: list[str]) -> str:
    with provider.database.writing() as tx:
        session = provider.sessions.start(tx, SignIn("alice", "pwd", "192.0.2.1", "a browser")).session
        for client_id in clients:
            client = provider.clients.get(tx, client_id)
            assert client is not None
            provider.sessions.take_part(tx, session, client)
    return session.sid


@pytest.mark.parametrize("many", [1, 12])
def test_what_became_of_sessions_costs_the_same_however_many_there_are(
    provider: Provider, asked: list[tuple[str, object]], many: int
) -> None:
    clients = [add_client(provider) for _ in range(many)]
    with provider.database.writing() as tx:
        for client_id in clients:
            for delivery in (None, StreamDelivery(PUSH, "https://app.example/events", None)):
                provider.streams.create(tx, client_id, Configuration(None, None, delivery))
    sids = [sign_in(provider, clients) for _ in range(many)]
    with provider.database.writing() as tx:
        for sid in sids:
            provider.logout.end_session(tx, sid, Reason.SIGNED_OUT)
    provider.hub.once()
    asked.clear()
    with provider.database.reading() as tx:
        assert len(provider.logout.told(tx, sids)) == many * many
        assert len(provider.streams.exposures(tx, sids)) == many
        provider.logout.frames(tx, sids)
    assert len([sql for sql, _ in asked if sql.startswith("SELECT")]) <= 6


def test_sessions_are_listed_page_by_page(provider: Provider, asked: list[tuple[str, object]]) -> None:
    client_id = add_client(provider)
    sids = {sign_in(provider, [client_id]) for _ in range(7)}
    seen: list[str] = []
    for number in (1, 2, 3):
        asked.clear()
        with provider.database.reading() as tx:
            listed = provider.sessions.listed(tx, Page(3, number), client_id=client_id)
            provider.sessions.taken_part_in(tx, [session.sid for session in listed])
        assert len([sql for sql, _ in asked if sql.startswith("SELECT")]) == 2
        seen += [session.sid for session in listed]
    assert len(seen) == 7
    assert set(seen) == sids


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda provider, tx: provider.deliveries.retry_of_client(tx, "app"), "ix_deliveries_dead_client_id"),
        (lambda _, tx: outbox.has_taken(tx, "app"), "ix_deliveries_taken_client_id"),
        (lambda provider, tx: provider.deliveries.refusing(tx), "ix_deliveries_taken_client_id"),
    ],
    ids=["sent again", "whether it took anything", "who refuses all"],
)
def test_deliveries_of_a_client_are_found_by_an_index(
    provider: Provider, asked: list[tuple[str, object]], ask: Callable[[Provider, Transaction], object], index: str
) -> None:
    with provider.database.writing() as tx:
        ask(provider, tx)
    plans = ""
    with provider.database.engine.connect() as connection:
        if provider.database.dialect == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")  # these tables are small
        for sql, given in [one for one in asked if "deliveries" in one[0]]:
            prefix = "EXPLAIN QUERY PLAN " if provider.database.dialect == "sqlite" else "EXPLAIN "
            plans += "\n".join(str(row[-1]) for row in connection.exec_driver_sql(prefix + sql, given))
    assert index in plans, plans
    assert "SCAN deliveries" not in plans.replace("SCAN deliveries USING INDEX ix_deliveries_dead_client_id", ""), plans
    assert "SCAN taken" not in plans, plans
    assert "Seq Scan on deliveries" not in plans, plans


def test_gauges_of_dead_processes_are_forgotten(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [
        f"{kind}_{pid}.db" for pid in (dead.pid, os.getpid()) for kind in ("gauge_livesum", "gauge_livemostrecent", "counter")
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    forget_the_dead(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names[2:], *names[3:]} - set(names[:2])


def test_what_a_process_remembers_of_clients_does_not_grow_with_those_that_come_and_go(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that register themselves lapse, in whatever process the reaper runs: the others never heard of it."""
    monkeypatch.setattr("idp.runtime.bounded.MOST", 5, raising=False)
    clients = [add_client(provider) for _ in range(8)]
    for client_id in clients:
        assert provider.clients.find(client_id) is not None
        assert provider.clients.allows_origin("https://app.example")
    assert len(provider.clients._cache) == 5
    assert provider.clients.find(clients[-1]) is provider.clients.find(clients[-1])


def test_what_is_remembered_is_bounded_whoever_forgets_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idp.runtime.bounded.MOST", 3)
    kept: Bounded[int, int] = Bounded()
    for number in range(5):
        kept[number] = number
    assert list(kept) == [2, 3, 4]
    kept.forget(3)
    kept.forget(3)
    assert (kept.get(3), kept.get(4)) == (None, 4)

    def come_and_go(first: int) -> None:
        for number in range(first, first + 20_000):
            kept[number] = number
            kept.forget(number - 1)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(come_and_go, first * 100_000) for first in range(4)]:
            done.result()
    assert len(kept) <= 3


def test_the_guesses_at_one_account_are_forgotten_by_an_index_and_those_at_others_stay(
    provider: Provider, asked: list[tuple[str, object]]
) -> None:
    """Strangers fill that table with whatever they type: a password change, or an unlocking, read all of it for each session."""
    buckets = ["a", "a.", "a.b", "a.~", "a/", "a-", "ab", "A.b", "a.b.c", "_", "_.b", "x.b", "%.b"]
    with provider.database.writing() as tx:
        for bucket in buckets:
            throttle_store.count(tx, bucket, 900)
    asked.clear()
    with provider.database.writing() as tx:
        assert throttle_store.forget(tx, "a") == 5
        assert throttle_store.forget(tx, "_") == 2
        assert throttle_store.forget_these(tx, ["ab", "x", "A.b"]) == 2
    with provider.database.reading() as tx:
        left = set(tx.execute(select(table_of(SignInThrottleRow).c.bucket)).scalars())
    assert left == {"a/", "a-", "x.b", "%.b"}
    if provider.database.dialect == "sqlite":
        with provider.database.engine.connect() as connection:
            for sql, given in [one for one in asked if one[0].startswith("DELETE")]:
                plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, given))
                assert "SCAN sign_in_throttles" not in plan, plan
