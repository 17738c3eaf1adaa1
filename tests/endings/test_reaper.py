"""Expiry is an ending: found by the clock, looked at again under the lock, told to relying parties once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from idp import app
from idp.app import Provider
from idp.config import Settings
from idp.delivery.rules import Delivery
from idp.logout import reaper
from idp.runtime import migrations
from idp.sessions.rules import Session, SignIn
from tests.keys.grounds import EPOCH, Clock
from tests.support.databases import DIALECTS, migrated

IDLE, ABSOLUTE = 3_600, 36_000
AGENT = SignIn("alice", "pwd", "192.0.2.1", "a browser")


class Deployment(NamedTuple):
    clock: Clock
    url: str
    provider: Provider

    def another(self) -> Provider:
        """Another process over the same database."""
        return build(self.url, self.clock)


def build(url: str, clock: Clock) -> Provider:
    chosen: dict[str, object] = {
        "database_url": url,
        "secret_key": "a secret of the tests that is long enough",
        "sessions_idle_timeout": IDLE,
        "sessions_absolute_timeout": ABSOLUTE,
    }
    return app.build(Settings.model_validate(chosen), clock)


@pytest.fixture(params=DIALECTS)
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    clock, url = Clock(), migrated(request, tmp_path)
    provider = build(url, clock)
    migrations.upgrade(provider.database)
    yield Deployment(clock, url, provider)
    provider.database.dispose()


def sign_in(provider: Provider, *, told: bool = True) -> str:
    """A session in which one app takes part that can be told."""
    with provider.database.writing() as tx:
        session = provider.sessions.start(tx, AGENT).session
        uri = {"backchannel_logout_uri": "https://app.example/logout"} if told else {}
        client = provider.clients.add(tx, {"redirect_uris": ["https://app.example/cb"], **uri}).client
        provider.sessions.take_part(tx, session, client)
    return session.sid


def session(provider: Provider, sid: str) -> Session:
    with provider.database.reading() as tx:
        found = provider.sessions.get(tx, sid)
    assert found is not None
    return found


def owed(provider: Provider, sid: str) -> list[Delivery]:
    with provider.database.reading() as tx:
        return provider.deliveries.of_session(tx, sid)


def test_an_idle_session_ends_and_its_app_is_told(deployment: Deployment) -> None:
    clock, _, provider = deployment
    sid = sign_in(provider)
    clock.now += IDLE - 1
    assert provider.reaper.reap() == 0
    clock.now += 1
    assert provider.reaper.reap() == 1
    assert (session(provider, sid).ended_at, session(provider, sid).end_reason) == (clock.now, "idle")
    assert len(owed(provider, sid)) == 1
    assert provider.reaper.reap() == 0
    assert len(owed(provider, sid)) == 1


def test_a_session_that_is_used_until_its_last_day_ends_by_its_age(deployment: Deployment) -> None:
    clock, _, provider = deployment
    sid = sign_in(provider)
    while clock.now < EPOCH + ABSOLUTE - 600:
        clock.now += 600
        with provider.database.writing() as tx:
            assert provider.sessions.hold(tx, sid) is not None
        assert provider.reaper.reap() == 0
    clock.now = EPOCH + ABSOLUTE
    assert provider.reaper.reap() == 1
    assert session(provider, sid).end_reason == "expired"


def test_a_session_that_was_used_after_it_was_found_goes_on(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is looked at again: what was found idle may have been used meanwhile."""
    clock, _, provider = deployment
    sid = sign_in(provider)
    clock.now += IDLE
    monkeypatch.setattr(provider.sessions, "stale", lambda _tx, _limit: [sid])
    clock.now -= 1
    with provider.database.writing() as tx:
        assert provider.sessions.hold(tx, sid) is not None
    clock.now += 1
    assert provider.reaper.reap() == 0
    assert session(provider, sid).ended_at is None
    assert owed(provider, sid) == []


def test_many_sessions_are_ended_batch_by_batch(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, _, provider = deployment
    monkeypatch.setattr(reaper, "BATCH", 3)
    sids = [sign_in(provider) for _ in range(8)]
    clock.now += IDLE
    assert provider.reaper.reap() == len(sids)
    assert all(len(owed(provider, sid)) == 1 for sid in sids)


def test_several_instances_share_the_work_and_nobody_is_told_twice(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "BATCH", 2)
    instances = [deployment.provider, *(deployment.another() for _ in range(3))]
    sids = [sign_in(deployment.provider) for _ in range(24)]
    deployment.clock.now += IDLE
    together, ended = threading.Barrier(len(instances)), []

    def reap(provider: Provider) -> None:
        together.wait()
        ended.append(provider.reaper.reap())

    threads = [threading.Thread(target=reap, args=(each,)) for each in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    deployment.provider.reaper.reap()  # an instance that found everything locked leaves it to the next round
    assert sum(ended) <= len(sids)
    assert all(session(deployment.provider, sid).end_reason == "idle" for sid in sids)
    assert all(len(owed(deployment.provider, sid)) == 1 for sid in sids)
    for each in instances[1:]:
        each.database.dispose()


def test_an_app_that_lost_access_and_got_it_again_is_told_of_the_end_again(deployment: Deployment) -> None:
    clock, _, provider = deployment
    sid = sign_in(provider)
    (client_id,) = _clients(provider, sid)
    with provider.database.writing() as tx:
        provider.consents.withdraw(tx, "alice", client_id)
    assert len(owed(provider, sid)) == 1
    assert _clients(provider, sid) == []
    clock.now += 5
    with provider.database.writing() as tx:
        found = provider.sessions.hold(tx, sid)
        assert found is not None
        provider.sessions.take_part(tx, found, provider.clients.get(tx, client_id))
    clock.now += 5
    with provider.database.writing() as tx:
        assert provider.logout.end_session(tx, sid, "signed_out") is not None
    assert [delivery.client_id for delivery in owed(provider, sid)] == [client_id, client_id]


def _clients(provider: Provider, sid: str) -> list[str]:
    with provider.database.reading() as tx:
        return provider.sessions.clients_of(tx, sid)
