"""A party that does not answer is left alone: its circuit opens, is probed, and closes when it answers; others notice nothing."""

import threading

import pytest
from prometheus_client import REGISTRY

from idp.delivery import lane_store, outbox_session, store
from idp.delivery.rules import CIRCUIT_FAILURES, LONGEST_OPEN, SOON, Delivery, NewDelivery, Party, open_for
from idp.runtime.outbound import resolver
from idp.runtime.outbound.client import Outbound
from tests.delivery.conftest import Office
from tests.delivery.receivers import Receiver, eventually


def parties(office: Office) -> list[Party]:
    with office.database.reading() as tx:
        return office.service.parties(tx)


def fail(office: Office, times: int) -> None:
    """Let so many attempts fail, one after the other."""
    for _ in range(times):
        before = sum(one.attempts for one in office.all())
        office.clock.now = max(
            [min(one.next_attempt_at for one in office.all() if one.dead_at is None), *(p.open_until for p in parties(office))]
        )
        office.service.wake()
        eventually(
            lambda before=before: (
                sum(one.attempts for one in office.all()) > before and all(one.leased_until is None for one in office.all())
            ),
            "an attempt",
        )


def open_circuit(office: Office, dead: Receiver) -> None:
    """Let a party fail until nothing is sent to it any more."""
    dead.answers(503)
    office.send(dead.url())
    office.open()
    eventually(lambda: office.only().attempts == 1 and office.only().leased_until is None, "the first attempt")
    fail(office, CIRCUIT_FAILURES - 1)


def test_it_stays_closed_for_a_few_failures_then_opens_for_longer_and_longer() -> None:
    assert [open_for(n, 0.5) for n in range(CIRCUIT_FAILURES)] == [0.0] * CIRCUIT_FAILURES
    assert [open_for(CIRCUIT_FAILURES + n, 0.5) for n in range(3)] == [1.0, 2.0, 4.0]
    assert open_for(1_000, 0.5) == LONGEST_OPEN


def test_while_it_is_open_nothing_is_sent_and_what_comes_new_waits_too(office: Office, receiver) -> None:
    dead = receiver()
    open_circuit(office, dead)
    (party,) = parties(office)
    assert (party.client_id, party.failures) == ("app", CIRCUIT_FAILURES)
    assert party.open_until > office.clock()
    assert "503" in str(party.last_error)
    sent = len(dead.bodies)
    office.clock.now = party.open_until - 0.001
    office.send(dead.url(), sid="s2")
    healthy = receiver()
    office.send(healthy.url(), client_id="other", sid="s3")
    eventually(lambda: len(healthy.bodies) == 1, "the other party is served")
    assert len(dead.bodies) == sent


def test_the_probe_that_is_answered_closes_it_and_everything_goes_out(office: Office, receiver) -> None:
    dead = receiver()
    open_circuit(office, dead)
    for number in range(5):
        office.send(dead.url(), sid=f"later-{number}")
    dead.answers(200)
    office.clock.now = max(parties(office)[0].open_until, *(one.next_attempt_at for one in office.all()))
    office.service.wake()
    eventually(lambda: all(one.delivered_at for one in office.all()), "everything arrived")
    assert parties(office) == []


def work_of_a_look(office: Office) -> int:
    """What a look at the lanes reads: steps of SQLite's machine, pages of PostgreSQL."""
    steps: list[int] = []
    with office.database.reading() as tx:
        driver = tx.connection.connection.dbapi_connection
        if office.database.dialect == "sqlite":
            driver.set_progress_handler(lambda: steps.append(1), 10)
            assert lane_store.waiting(tx, "this").heads == []
            driver.set_progress_handler(None, 0)
            return len(steps)
        assert lane_store.waiting(tx, "this").heads == []
        compiled = lane_store._WAITING.compile(dialect=tx.connection.dialect)
        given = dict(compiled.params) | {"now": tx.now, "shift": tx.shift}
        plan = tx.connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}", given).scalar()
        return int(plan[0]["Plan"]["Shared Hit Blocks"])


