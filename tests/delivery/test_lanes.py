"""A lane: what waits in it goes out one after another, over one connection, and in one lane of one worker at a time."""

import threading
import time
from collections.abc import Callable

import pytest
from structlog.typing import EventDict

from idp.delivery import lane_store, outbox_session, store, worker
from idp.delivery.outbox_session import FIRST_READ
from idp.delivery.rules import CIRCUIT_FAILURES, Delivery, Message, NewDelivery, Queue, delivery_id, lane_in_order
from idp.delivery.service import DeliveryService
from idp.runtime.database import Transaction
from tests.delivery.conftest import Office
from tests.delivery.receivers import Receiver, eventually


def all_arrived(office: Office) -> bool:
    return all(one.delivered_at is not None for one in office.all())


def sids(party: Receiver) -> list[str]:
    """What came, in the order in which it came."""
    return [body.decode().partition("jti=app-")[2].partition("&")[0] for body in party.bodies]


def test_what_waits_in_a_lane_goes_out_in_order_over_one_connection(office: Office, receiver) -> None:
    party = receiver()
    waiting = FIRST_READ
    for number in range(waiting):
        office.clock.now += 1
        office.send(party.url(), sid=f"s{number}")
    office.open()
    eventually(lambda: all_arrived(office))
    assert sids(party) == [f"s{number}" for number in range(waiting)]
    assert len(party.connections) == 1


