"""Numbers are given after the commit: whoever has seen one never sees a smaller one appear (docs/adr/0014)."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from idp.delivery.service import DeliveryService
from idp.protocol import events
from idp.runtime.database import Base, Database, Transaction
from idp.signals import rules
from idp.signals.push import Pushing
from idp.signals.rules import NewSignal, Signal
from idp.signals.sequencer import Sequencer
from idp.signals.service import SignalService
from idp.tables import metadata
from tests.support.databases import DIALECTS, fresh

ISSUER = "https://id.example"
#: SQLite has one writer at a time, who keeps the others out altogether.
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Database]:
    database = Database(fresh(request, tmp_path), clock)
    assert metadata is Base.metadata
    metadata.create_all(database.engine)
    yield database
    database.dispose()


def log_of(database: Database) -> SignalService:
    pushing = Pushing(ISSUER, DeliveryService(database), None, None, 3600)  # type: ignore[arg-type]
    return SignalService(database, ISSUER, pushing, longest_token=300, clock_skew=60, retention=86_400)


@pytest.fixture
def log(database: Database) -> SignalService:
    return log_of(database)


def key_ended(log: SignalService, tx: Transaction, name: str) -> None:
    log.emit(tx, [NewSignal(events.KEY_REVOKED, rules.opaque(name), tx.now + 360, {})])


def after(database: Database, log: SignalService, place: int) -> list[Signal]:
    with database.reading() as tx:
        return log.after(tx, place)


def number(database: Database, log: SignalService) -> int | None:
    with database.writing() as tx:
        return log.number(tx)


def test_an_event_has_no_number_before_its_commit_and_the_next_one_after(database: Database, log: SignalService) -> None:
    for name in "abc":
        with database.writing() as tx:
            key_ended(log, tx, name)
    assert after(database, log, 0) == []
    assert number(database, log) == 3
    found = after(database, log, 0)
    assert [signal.seq for signal in found] == [1, 2, 3]
    assert {signal.subject["id"] for signal in found} == {"a", "b", "c"}
    assert number(database, log) == 0


def test_a_verification_comes_after_what_was_committed_before_it_whatever_the_clocks_say(
    database: Database, log: SignalService, clock: Clock
) -> None:
    """It proves that nothing before it is missing. Two instances, of which the second is 30 s behind."""
    with database.writing() as tx:
        key_ended(log, tx, "k")
    clock.now -= 30
    with database.writing() as tx:
        log.verification(tx, "stream", "state")
    assert number(database, log) == 2
    assert [signal.event for signal in after(database, log, 0)] == [events.KEY_REVOKED, events.VERIFICATION]


def test_what_is_rolled_back_is_never_heard_of(database: Database, log: SignalService) -> None:
    with pytest.raises(RuntimeError), database.writing() as tx:
        key_ended(log, tx, "a")
        raise RuntimeError
    assert number(database, log) == 0


@ON_POSTGRESQL
def test_a_transaction_that_commits_late_is_not_skipped_by_who_has_read_further(database: Database, log: SignalService) -> None:
    late = database.engine.connect()
    tx = Transaction(late, database.clock())
    key_ended(log, tx, "late")
    with database.writing() as early:
        key_ended(log, early, "early")
    assert number(database, log) == 1
    (seen,) = after(database, log, 0)
    assert seen.subject["id"] == "early"
    late.commit()
    late.close()
    assert number(database, log) == 1
    (then,) = after(database, log, seen.place)
    assert then.subject["id"] == "late"


def test_two_that_number_at_once_give_no_number_twice(database: Database, log: SignalService) -> None:
    """Writers and numberers race; a reader with a cursor reads every event exactly once, and in order."""
    other = log_of(database)
    stopping = threading.Event()
    failures: list[BaseException] = []

    def guarded(work) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run)

    def write(start: int) -> None:
        for name in range(start, start + 60):
            with database.writing() as tx:
                key_ended(log, tx, str(name))

    def keep_numbering(service: SignalService) -> None:
        while not stopping.is_set():
            number(database, service)

    writers = [guarded(lambda start=start: write(start)) for start in (0, 100, 200)]
    numberers = [guarded(lambda service=service: keep_numbering(service)) for service in (log, other)]
    for thread in (*writers, *numberers):
        thread.start()
    seen: list[Signal] = []
    while any(thread.is_alive() for thread in writers):
        seen += after(database, log, seen[-1].place if seen else 0)
    stopping.set()
    for thread in numberers:
        thread.join()
    assert failures == []
    number(database, log)
    seen += after(database, log, seen[-1].place if seen else 0)
    assert [signal.place for signal in seen] == list(range(1, 181))
    assert len({signal.signal_id for signal in seen}) == 180


@ON_POSTGRESQL
def test_while_one_numbers_another_does_something_else(database: Database, log: SignalService) -> None:
    with database.writing() as tx:
        key_ended(log, tx, "a")
    with database.writing() as tx:
        assert log.number(tx) == 1
        assert number(database, log_of(database)) is None
        hub = Sequencer(database, log_of(database), lambda: None)
        hub._started = True
        assert hub.once() is False
        assert hub.look.as_of == float("-inf")


def test_numbers_go_on_after_everything_was_tidied_away(database: Database, log: SignalService, clock: Clock) -> None:
    with database.writing() as tx:
        for name in "abc":
            key_ended(log, tx, name)
    number(database, log)
    clock.now += 100_000
    with database.writing() as tx:
        assert log.tidy(tx) == 2
        key_ended(log, tx, "d")
    number(database, log)
    assert [signal.seq for signal in after(database, log, 0)] == [3, 4]


def test_an_event_stays_as_long_as_a_token_that_it_names_could_live(database: Database, clock: Clock) -> None:
    log = SignalService(
        database,
        ISSUER,
        Pushing(ISSUER, DeliveryService(database), None, None, 1),
        longest_token=300,
        clock_skew=60,
        retention=1,  # type: ignore[arg-type]
    )
    with database.writing() as tx:
        key_ended(log, tx, "a")
        key_ended(log, tx, "b")
    number(database, log)
    clock.now += 359
    with database.writing() as tx:
        assert log.tidy(tx) == 0
    clock.now += 2
    with database.writing() as tx:
        assert log.tidy(tx) == 1


# -- the hub ----------------------------------------------------------------------------------------------------------


def test_a_hub_remembers_what_is_new_and_sends_those_who_are_further_behind_to_the_database(
    database: Database, log: SignalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.signals.test_rules import stream

    monkeypatch.setattr("idp.signals.sequencer.REMEMBERED", 10)
    hub = Sequencer(database, log, lambda: None)
    assert hub.once()
    for name in range(25):
        with database.writing() as tx:
            key_ended(log, tx, str(name))
        assert hub.once()
    assert hub.look.last == 25
    assert hub.remembered(stream(cursor=3), 5) is None
    found, more = hub.remembered(stream(cursor=20), 3) or ([], False)
    assert [signal.place for signal in found] == [21, 22, 23]
    assert more
    assert hub.remembered(stream(cursor=25), 5) == ([], False)


def test_a_hub_that_begins_late_knows_that_it_does_not_know_what_was_before(database: Database, log: SignalService) -> None:
    from tests.signals.test_rules import stream

    with database.writing() as tx:
        key_ended(log, tx, "a")
    number(database, log)
    hub = Sequencer(database, log, lambda: None)
    hub.once()
    assert hub.remembered(stream(cursor=0), 5) is None
    assert hub.remembered(stream(cursor=1), 5) == ([], False)


def test_keys_are_read_anew_before_anybody_is_told_of_a_revoked_one(database: Database, log: SignalService) -> None:
    order: list[str] = []
    hub = Sequencer(database, log, lambda: order.append("keys"))
    hub.once()
    hub.when_looked(lambda: order.append("told"))
    with database.writing() as tx:
        key_ended(log, tx, "a")
    hub.once()
    assert order == ["keys", "told"]
