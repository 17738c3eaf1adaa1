"""Where everything has a place, nothing overtakes what waits before it, however that fails."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from idp.delivery import store
from idp.delivery.outbox_session import OutboxSession
from idp.delivery.rules import Delivery, Message, NewDelivery, Outcome, lane_in_order
from idp.runtime.outbound.client import Outbound
from tests.delivery.conftest import Office, compose
from tests.delivery.receivers import Receiver, eventually
from tests.support.databases import waits_for_a_lock

Receivers = Callable[[], Receiver]
LANE = lane_in_order("stream")


def hand_over(office: Office, uri: str, *places: int, lifetime: float = 600) -> None:
    with office.database.writing() as tx:
        office.service.enqueue(
            tx,
            [
                NewDelivery("test", "app", None, f"{uri} {place}", uri, {"jti": str(place)}, tx.now + lifetime, LANE, place)
                for place in places
            ],
        )


def places(party: Receiver) -> list[int]:
    """What came, in the order in which it came."""
    return [int(body.decode().partition("jti=")[2].partition("&")[0]) for body in party.bodies]


def failed_once(office: Office) -> bool:
    return [one.attempts for one in office.all() if one.place == 1 and one.leased_until is None] == [1]


def go_on(office: Office) -> None:
    office.clock.now += 10
    office.service.wake()
    eventually(lambda: all(one.delivered_at is not None for one in office.all()))


def test_a_name_that_resolves_to_a_forbidden_address_once_lets_nothing_pass(office: Office, receiver: Receivers) -> None:
    party, address = receiver(), ["10.0.0.7"]
    worker = office.open()
    worker._outbound = Outbound(allow_loopback=True, resolver=lambda _host, _port: list(address))
    hand_over(office, f"http://rp.example:{party.port}/", 1, 2)
    eventually(lambda: failed_once(office))
    assert [one.dead_at for one in office.all()] == [None, None]
    address[0] = "127.0.0.1"
    hand_over(office, f"http://rp.example:{party.port}/", 3)
    go_on(office)
    assert places(party) == [1, 2, 3]


def test_a_message_that_cannot_be_made_lets_nothing_pass(office: Office, receiver: Receivers) -> None:
    party, troubles = receiver(), [ValueError("the authorization header was sealed under another secret")]

    def fragile(delivery: Delivery, now: float) -> Message:
        if troubles:
            raise troubles.pop()
        return compose(delivery, now)

    office.open(composer=fragile)
    hand_over(office, party.url(), 1, 2)
    eventually(lambda: failed_once(office))
    go_on(office)
    assert places(party) == [1, 2]


def test_a_queue_that_is_too_long_gives_up_nothing_that_has_a_place(office: Office, receiver: Receivers) -> None:
    party = receiver()
    party.answers(503)
    first = office.open()
    hand_over(office, party.url(), *range(1, 6))
    eventually(lambda: failed_once(office))
    assert first.stop(20)
    office.send("http://127.0.0.1:9/", client_id="other")
    office.open(queue_limit=2)
    eventually(lambda: any(one.dead_at is not None for one in office.all()))
    assert [one.client_id for one in office.all() if one.dead_at is not None] == ["other"]
    party.answers(200)
    office.clock.now += 10
    office.service.wake()
    eventually(lambda: len(party.bodies) == 6)
    assert places(party) == [1, 1, 2, 3, 4, 5]


def test_what_is_withdrawn_goes_out_no_more_though_it_was_read_ahead(office: Office, receiver: Receivers) -> None:
    old, new = receiver(), receiver()
    old.hold()
    office.open()
    hand_over(office, old.url(), *range(1, 11))
    eventually(lambda: old.requests)
    with office.database.writing() as tx:
        assert office.service.withdraw(tx, LANE) == 10
    office.clock.now += 1
    hand_over(office, new.url(), *range(1, 11))
    old.release()
    eventually(lambda: len(new.requests) == 10)
    assert places(old) == [1], "what was in flight"
    assert places(new) == list(range(1, 11))


def test_a_database_that_fails_before_an_attempt_changes_no_order(
    office: Office, receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    party, real, asked = receiver(), OutboxSession.is_pending, list[int | None]()

    def is_pending(ledger: OutboxSession, delivery: Delivery) -> bool:
        asked.append(delivery.place)
        if len(asked) == 2:
            raise OperationalError("", {}, Exception("the database is away"))
        return real(ledger, delivery)

    monkeypatch.setattr(OutboxSession, "is_pending", is_pending)
    office.open()
    hand_over(office, party.url(), 1, 2, 3)
    eventually(lambda: len(party.requests) == 3)
    assert places(party) == [1, 2, 3]
    assert asked == [1, 2, 2, 3]


def test_a_withdrawal_and_outcomes_never_wait_for_each_other(office: Office) -> None:
    for place in (2, 1):  # in the table they lie in another order than their own
        hand_over(office, "http://127.0.0.1:9/", place)
    outcome = Outcome(office.clock(), None, office.clock(), 200, None)

    def settle() -> set[str]:
        with office.database.writing() as tx:
            if office.database.dialect == "postgresql":  # a plan that goes through the table, as for a small one
                tx.execute(text("SET LOCAL enable_nestloop = off"))
                tx.execute(text("SET LOCAL enable_indexscan = off"))
                tx.execute(text("SET LOCAL enable_bitmapscan = off"))
            return store.settle(tx, office.database.dialect, "nobody", [(one, outcome) for one in office.all()])

    with ThreadPoolExecutor(1) as other:
        with office.database.writing() as tx:
            tx.execute(text("UPDATE deliveries SET attempts = attempts WHERE place = 1"))
            settled = other.submit(settle)
            eventually(lambda: waits_for_a_lock(office.database))
            assert office.service.withdraw(tx, LANE) == 2
        settled.result(20)
    assert office.all() == []
