"""What has ended is kept for a time, and then goes; what is alive stays, however old."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from idp import app
from idp.app import Provider
from idp.clients.rules import Client
from idp.config import Settings
from idp.delivery.models import DeliveryRow
from idp.delivery.rules import NewDelivery
from idp.logout.rules import Reason
from idp.runtime import migrations
from idp.runtime.database import Base, Transaction, table_of
from idp.sessions.models import SessionClientRow, SessionRow
from idp.sessions.rules import Session, SignIn
from idp.tokens import store as tokens
from idp.tokens.issuing import TokenIssuer
from idp.tokens.models import FamilyRow
from idp.tokens.rules import Authorization, Family
from tests.keys.grounds import Clock
from tests.support.databases import DIALECTS, migrated

DAY = 86_400
KEPT = 90 * DAY
SECRET = "a test secret that is long enough: really"


@dataclass
class World:
    """One deployment, and its clock."""

    provider: Provider
    clock: Clock
    client: Client

    def sign_in(self) -> Session:
        with self.provider.database.writing() as tx:
            session = self.provider.sessions.start(tx, SignIn("alice", "pwd", "127.0.0.1", "test")).session
            self.provider.sessions.take_part(tx, session, self.client)
            return session

    def allow(self, session: Session, *, offline: bool = False) -> tuple[Family, str]:
        """A family and its first refresh token."""
        given = Authorization(self.client.client_id, "alice", session.sid, "openid", offline, self.clock.now, "1", "pwd")
        with self.provider.database.writing() as tx:
            services = self.provider.tokens
            family, token = TokenIssuer(services).start_family(
                tx, TokenIssuer(services).new_family_id(), given, refreshable=True
            )
        assert token is not None
        return family, token

    def refresh(self, token: str) -> str:
        with self.provider.database.writing() as tx:
            return TokenIssuer(self.provider.tokens).rotate(tx, self.client, token)[1]

    def end(self, session: Session) -> None:
        with self.provider.database.writing() as tx:
            self.provider.logout.end_session(tx, session.sid, Reason.OPERATOR)

    def settle(self) -> None:
        """Let every delivery die."""
        with self.provider.database.writing() as tx:
            table = table_of(DeliveryRow)
            tx.execute(table.update().where(table.c.dead_at.is_(None)).values(dead_at=tx.now))

    def owe(self) -> None:
        with self.provider.database.writing() as tx:
            self.provider.deliveries.enqueue(
                tx, [NewDelivery("test", self.client.client_id, None, None, "https://app.example/", {}, tx.now + 10 * KEPT)]
            )

    def count(self, row: type[Base]) -> int:
        with self.provider.database.reading() as tx:
            return int(tx.execute(select(func.count()).select_from(table_of(row))).scalar_one())

    def index_of_the_next(self) -> int:
        family, _ = self.allow(self.sign_in())
        assert family.status_index is not None
        return family.status_index

    def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.provider.housekeeper.tidy()


def made(url: str, folder: Path, clock: Clock, **settings: int) -> Provider:
    chosen = Settings(data_dir=folder, database_url=url, secret_key=SECRET, **settings)  # type: ignore[arg-type]
    provider = app.build(chosen, clock)
    migrations.upgrade(provider.database)
    return provider


@pytest.fixture(params=DIALECTS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    provider = made(migrated(request, tmp_path), tmp_path, clock)
    metadata: dict[str, object] = {
        "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "backchannel_logout_uri": "https://app.example/backchannel",
    }
    with provider.database.writing() as tx:
        client = provider.clients.add(tx, metadata).client
    yield World(provider, clock, client)
    provider.database.dispose()


ENDING = (SessionRow, SessionClientRow, FamilyRow, DeliveryRow)


def test_what_has_ended_goes_when_its_time_is_over_and_not_before(world: World) -> None:
    session = world.sign_in()
    world.allow(session)
    world.end(session)
    world.settle()
    world.later(KEPT - 1)
    world.allow(world.sign_in())
    assert [world.count(row) for row in ENDING] == [2, 2, 2, 1]
    world.later(2)
    assert [world.count(row) for row in ENDING] == [1, 1, 1, 0]


def test_what_waits_and_what_is_alive_stay_however_old(world: World) -> None:
    session = world.sign_in()
    _, token = world.allow(session, offline=True)
    world.end(session)
    world.owe()
    for _ in range(5):
        world.later(20 * DAY)
        token = world.refresh(token)
    world.allow(world.sign_in())
    world.later(10)
    assert world.refresh(token)
    assert world.count(DeliveryRow) == 2


def test_offline_access_that_ran_out_goes_too(world: World) -> None:
    family, _ = world.allow(world.sign_in(), offline=True)
    world.allow(world.sign_in())
    world.later(family.expires_at - world.clock.now + KEPT - 1)
    assert _known(world, family)
    world.later(2)
    assert not _known(world, family)


def _known(world: World, family: Family) -> bool:
    with world.provider.database.reading() as tx:
        return tokens.by_id(tx, family.family_id) is not None


def test_no_status_index_is_given_twice_when_everything_has_gone(world: World) -> None:
    indices = []
    for _ in range(3):
        session = world.sign_in()
        indices.append(world.allow(session)[0].status_index)
        world.end(session)
    world.later(KEPT + 1)
    assert world.count(SessionRow) == 0
    assert world.count(FamilyRow) == 0
    assert world.index_of_the_next() not in indices


def test_a_spent_refresh_token_of_a_family_that_is_gone_is_refused(world: World) -> None:
    session = world.sign_in()
    _, token = world.allow(session)
    world.refresh(token)
    world.end(session)
    world.allow(world.sign_in())
    world.later(KEPT + 1)
    with pytest.raises(Exception, match="not issued to this client"):
        world.refresh(token)


@pytest.mark.parametrize("row", ENDING)
def test_not_more_than_so_many_rows_are_deleted_at_once(world: World, row: type[Base]) -> None:
    services = {SessionRow: "sessions", SessionClientRow: "sessions", FamilyRow: "tokens", DeliveryRow: "deliveries"}
    for _ in range(4):
        session = world.sign_in()
        world.allow(session)
        world.end(session)
    world.settle()

    def forget(tx: Transaction) -> int:
        return int(getattr(world.provider, services[row]).forget(tx, tx.now + 1, 2))

    with world.provider.database.writing() as tx:
        assert forget(tx) == 2
    assert world.count(row) == 2


def test_what_is_to_go_is_found_by_an_index(world: World) -> None:
    database, plans = world.provider.database, ""
    asked: list[tuple[str, object]] = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _cur, sql, given, *_: asked.append((sql, given)))
    with database.writing() as tx:
        for service in (world.provider.deliveries, world.provider.tokens, world.provider.sessions):
            service.forget(tx, tx.now, 10)
    with database.engine.connect() as connection:
        if database.dialect == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")  # these tables are small
        for sql, given in [one for one in asked if one[0].startswith("WITH")]:
            prefix = "EXPLAIN QUERY PLAN " if database.dialect == "sqlite" else "EXPLAIN "
            plans += "".join(str(row[-1]) for row in connection.exec_driver_sql(prefix + sql, given))
    for index in ("deliveries_created_at", "token_families_ended_at", "token_families_offline_started_at", "sessions_ended_at"):
        assert f"ix_{index}" in plans, plans


def test_nothing_goes_that_a_token_may_still_name_whatever_the_setting_says(tmp_path: Path) -> None:
    clock = Clock()
    provider = made("", tmp_path, clock, retention=1, tokens_refresh_token_lifetime=DAY)
    with provider.database.writing() as tx:
        client = provider.clients.add(tx, {"redirect_uris": ["https://app.example/cb"]}).client
    world = World(provider, clock, client)
    world.end(world.sign_in())
    world.later(DAY)
    assert world.count(SessionRow) == 1
    world.later(3600)
    assert world.count(SessionRow) == 0
    provider.database.dispose()
