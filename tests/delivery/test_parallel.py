"""Lanes, leases, and several workers at once."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from idp.delivery import lane_store, store
from idp.delivery.models import LaneRow
from idp.delivery.rules import Outcome
from idp.delivery.service import DeliveryService
from idp.delivery.worker import Worker
from idp.runtime.database import table_of
from idp.runtime.outbound.client import Outbound
from tests.delivery.conftest import Office, compose
from tests.delivery.receivers import Receiver, eventually

Receivers = Callable[[], Receiver]


def delivered(office: Office) -> set[str]:
    return {one.client_id for one in office.all() if one.delivered_at is not None}


def leased(office: Office) -> set[str]:
    with office.database.reading() as tx:
        return set(tx.execute(select(table_of(LaneRow).c.lane)).scalars())


def test_one_relying_party_that_hangs_delays_none_of_nine(office: Office, receiver: Receivers) -> None:
    hanging, healthy = receiver(), receiver()
    hanging.hold()
    office.open(timeout=30, lease=60)
    for sid in range(30):  # a backlog twice as large as the pool
        office.send(hanging.url(), client_id="hanging", sid=f"s{sid}")
    eventually(lambda: hanging.requests)
    for number in range(9):
        office.send(healthy.url(), client_id=f"healthy-{number}")
    eventually(lambda: delivered(office) == {f"healthy-{number}" for number in range(9)})
    assert len(hanging.requests) == 1, "one lane, one attempt in flight"
    hanging.release()
    eventually(lambda: "hanging" in delivered(office) and len(hanging.requests) == 30)


def test_where_places_are_short_first_attempts_go_before_repeated_ones(office: Office, receiver: Receivers) -> None:
    held, failing, fresh = receiver(), receiver(), receiver()
    failing.answers(500)
    office.send(failing.url(), client_id="failing")
    office.open(concurrency=1, timeout=30, lease=60)
    office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    held.hold()
    office.send(held.url(), client_id="held")
    eventually(lambda: held.requests)
    office.clock.now += 10
    office.send(fresh.url(), client_id="fresh")
    held.release()
    eventually(lambda: len(failing.requests) == 2)
    assert len(fresh.requests) == 1
    assert fresh.requests[0].at < failing.requests[1].at


def test_workers_side_by_side_never_send_one_delivery_twice(office: Office, receiver: Receivers) -> None:
    parties = [receiver() for _ in range(5)]
    for number in range(200):
        office.send(parties[number % 5].url(), client_id=f"app-{number % 5}", sid=f"s{number}")
    for _ in range(4):  # each with a service of its own, as in processes of their own
        office.open(poll_seconds=0.01, service=DeliveryService(office.database))
    eventually(lambda: all(one.delivered_at for one in office.all()))
    sent = Counter(body for party in parties for body in party.bodies)
    assert len(sent) == 200
    assert set(sent.values()) == {1}
    assert {one.attempts for one in office.all()} == {1}


def test_claims_at_the_same_moment_share_nothing(office: Office) -> None:
    for number in range(50):
        office.send("http://127.0.0.1:9/", client_id=f"app-{number}")
    wanted = [one.delivery_id for one in office.all()]
    taken: list[str] = []
    together = threading.Barrier(8)

    def take(name: str, wanted: list[str]) -> None:
        together.wait()
        with office.database.writing() as tx:
            for lane in lane_store.take(tx, name, wanted, 60):
                taken.extend(one.delivery_id for one in lane_store.next_of(tx, lane, 10))

    names = [f"app-{number}" for number in range(50)]
    threads = [threading.Thread(target=take, args=(f"worker {n}", random.sample(names, 50))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(wanted)


def test_what_a_killed_worker_had_taken_is_taken_over_when_its_lease_is_over(office: Office, receiver: Receivers) -> None:
    party = receiver()
    office.send(party.url())
    with office.database.writing() as tx:
        assert lane_store.take(tx, "killed", ["app"], 60) == {"app"}
        lost = lane_store.next_of(tx, "app", 1)
        store.note(tx, lost, tx.now + 60)
    office.open()
    office.clock.now += 55
    office.service.wake()
    assert office.state() == "in-flight"
    assert party.requests == []
    office.clock.now += 10
    office.service.wake()
    done = office.until(lambda one: one.delivered_at is not None)
    assert done.attempts == lost[0].attempts + 1


def test_a_worker_that_lost_its_lease_overwrites_nothing_but_an_arrival_counts(office: Office) -> None:
    office.send("http://127.0.0.1:9/")
    with office.database.writing() as tx:
        lane_store.take(tx, "slow", ["app"], 60)
        (one,) = lane_store.next_of(tx, "app", 1)
    office.clock.now += 61
    before = office.only()
    with office.database.writing() as tx:
        assert lane_store.take(tx, "quick", ["app"], 60) == {"app"}
        assert lane_store.renew(tx, "slow", ["app"], 120) == set()
        lane_store.give_back(tx, "slow", ["app"])
        refused = Outcome(None, tx.now, tx.now, 400, "answered 400")
        assert store.settle(tx, office.database.dialect, "slow", [(one, refused)]) == set()
        assert lane_store.take(tx, "third", ["app"], 60) == set(), "it is the quick one's still"
    assert office.only() == before
    with office.database.writing() as tx:
        arrived = Outcome(tx.now, None, tx.now, 200, None)
        assert store.settle(tx, office.database.dialect, "slow", [(one, arrived)]) == {one.delivery_id}
        assert store.settle(tx, office.database.dialect, "quick", [(one, refused)]) == set()
    assert office.state() == "delivered"


class Trouble:
    """Makes a function fail so many times, as when the database is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, times: int) -> None:
        self.left = times
        self._real = getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __call__(self, *arguments: object) -> object:
        if self.left > 0:
            self.left -= 1
            raise OperationalError("", {}, Exception("the database is away"))
        return self._real(*arguments)