def test_a_look_costs_the_same_however_much_waits_for_a_party_that_does_not_answer(office: Office) -> None:
    with office.database.writing() as tx:
        store.failed(tx, office.database.dialect, [Party("app", 50, tx.now, tx.now + 1_000, "refused")])
    office.send("http://127.0.0.1:9/", sid="first")
    few = work_of_a_look(office)
    with office.database.writing() as tx:
        news = [
            NewDelivery("test", "app", f"s{n}", f"s{n}", "http://127.0.0.1:9/", {"jti": str(n)}, tx.now + 60)
            for n in range(2_000)
        ]
        office.service.enqueue(tx, news)
    assert work_of_a_look(office) < 3 * few


def test_what_expires_dies_though_the_circuit_is_open(office: Office, receiver) -> None:
    dead = receiver()
    office.send(dead.url(), lifetime=10)
    with office.database.writing() as tx:
        store.failed(tx, office.database.dialect, [Party("app", 50, office.clock(), office.clock() + 1_000, "refused")])
    office.open()
    office.clock.now += 60
    office.service.wake()
    assert office.until(lambda one: one.dead_at is not None).last_error == "expired; never attempted"
    assert dead.bodies == []


def test_much_that_expires_dies_a_part_at_a_time_and_at_once(office: Office, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_session, "_EXPIRED_AT_ONCE", 2)
    for number in range(5):
        office.send(receiver().url(), sid=f"s{number}", lifetime=10)
    with office.database.writing() as tx:
        store.failed(tx, office.database.dialect, [Party("app", 50, office.clock(), office.clock() + 1_000, "refused")])
    office.clock.now += 60
    office.open(poll_seconds=0.02)
    eventually(lambda: all(one.dead_at for one in office.all()), "all are dead, though no time passes")


def test_an_operator_sends_everything_of_a_client_again(office: Office, receiver) -> None:
    refuses, other = receiver(), receiver()
    refuses.answers(400)
    other.answers(400)
    for number in range(3):
        office.send(refuses.url(), sid=f"s{number}")
    office.send(other.url(), client_id="other")
    office.open()
    eventually(lambda: all(one.dead_at for one in office.all()), "all are dead")
    refuses.answers(200)
    with office.database.writing() as tx:
        assert office.service.retry_of_client(tx, "app") == 3
    eventually(lambda: sum(one.delivered_at is not None for one in office.all()) == 3, "the client's arrived")
    assert [one.client_id for one in office.all() if one.delivered_at is None] == ["other"]


def test_what_waits_is_counted(office: Office, receiver) -> None:
    dead = receiver()
    dead.answers(503)
    office.send(dead.url(), lifetime=600)
    office.send(dead.url(), sid="s2", lifetime=600)
    office.open()
    office.clock.now += 73  # an age of which no other test leaves a trace in the registry
    office.service.wake()
    eventually(lambda: REGISTRY.get_sample_value("idp_delivery_queue_oldest_seconds") == 73.0, "the age")
    assert REGISTRY.get_sample_value("idp_delivery_queue_depth") == 2.0


def test_parties_whose_names_hang_take_no_innocent_one_down(office: Office, receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MOST", 2)
    released, fine = threading.Event(), receiver()

    def resolve(host: str, _port: int) -> list[str]:
        if host != "fine.example":
            released.wait(60)
        return ["127.0.0.1"]

    worker = office.open(timeout=0.4)
    worker._outbound = Outbound(allow_loopback=True, timeout=0.4, resolver=resolve)
    for name in ("hangs", "too"):
        office.send(f"http://{name}.example:{fine.port}/", client_id=name)
    eventually(lambda: len(parties(office)) == 2)
    office.send(f"http://fine.example:{fine.port}/", client_id="fine")
    for times in range(1, CIRCUIT_FAILURES + 2):
        eventually(lambda times=times: waiting(office, "fine").attempts == times and waiting(office, "fine").last_error)
        one = waiting(office, "fine")
        assert "too many names" in str(one.last_error)
        eventually(lambda: waiting(office, "fine").leased_until is None)
        assert waiting(office, "fine").next_attempt_at == office.clock.now + SOON
        office.clock.now += SOON
        office.service.wake()
    assert "fine" not in {party.client_id for party in parties(office)}
    released.set()
    office.clock.now += 100
    office.service.wake()
    eventually(lambda: waiting(office, "fine").delivered_at is not None)


def waiting(office: Office, client_id: str) -> Delivery:
    (found,) = (one for one in office.all() if one.client_id == client_id)
    return found
