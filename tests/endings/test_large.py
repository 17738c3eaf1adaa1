"""An ending of very many is one decision: all is over at its commit, and who must hear of it is told batch by batch, once."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from authlib.oauth2.rfc6749.errors import InvalidGrantError
from sqlalchemy import func, select

from idp.app import Provider
from idp.clients.rules import Client
from idp.consent.models import ConsentRow
from idp.delivery.models import DeliveryRow
from idp.issuing.service import NotIssuedError
from idp.logout import service as logout
from idp.logout.rules import Reason
from idp.protocol import events
from idp.runtime import migrations
from idp.runtime.database import Base, table_of
from idp.sessions.models import SessionClosingRow
from idp.sessions.rules import Session, SignIn
from idp.sessions.service import Started
from idp.signals.models import SignalRow
from idp.signals.requests import Configuration
from idp.signals.streams import StreamError
from idp.tokens.models import FamilyClosingRow, FamilyRow, PairwiseSubjectRow
from idp.tokens.rules import Authorization
from tests.endings.test_reaper import build
from tests.keys.grounds import Clock
from tests.support.accounts import there_is
from tests.support.databases import DIALECTS, migrated

AT_ONCE, MANY = 3, 10
AGENT = SignIn("alice", "pwd", "192.0.2.1", "a browser")
CLOSINGS = (SessionClosingRow, FamilyClosingRow)


@dataclass
class World:
    """One deployment, in which Alice is signed in at many browsers, each time with one app and a pairwise one."""

    provider: Provider
    clock: Clock
    url: str
    client: Client
    pairwise: Client

    def sign_in(self, provider: Provider | None = None) -> Started:
        each = provider or self.provider
        with each.database.writing() as tx:
            started = each.sessions.start(tx, AGENT)
            for client in (self.client, self.pairwise):
                each.sessions.take_part(tx, started.session, client)
        return started

    def allow(self, session: Session, *, offline: bool = False, client: Client | None = None) -> tuple[str, str]:
        """The name of a family, and its refresh token."""
        client = client or self.client
        given = Authorization(client.client_id, "alice", session.sid, "openid", offline, self.clock.now, "1", "pwd")
        with self.provider.database.writing() as tx:
            self.provider.consents.remember(tx, "alice", client.client_id, ["openid"])
            door, name = self.provider.issuing, self.provider.issuing.new_family_id()
            permit = door.begin(tx, "authorization_code", client, given)
            token = door.first(tx, permit, name, refreshable=True, id_token=False, nonce=None).refresh_token
        assert token is not None
        return name, token

    def count(self, row: type[Base], *conditions: object) -> int:
        query = select(func.count()).select_from(table_of(row)).where(*conditions)  # type: ignore[arg-type]
        with self.provider.database.reading() as tx:
            return int(tx.execute(query).scalar_one())

    def is_alive(self, started: Started) -> bool:
        """By everything that anybody asks."""
        with self.provider.database.writing() as tx:
            sessions, sid = self.provider.sessions, started.session.sid
            answers = {
                sessions.of_cookie(tx, started.cookie) is not None,
                sessions.alive(tx, sid) is not None,
                sessions.hold(tx, sid) is not None,
                sid in {session.sid for session in sessions.listed(tx, subject="alice")},
            }
        assert len(answers) == 1, answers
        return answers.pop()

    def refreshes(self, token: str) -> bool:
        with self.provider.database.writing() as tx:
            try:
                self.provider.issuing.refresh(tx, self.client, token, None)
            except (InvalidGrantError, NotIssuedError):
                return False
        return True

    def told(self, *sids: str) -> list[int]:
        """How often who took part was told of each session."""
        with self.provider.database.reading() as tx:
            return [len(self.provider.deliveries.of_session(tx, sid)) for sid in sids]

    def heard(self, event: str) -> int:
        return self.count(SignalRow, table_of(SignalRow).c.event == event)

    @property
    def left(self) -> int:
        with self.provider.database.reading() as tx:
            return self.provider.logout.left(tx)


@pytest.fixture(params=DIALECTS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(logout, "AT_ONCE", AT_ONCE)
    monkeypatch.setattr("idp.logout.reaper.AT_ONCE", AT_ONCE)
    monkeypatch.setattr("idp.runtime.batches.REST_SECONDS", 0.0)
    clock, url = Clock(), migrated(request, tmp_path)
    provider = build(url, clock)
    migrations.upgrade(provider.database)
    provider.keys.keep_up()
    metadata: dict[str, object] = {
        "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "backchannel_logout_uri": "https://app.example/logout",
    }
    with provider.database.writing() as tx:
        there_is(tx, "alice")
        client = provider.clients.add(tx, metadata).client
        pairwise = provider.clients.add(tx, metadata | {"subject_type": "pairwise"}).client
    yield World(provider, clock, url, client, pairwise)
    provider.database.dispose()


def sign_out(provider: Provider, keep: str | None = None) -> int:
    with provider.database.writing() as tx:
        return provider.logout.end_account_sessions(tx, "alice", Reason.OPERATOR, keep=keep)


def end_account(provider: Provider, reason: str = Reason.ACCOUNT_DISABLED) -> int:
    with provider.database.writing() as tx:
        return provider.logout.end_account(tx, "alice", reason)


def test_a_few_sessions_end_in_one_transaction_and_nothing_is_left(world: World) -> None:
    started = [world.sign_in() for _ in range(AT_ONCE - 1)]
    assert sign_out(world.provider) == AT_ONCE - 1
    assert world.left == 0
    assert world.told(*(each.session.sid for each in started)) == [2] * (AT_ONCE - 1)


def test_of_very_many_sessions_all_are_over_at_the_decision_and_each_party_is_told_once(world: World) -> None:
    started = [world.sign_in() for _ in range(MANY)]
    given = [world.allow(each.session) for each in started]
    assert sign_out(world.provider) == MANY
    assert world.left > 0
    assert [world.is_alive(each) for each in started] == [False] * MANY
    assert [world.refreshes(token) for _, token in given] == [False] * MANY
    with world.provider.database.reading() as tx:
        tokens = world.provider.tokens
        families = [tokens.family_of_refresh_token(tx, token) for _, token in given]
        assert {family.status_index for family in families if family is not None} <= tokens.statuses(tx).ended
        assert None not in families
    new = world.sign_in()
    assert world.is_alive(new)
    assert world.provider.reaper.reap() == MANY - AT_ONCE
    assert world.told(*(each.session.sid for each in started)) == [2] * MANY
    assert [world.count(row) for row in CLOSINGS] == [0, 0]
    assert world.is_alive(new)
    assert world.told(new.session.sid) == [0]
    assert world.count(FamilyRow, table_of(FamilyRow).c.ended_at.is_(None)) == 0


def test_the_session_that_is_kept_goes_on(world: World) -> None:
    started = [world.sign_in() for _ in range(MANY)]
    assert sign_out(world.provider, keep=started[4].session.sid) == MANY - 1
    assert [world.is_alive(each) for each in started] == [each is started[4] for each in started]
    world.provider.reaper.reap()
    assert [world.is_alive(each) for each in started] == [each is started[4] for each in started]


def test_clocks_that_differ_let_no_old_session_live_and_no_new_one_die(world: World) -> None:
    ahead = build(world.url, Clock(world.clock.now + 30))
    behind = build(world.url, Clock(world.clock.now - 30))
    started = [world.sign_in(ahead) for _ in range(MANY)]
    assert sign_out(world.provider) == MANY
    assert not any(world.is_alive(each) for each in started)
    new = world.sign_in(behind)
    assert world.is_alive(new)
    world.provider.reaper.reap()
    assert world.is_alive(new)
    assert world.told(*(each.session.sid for each in started)) == [2] * MANY
    for each in (ahead, behind):
        each.database.dispose()


def test_a_disabled_account_has_nothing_left_at_the_decision_and_no_event_too_many(world: World) -> None:
    started = [world.sign_in() for _ in range(MANY)]
    for each in started:
        world.allow(each.session)
    lasting = [world.allow(started[0].session, offline=True)[1] for _ in range(MANY)]
    assert end_account(world.provider) == MANY
    assert not any(world.refreshes(token) for token in lasting)
    assert world.provider.reaper.reap() == 2 * MANY - AT_ONCE
    assert world.left == 0
    # One for each name of each session, and one for each family that no session stood behind.
    assert world.heard(events.SESSION_REVOKED) == 2 * MANY
    assert world.heard(events.FAMILY_REVOKED) == MANY


def test_of_a_removed_account_nothing_is_kept_that_names_it_to_apps(world: World) -> None:
    started = [world.sign_in() for _ in range(MANY)]
    for each in started:
        world.allow(each.session)
        world.allow(each.session, client=world.pairwise)
    assert world.count(PairwiseSubjectRow) == 1
    assert world.count(ConsentRow) == 2
    end_account(world.provider, Reason.ACCOUNT_REMOVED)
    world.provider.reaper.reap()
    assert world.left == 0
    assert [world.count(row) for row in (PairwiseSubjectRow, ConsentRow)] == [0, 0]
    assert world.told(*(each.session.sid for each in started)) == [2] * MANY


def test_a_small_account_that_is_removed_leaves_nothing_either(world: World) -> None:
    session = world.sign_in().session
    world.allow(session, client=world.pairwise)
    end_account(world.provider, Reason.ACCOUNT_REMOVED)
    world.provider.reaper.reap()
    assert [world.count(row) for row in (PairwiseSubjectRow, ConsentRow)] == [0, 0]


def test_withdrawn_access_is_over_at_the_decision_and_begins_anew_when_it_is_carried_out(world: World) -> None:
    started = [world.sign_in() for _ in range(MANY)]
    given = [world.allow(each.session) for each in started]
    with world.provider.database.writing() as tx:
        world.provider.consents.withdraw(tx, "alice", world.client.client_id)
    assert world.left > 0
    assert not any(world.refreshes(token) for _, token in given)
    assert all(world.is_alive(each) for each in started)
    with pytest.raises(NotIssuedError, match="just being ended"):
        world.allow(started[0].session)
    world.allow(started[0].session, client=world.pairwise)
    world.provider.reaper.reap()
    assert world.left == 0
    assert world.told(*(each.session.sid for each in started)) == [1] * MANY
    _, token = world.allow(started[0].session)
    assert world.refreshes(token)


def test_a_removed_client_with_very_many_families_is_told_of_once(world: World) -> None:
    started = world.sign_in()
    given = [world.allow(started.session) for _ in range(MANY)]
    with world.provider.database.writing() as tx:
        assert world.provider.logout.end_client(tx, world.client.client_id)
    assert not any(world.refreshes(token) for _, token in given)
    world.provider.reaper.reap()
    assert world.left == 0
    assert world.count(FamilyRow, table_of(FamilyRow).c.ended_at.is_(None)) == 0
    assert world.heard(events.TOKENS_REVOKED) == 1
    assert world.heard(events.FAMILY_REVOKED) == 0
    assert world.count(ConsentRow, table_of(ConsentRow).c.client_id == world.client.client_id) == 0


def test_several_instances_carry_it_out_together_and_nobody_is_told_twice(world: World) -> None:
    started = [world.sign_in() for _ in range(2 * MANY)]
    instances = [world.provider, *(build(world.url, world.clock) for _ in range(3))]
    sign_out(world.provider)
    together = threading.Barrier(len(instances))

    def carry_out(provider: Provider) -> None:
        together.wait()
        provider.reaper.finish(rest=lambda _seconds: False)

    threads = [threading.Thread(target=carry_out, args=(each,)) for each in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert world.left == 0
    assert world.told(*(each.session.sid for each in started)) == [2] * len(started)
    assert world.count(DeliveryRow) == 4 * MANY
    for each in instances[1:]:
        each.database.dispose()


def test_two_decisions_about_the_same_sessions_tell_of_each_once(world: World) -> None:
    started = [world.sign_in() for _ in range(MANY)]
    sign_out(world.provider, keep=started[0].session.sid)
    sign_out(world.provider)
    end_account(world.provider)
    assert not any(world.is_alive(each) for each in started)
    world.provider.reaper.reap()
    assert world.left == 0
    assert world.told(*(each.session.sid for each in started)) == [2] * MANY


def test_whoever_waits_hears_how_much_is_left(world: World) -> None:
    for _ in range(MANY):
        world.sign_in()
    sign_out(world.provider)
    left: list[int] = []
    world.provider.reaper.finish(left.append)
    assert left == sorted(left, reverse=True)
    assert (left[0], left[-1]) == (MANY - AT_ONCE + 1, 0)


def test_nobody_may_say_that_this_is_all_while_events_are_owed(world: World) -> None:
    """A verifier takes an empty answer as a proof that nothing ended: see docs/adr/0015."""
    for _ in range(MANY):
        world.sign_in()
    hub, streams = world.provider.hub, world.provider.streams
    with world.provider.database.writing() as tx:
        stream = streams.create(tx, world.client.client_id, Configuration(None, None, None))
    assert hub.once()
    proved = hub.look.as_of
    sign_out(world.provider)
    assert not hub.once()
    assert not hub.once()
    assert hub.look.as_of == proved
    with pytest.raises(StreamError, match="ask again"), world.provider.database.writing() as tx:
        streams.verify(tx, stream.client_id, stream.stream_id, None)
    world.provider.reaper.reap()
    assert hub.once()
    assert hub.look.as_of > proved
    with world.provider.database.writing() as tx:
        streams.verify(tx, stream.client_id, stream.stream_id, None)