def test_an_arrival_is_written_down_though_the_database_was_away(
    office: Office, receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    party = receiver()
    trouble = Trouble(monkeypatch, store, "settle", 3)
    office.open(poll_seconds=0.02)
    office.send(party.url())
    eventually(lambda: trouble.left == 0)
    office.until(lambda one: one.delivered_at is not None)
    assert len(party.requests) == 1


def test_a_failure_that_could_not_be_written_down_is_attempted_again_after_its_lease(
    office: Office, receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    party = receiver()
    party.answers(500, 200)
    trouble = Trouble(monkeypatch, store, "settle", 10**9)
    office.open(poll_seconds=0.02, lease=30)
    office.send(party.url())
    eventually(lambda: trouble.left < 10**9)
    assert len(party.requests) == 1, "the lane is ours, and what came of it is not known"
    office.clock.now += 30
    trouble.left = 0
    office.until(lambda one: one.delivered_at is not None)
    assert len(party.requests) == 2


@pytest.mark.parametrize("what", ["waiting", "take", "next_of"])
def test_a_database_that_fails_before_the_attempt_stops_no_worker(
    office: Office, receiver: Receivers, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    party = receiver()
    Trouble(monkeypatch, lane_store, what, 3)
    office.open(poll_seconds=0.02)
    office.send(party.url())
    office.until(lambda one: one.delivered_at is not None)
    assert len(party.requests) == 1


def test_stopping_waits_for_what_is_in_flight_and_takes_nothing_more(office: Office, receiver: Receivers) -> None:
    party = receiver()
    party.hold()
    worker = office.open(timeout=30, lease=60)
    office.send(party.url(), client_id="a")
    eventually(lambda: party.requests)
    assert not worker.stop(0.05)
    office.send(party.url(), client_id="b")
    party.release()
    assert worker.stop(20)
    assert delivered(office) == {"a"}


def test_while_one_party_hangs_a_worker_that_stops_writes_down_the_rest_and_gives_their_lanes_back(
    office: Office, receiver: Receivers
) -> None:
    hanging, slow = receiver(), receiver()
    hanging.hold()
    slow.hold()
    worker = office.open(timeout=30, lease=60)
    for number in range(20):
        office.send(slow.url(), client_id=f"slow-{number % 4}", sid=f"s{number}")
    office.send(hanging.url(), client_id="hanging")
    eventually(lambda: len(slow.requests) == 4 and hanging.requests)
    assert not worker.stop(0.05)
    slow.release()
    eventually(lambda: leased(office) == {"hanging"})
    assert sum(one.delivered_at is not None for one in office.all()) == len(slow.requests) == 4
    office.open()
    eventually(lambda: len(slow.requests) == 20, "another worker goes on with them")
    assert len(hanging.requests) == 1, "this attempt is in flight"
    hanging.release()
    assert worker.stop(20)
    eventually(lambda: leased(office) == set())
    assert all(one.delivered_at is not None and one.attempts == 1 for one in office.all())


def test_a_process_may_lend_its_own_thread(office: Office, receiver: Receivers) -> None:
    worker = Worker(office.database, office.service, Outbound(allow_loopback=True), {"test": compose}, poll_seconds=3600)
    thread = threading.Thread(target=worker.run_forever)
    thread.start()
    office.send(receiver().url())
    office.until(lambda one: one.delivered_at is not None)
    assert worker.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_lease_shorter_than_an_attempt_is_an_error(office: Office) -> None:
    with pytest.raises(ValueError, match="lease"):
        Worker(office.database, office.service, Outbound(timeout=5), {}, lease=5)