def test_more_is_read_of_a_lane_before_it_runs_dry(office: Office, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LOW", FIRST_READ)
    monkeypatch.setattr(worker, "_SLOW", 60)
    party = receiver()
    party.hold()
    waiting = FIRST_READ + 40
    for number in range(waiting):
        office.clock.now += 1
        office.send(party.url(), sid=f"s{number}")
    one = office.open()
    eventually(lambda: party.requests)
    eventually(lambda: len(one._runs["app"].queue) == waiting - 1, "the rest is read too")
    assert len(party.requests) == 1, "and still goes out one after another"
    party.release()
    eventually(lambda: all_arrived(office))
    assert sids(party) == [f"s{number}" for number in range(waiting)]
    assert len(party.connections) == 1


def test_of_a_lane_that_hangs_nothing_more_is_read(office: Office, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, other, reads = receiver(), receiver(), []
    hangs.hold()
    office.open()
    office.send(hangs.url(), sid="s0")
    eventually(lambda: any(one.leased_until is not None for one in office.all()), "it is noted")
    real = lane_store.next_of

    def next_of(tx: Transaction, of: str, most: int) -> list[Delivery]:
        reads.append(of)
        return real(tx, of, most)

    monkeypatch.setattr(lane_store, "next_of", next_of)
    for number in range(1, 4):
        office.send(hangs.url(), sid=f"s{number}")
        office.send(other.url(), client_id="other", sid=f"s{number}")
        eventually(lambda: len(other.requests) == number)  # noqa: B023 - it is asked at once
    assert set(reads) == {"other"}
    hangs.release()
    eventually(lambda: all_arrived(office))
    assert sids(hangs) == [f"s{number}" for number in range(4)]


def fails_at_the_second_read(
    monkeypatch: pytest.MonkeyPatch, party, running: Callable[[], worker.Worker]
) -> list[list[Delivery]]:
    """What is read of lanes. While more of one is read, the first attempt in it fails: its party is let go, and waited for."""
    real, reads = lane_store.next_of, list[list[Delivery]]()

    def next_of(tx: Transaction, of: str, most: int) -> list[Delivery]:
        found = real(tx, of, most)
        reads.append(found)
        if len(reads) == 2:
            party.release()
            eventually(lambda: not running()._runs)
        return found

    monkeypatch.setattr(lane_store, "next_of", next_of)
    return reads


def test_what_has_a_place_is_not_overtaken_by_what_is_read_while_it_fails(
    office: Office, receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LOW", FIRST_READ)
    monkeypatch.setattr(outbox_session, "FIRST_READ", 4)
    party, lane = receiver(), lane_in_order("stream")
    party.hold()
    party.answers(503, 200)
    with office.database.writing() as tx:
        for place in range(1, 13):
            one = NewDelivery("test", "app", None, None, party.url(), {"jti": f"app-{place}"}, tx.now + 60, lane, place)
            office.service.enqueue(tx, [one])
    fails_at_the_second_read(monkeypatch, party, lambda: running)
    running = office.open()
    eventually(lambda: party.requests)
    time.sleep(0.3)  # several looks
    party.release()
    eventually(lambda: any(one.attempts == 1 and one.leased_until is None for one in office.all()), "the failure")
    office.clock.now += 10
    office.service.wake()
    eventually(lambda: all_arrived(office))
    assert sids(party) == ["1", *map(str, range(1, 13))]


def test_what_is_read_of_a_lane_while_its_party_fails_does_not_overtake_what_the_failure_gives_back(
    office: Office, receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_SLOW", 60)
    monkeypatch.setattr(outbox_session, "FIRST_READ", 3)
    party = receiver()
    party.hold()
    party.answers(503, 200)
    for number in range(6):
        office.clock.now += 1
        office.send(party.url(), sid=f"s{number}")
    reads = fails_at_the_second_read(monkeypatch, party, lambda: running)
    running = office.open()
    eventually(lambda: sum(one.delivered_at is not None for one in office.all()) == 5)
    assert len(reads[1]) == 6
    assert sids(party) == [f"s{number}" for number in range(6)]
    office.clock.now += 10
    office.service.wake()
    eventually(lambda: all_arrived(office))


def test_a_party_that_closes_each_connection_is_told_everything_once(office: Office, receiver) -> None:
    party = receiver()
    party.keeps_open = False
    for number in range(5):
        office.send(party.url(), sid=f"s{number}")
    office.open()
    eventually(lambda: all_arrived(office))
    assert sorted(sids(party)) == [f"s{number}" for number in range(5)]
    assert len(party.connections) == 5


def test_the_first_failure_gives_the_rest_back_unattempted(office: Office, receiver) -> None:
    party = receiver()
    party.hold()
    party.answers(503)
    for number in range(10):
        office.send(party.url(), sid=f"s{number}")
    office.open()
    eventually(lambda: party.requests)
    office.clock.now += 0.001
    party.answers(503, 200)
    party.release()
    eventually(lambda: sum(one.delivered_at is not None for one in office.all()) == 9, "the nine others")
    (failed,) = (one for one in office.all() if one.delivered_at is None)
    assert failed.attempts == 1
    assert {one.attempts for one in office.all()} == {1}


def test_nothing_overtakes_what_waits_of_the_same_session(office: Office, receiver) -> None:
    party = receiver()
    party.answers(503, 200)
    office.send(party.url(), sid="s1", once="first")
    office.clock.now += 1
    office.send(party.url(), sid="s1", once="second")
    office.open()
    eventually(lambda: sum(one.attempts for one in office.all()) == 1)
    office.send(party.url(), sid="s2")
    eventually(lambda: sum(one.delivered_at is not None for one in office.all()) == 1, "another session goes on")
    first = next(one for one in office.all() if one.delivery_id == delivery_id("test", "app", "first"))
    assert first.delivered_at is None
    office.clock.now = first.next_attempt_at
    office.service.wake()
    eventually(lambda: all_arrived(office))
    assert [body.partition(b"&")[0] for body in party.bodies] == [
        b"jti=app-s1", b"jti=app-s2", b"jti=app-s1", b"jti=app-s1",
    ]  # fmt: skip


def test_a_lane_is_one_workers_at_a_time(office: Office, receiver) -> None:
    party = receiver()
    party.hold()
    office.open()
    office.open(poll_seconds=0.01, service=DeliveryService(office.database))
    office.send(party.url(), sid="s1")
    eventually(lambda: party.requests)
    office.send(party.url(), sid="s2")
    healthy = receiver()
    office.send(healthy.url(), client_id="healthy")
    try:
        eventually(lambda: healthy.requests)
    except AssertionError:
        print(
            [
                (o.client_id, o.attempts, o.leased_until, o.dead_at, o.next_attempt_at - office.clock.now, o.delivered_at)
                for o in office.all()
            ]
        )
        raise
    assert len(party.requests) == 1
    party.release()
    eventually(lambda: all_arrived(office))


def test_a_client_may_have_several_lanes(office: Office, receiver) -> None:
    office.service = DeliveryService(office.database, lanes=4)
    party = receiver()
    party.hold()
    office.open()
    for number in range(40):
        office.send(party.url(), sid=f"s{number}")
    eventually(lambda: len(party.requests) == 4, "four at once")
    party.release()
    eventually(lambda: all_arrived(office))
    assert len(party.requests) == 40


def test_a_failure_of_our_own_is_not_held_against_the_party(office: Office, receiver) -> None:
    party = receiver()
    broken = True

    def compose(delivery: Delivery, _now: float) -> Message:
        if broken:
            raise RuntimeError
        return Message(delivery.delivery_id.encode(), "text/plain")

    for number in range(20):
        office.send(party.url(), sid=f"s{number}")
    office.open(composer=compose)
    eventually(lambda: all(one.attempts == 1 and one.leased_until is None for one in office.all()))
    with office.database.reading() as tx:
        assert office.service.parties(tx) == []
    broken = False
    office.clock.now += 10
    office.service.wake()
    eventually(lambda: all_arrived(office))


def test_a_queue_that_is_too_long_gives_up_what_failed_most_and_can_be_sent_again(office: Office, receiver) -> None:
    dead, healthy = receiver(), receiver()
    dead.answers(503)
    for number in range(10):
        office.send(dead.url(), client_id="dead", sid=f"s{number}")
    first = office.open()
    eventually(lambda: sum(one.attempts == 1 and one.leased_until is None for one in office.all()) == CIRCUIT_FAILURES)
    assert first.stop(20)
    office.send(healthy.url(), client_id="healthy")
    office.open(queue_limit=7)
    eventually(lambda: healthy.requests)
    given_up = [one for one in office.all() if one.dead_at is not None]
    assert [one.client_id for one in given_up] == ["dead"] * 4
    assert {one.last_error for one in given_up} == {"the queue was full"}
    assert min(one.attempts for one in given_up) > 0
    dead.answers(200)
    with office.database.writing() as tx:
        assert office.service.retry_of_client(tx, "dead") == 4
    office.clock.now += 2
    office.service.wake()
    eventually(lambda: all_arrived(office))


def test_workers_that_find_the_queue_too_long_at_the_same_moment_give_up_the_surplus_once(
    office: Office, events: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(15):
        office.send("http://127.0.0.1:9/", sid=f"s{number}")
    both, real, counted = threading.Barrier(2), store.queue, list[Queue]()

    def queue(tx: Transaction) -> Queue:
        found = real(tx)
        counted.append(found)
        if len(counted) <= 2:
            both.wait(20)
        return found

    monkeypatch.setattr(store, "queue", queue)
    books = [
        outbox_session.OutboxSession(
            office.database, concurrency=4, poll_seconds=60, lease=60, queue_limit=10, jitter=lambda: 0.5
        )
        for _ in range(2)
    ]
    threads = [threading.Thread(target=book._measure) for book in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.dead_at is not None for one in office.all()) == 5
    assert [one["given_up"] for one in events if one["event"] == "delivery.queue_full"] == [5]


@pytest.mark.parametrize("answer", [200, 400, 503])
def test_what_came_of_something_withdrawn_is_not_written_to_what_took_its_place(office: Office, receiver, answer: int) -> None:
    old, new = receiver(), receiver()
    old.answers(answer)
    old.hold()
    office.send(old.url(), once="the same")
    office.open(lease=60)
    eventually(lambda: old.requests)
    with office.database.writing() as tx:
        office.service.withdraw(tx, "app")
    office.clock.now += 1
    office.send(new.url(), once="the same")
    again = office.only()
    assert (again.uri, again.delivered_at) == (new.url(), None)
    old.release()
    eventually(lambda: office.only().delivered_at is not None, "it is delivered where it belongs now")
    assert len(new.requests) == 1
    assert office.only().attempts == 1
