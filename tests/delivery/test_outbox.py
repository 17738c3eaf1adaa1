"""Writing down, looking, and sending again."""

from collections.abc import Callable

import pytest

from idp.delivery.rules import RETRY_LIFETIME, DeliveryState, NewDelivery
from idp.delivery.service import DeliveryError
from tests.delivery.conftest import Office
from tests.delivery.receivers import Receiver, eventually

NOWHERE = "http://127.0.0.1:9/"


def test_a_delivery_is_written_with_its_cause_or_not_at_all(office: Office) -> None:
    class TroubleError(Exception):
        pass

    woken: list[bool] = []
    office.service.when_woken(lambda: woken.append(True))
    with pytest.raises(TroubleError), office.database.writing() as tx:
        office.service.enqueue(tx, [NewDelivery("test", "app", "s1", "s1", NOWHERE, {"jti": "1"}, tx.now + 60)])
        raise TroubleError
    assert (office.all(), woken) == ([], [])


def test_what_is_asked_twice_is_written_once(office: Office) -> None:
    office.send(NOWHERE)
    first = office.only()
    office.send("http://127.0.0.1:9/other")
    assert office.only() == first
    office.send(NOWHERE, sid="s2")
    office.send(NOWHERE, client_id="other")
    assert len(office.all()) == 3


def test_deliveries_without_a_session_are_all_kept(office: Office) -> None:
    office.send(NOWHERE, sid=None)
    office.send(NOWHERE, sid=None)
    assert len(office.all()) == 2


def test_enqueueing_nothing_wakes_nobody(office: Office) -> None:
    woken: list[bool] = []
    office.service.when_woken(lambda: woken.append(True))
    with office.database.writing() as tx:
        office.service.enqueue(tx, [])
    assert woken == []


def test_a_dead_delivery_is_sent_again_with_a_new_life(office: Office, receiver: Callable[[], Receiver]) -> None:
    party = receiver()
    party.answers(400, 200)
    office.open()
    office.send(party.url(), lifetime=60)
    dead = office.until(lambda one: one.dead_at is not None)
    office.clock.now += 7200
    with office.database.writing() as tx:
        again = office.service.retry(tx, dead.delivery_id)
    assert (again.dead_at, again.attempts, again.expires_at) == (None, 1, office.clock.now + RETRY_LIFETIME)
    done = office.until(lambda one: one.delivered_at is not None)
    assert (done.attempts, done.last_error, done.payload) == (2, None, dead.payload)


def test_what_arrived_or_never_was_cannot_be_sent_again(office: Office, receiver: Callable[[], Receiver]) -> None:
    office.open()
    office.send(receiver().url())
    done = office.until(lambda one: one.delivered_at is not None)
    with office.database.writing() as tx:
        with pytest.raises(DeliveryError, match="delivered already"):
            office.service.retry(tx, done.delivery_id)
        with pytest.raises(DeliveryError, match="no such delivery"):
            office.service.retry(tx, "unknown")


def test_what_is_in_flight_cannot_be_sent_again(office: Office, receiver: Callable[[], Receiver]) -> None:
    party = receiver()
    party.hold()
    office.open()
    office.send(party.url())
    office.until(lambda one: one.attempts == 1)
    assert office.state() == "in-flight"
    with office.database.writing() as tx, pytest.raises(DeliveryError, match="right now"):
        office.service.retry(tx, office.only().delivery_id)
    party.release()
    office.until(lambda one: one.delivered_at is not None)


def test_the_list_tells_the_states_apart(office: Office, receiver: Callable[[], Receiver]) -> None:
    good, bad, held = receiver(), receiver(), receiver()
    bad.answers(400)
    held.hold()
    office.send(good.url(), client_id="good")
    office.send(bad.url(), client_id="bad")
    office.send(held.url(), client_id="held")
    office.open()

    def clients(state: DeliveryState) -> list[str]:
        with office.database.reading() as tx:
            return [one.client_id for one in office.service.listed(tx, state)]

    eventually(lambda: clients(DeliveryState.DELIVERED) == ["good"] and clients(DeliveryState.DEAD) == ["bad"])
    eventually(lambda: clients(DeliveryState.IN_FLIGHT) == ["held"])
    office.send(held.url(), client_id="held", sid="s2")
    assert clients(DeliveryState.WAITING) == ["held"]
    held.release()
