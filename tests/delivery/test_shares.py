"""Much waits, and several workers are there: each has its share of the lanes, and asks no more often than it must."""

from collections.abc import Collection

import pytest

from idp.delivery import lane_store, outbox_session
from idp.delivery.outbox_session import Finished, OutboxSession, Round, Underway
from idp.delivery.rules import Result, Verdict
from idp.runtime.database import Transaction
from tests.delivery.conftest import Office

NOWHERE = "http://127.0.0.1:9/backchannel"
LEASE = 60.0
LANES = 4


def book(office: Office) -> OutboxSession:
    """The books of a worker of its own."""
    return OutboxSession(office.database, concurrency=16, poll_seconds=60, lease=LEASE, queue_limit=1000, jitter=lambda: 0.5)


def arrive(office: Office, book: OutboxSession, round_: Round, of: Collection[str]) -> None:
    """Whatever was read of these lanes has been delivered."""
    done = [each for lane in of for each in round_.batches[lane]]
    book.take_in([Finished(each, Result(Verdict.DELIVERED, 200), office.clock(), office.clock() + LEASE) for each in done])


@pytest.fixture
def backlog(office: Office, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Five wait in each of four lanes, and one of each is read at first."""
    monkeypatch.setattr(outbox_session, "FIRST_READ", LANES)
    for number in range(LANES * 5):
        office.send(NOWHERE, client_id=f"app-{number % LANES}", sid=f"s{number}")
    return office


def test_a_worker_that_comes_late_gets_its_share_of_the_lanes_that_end(backlog: Office) -> None:
    first, late = book(backlog), book(backlog)
    found = first.look(Underway())
    assert len(found.batches) == LANES
    assert late.look(Underway()).batches == {}
    arrive(backlog, first, found, found.batches)
    mine = first.look(Underway()).batches
    others = late.look(Underway()).batches
    assert len(mine) == len(others) == LANES // 2
    assert not mine.keys() & others.keys()


def test_a_worker_alone_goes_on_with_every_lane(backlog: Office) -> None:
    only = book(backlog)
    found = only.look(Underway())
    arrive(backlog, only, found, found.batches)
    assert len(only.look(Underway()).batches) == LANES


def test_a_worker_that_is_not_asked_for_lanes_goes_on_with_its_own(backlog: Office) -> None:
    first, other = book(backlog), book(backlog)
    found = first.look(Underway())
    backlog.send(NOWHERE, client_id="slow")
    assert other.look(Underway()).batches.keys() == {"slow"}
    arrive(backlog, first, found, found.batches)
    assert len(first.look(Underway()).batches) == LANES


def test_lanes_that_were_left_to_a_worker_that_has_died_are_taken_again(
    backlog: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_session, "_LEFT_SECONDS", 0.0)
    first, dying = book(backlog), book(backlog)
    found = first.look(Underway())
    assert dying.look(Underway()).batches == {}
    arrive(backlog, first, found, found.batches)
    kept = first.look(Underway()).batches
    assert len(kept) == LANES // 2
    assert len(first.look(Underway(lanes=kept)).batches) == LANES - len(kept)


def test_a_share_is_asked_for_once_and_given_back_at_the_end(backlog: Office) -> None:
    first, late = book(backlog), book(backlog)
    first.look(Underway())
    late.look(Underway())

    def claims() -> int:
        with backlog.database.reading() as tx:
            return lane_store.waiting(tx, "this").claims

    assert claims() == 1
    late.write_down()
    assert claims() == 0
    late = book(backlog)
    late.look(Underway())
    late.look(Underway())
    backlog.clock.now += 5.5
    assert claims() == 0, "it is over by itself"
    late.look(Underway())
    assert claims() == 1


def test_more_of_a_lane_under_way_is_read_without_asking_what_else_waits(
    backlog: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = book(backlog)
    found = only.look(Underway())
    asked: list[Transaction] = []
    monkeypatch.setattr(lane_store, "waiting", lambda tx, _: asked.append(tx))
    low = {lane: {each.delivery_id for each in batch} for lane, batch in found.batches.items()}
    more = only.look(Underway(lanes=low, low=low, is_woken=False)).batches
    assert {lane: len(batch) for lane, batch in more.items()} == dict.fromkeys(low, 4)
    assert only.look(Underway(lanes=low, low=low, is_woken=False)).batches == {}, "there is no more, as far as it knows"
    assert asked == []


@pytest.mark.parametrize(
    "where",
    [(lane_store, "waiting"), (OutboxSession, "_measure"), (lane_store, "take")],
    ids=["looking", "measuring", "taking"],
)
def test_a_wake_is_not_forgotten_where_the_database_fails(
    backlog: Office, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str]
) -> None:
    only = book(backlog)
    first = only.look(Underway())
    backlog.send(NOWHERE, client_id="new")
    with monkeypatch.context() as patch:
        patch.setattr(*where, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            only.look(Underway(lanes=first.batches, is_woken=True))
    assert set(only.look(Underway(lanes=first.batches, is_woken=False)).batches) == {"new"}


def test_a_worker_that_has_little_asks_for_its_share_though_it_is_not_idle(backlog: Office) -> None:
    first, late = book(backlog), book(backlog)
    first.look(Underway())
    backlog.send(NOWHERE, client_id="little")
    found = late.look(Underway())
    assert found.batches.keys() == {"little"}
    arrive(backlog, late, found, found.batches)
    late.look(Underway())
    with backlog.database.reading() as tx:
        assert lane_store.waiting(tx, "this").claims == 1
