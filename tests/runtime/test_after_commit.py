"""What comes after a commit: each by itself, wakes first, and never the failure of what is committed."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from idp import app
from idp.config import Settings
from idp.runtime import audit
from idp.runtime.database import Database, Transaction
from idp.runtime.listeners import Listeners
from idp.runtime.migrations import upgrade
from tests.support.databases import DIALECTS, fresh


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(fresh(request, tmp_path))
    with made.writing() as tx:
        tx.execute(text("CREATE TABLE things (number INTEGER)"))
    yield made
    made.dispose()


def fail() -> None:
    raise RuntimeError("whatever")


class RefusedAndRemembered(Exception):
    keep_changes = True


def ask(tx: Transaction, done: list[str]) -> None:
    tx.after_commit(lambda: done.append("told"))
    tx.after_commit(fail)
    tx.wake_after_commit(fail)
    tx.after_commit(lambda: done.append("told as well"))
    tx.wake_after_commit(lambda: done.append("woken"))


def test_each_is_done_by_itself_and_those_who_wait_are_woken_first(database: Database) -> None:
    done: list[str] = []
    with capture_logs() as logs, database.writing() as tx:
        tx.execute(text("INSERT INTO things VALUES (1)"))
        ask(tx, done)
    assert done == ["woken", "told", "told as well"]
    assert [entry["event"] for entry in logs] == ["database.after_commit_failed"] * 2
    with database.reading() as tx:
        assert tx.execute(text("SELECT count(*) FROM things")).scalar() == 1


def test_what_a_refusal_keeps_is_followed_by_all_of_it_and_the_refusal_is_what_is_raised(database: Database) -> None:
    done: list[str] = []
    with pytest.raises(RefusedAndRemembered), database.writing() as tx:
        ask(tx, done)
        raise RefusedAndRemembered
    assert done == ["woken", "told", "told as well"]


def test_after_reading_as_well(database: Database) -> None:
    done: list[str] = []
    with database.reading() as tx:
        ask(tx, done)
    assert done == ["woken", "told", "told as well"]


def test_what_is_rolled_back_is_followed_by_nothing(database: Database) -> None:
    done: list[str] = []
    with pytest.raises(ZeroDivisionError), database.writing() as tx:
        ask(tx, done)
        raise ZeroDivisionError
    assert done == []


def test_each_listener_is_told_by_itself() -> None:
    heard: list[str] = []
    listeners = Listeners()
    for listener in (lambda: heard.append("one"), fail, lambda: heard.append("other")):
        listeners.add(listener)
    with capture_logs() as logs:
        listeners.tell()
    assert heard == ["one", "other"]
    assert [entry["event"] for entry in logs] == ["process.listener_failed"]


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[app.Provider]:
    provider = app.build(Settings(data_dir=tmp_path))
    upgrade(provider.database)
    provider.keys.keep_up()
    yield provider
    provider.database.dispose()


def test_a_request_whose_change_is_committed_is_answered_so_whatever_fails_after_it(
    provider: app.Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code was spent and the answer a 500: its retry was a replay, and ended the family."""
    with provider.database.writing() as tx:
        client = provider.clients.add(
            tx, {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": [], "scope": "api"}
        ).response()
    http = app.create_app(provider).test_client()

    def broken(*_: object, **__: object) -> None:
        raise OSError("whatever comes after a commit")

    monkeypatch.setattr(audit, "record", broken)
    answer = http.post(
        "/token",
        data={"grant_type": "client_credentials"},
        auth=(client["client_id"], client["client_secret"]),
    )
    assert answer.status_code == 200, answer.get_json()
    assert answer.get_json()["access_token"]


def test_the_worker_and_the_hub_are_woken_though_another_listener_fails(provider: app.Provider) -> None:
    woken = threading.Event()
    provider.deliveries.when_woken(fail)
    provider.deliveries.when_woken(woken.set)
    provider.signals.when_woken(fail)
    provider.deliveries.wake()
    provider.signals.wake()
    assert woken.is_set()
    assert provider.hub._woken.is_set()
