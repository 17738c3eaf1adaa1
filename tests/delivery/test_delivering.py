"""What becomes of a delivery, against real HTTP servers."""

import socket
from collections.abc import Callable

import pytest
from structlog.typing import EventDict

from idp.delivery.rules import Delivery, Message
from tests.delivery.conftest import NEVER, Office, compose
from tests.delivery.receivers import Receiver, Reply, eventually

Receivers = Callable[[], Receiver]


@pytest.mark.parametrize("status", [200, 204])
def test_it_arrives_at_once_when_its_cause_is_committed(office: Office, receiver: Receivers, status: int) -> None:
    party = receiver()
    party.answers(status)
    office.open(poll_seconds=NEVER)
    office.send(party.url())
    done = office.until(lambda one: one.delivered_at is not None)
    assert (done.attempts, done.last_status, done.last_error, done.leased_until) == (1, status, None, None)
    assert office.state() == "delivered"
    (request,) = party.requests
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.body.startswith(b"jti=app-s1&at=")


def test_it_is_found_by_polling_when_another_process_wrote_it(office: Office, receiver: Receivers) -> None:
    party = receiver()
    office.open(poll_seconds=0.01, service=type(office.service)(office.database))
    office.send(party.url())
    office.until(lambda one: one.delivered_at is not None)


def test_what_was_waiting_before_the_start_is_delivered(office: Office, receiver: Receivers) -> None:
    party = receiver()
    office.send(party.url())
    office.open()
    office.until(lambda one: one.delivered_at is not None)


def test_the_query_reaches_the_relying_party_to_the_letter(office: Office, receiver: Receivers) -> None:
    party = receiver()
    office.open()
    target = "/redirect_uri?logout=backchannel&a=%7e%2F+x&&b&c=;=?/'()*"
    office.send(party.url(target))
    office.until(lambda one: one.delivered_at is not None)
    assert party.requests[0].target == target


def test_a_server_error_is_tried_again_with_the_same_jti_and_a_fresh_message(office: Office, receiver: Receivers) -> None:
    party = receiver()
    party.answers(500, 503, 200)
    office.open()
    office.send(party.url())
    began = office.clock.now
    for attempts, wait, status in ((1, 0.5, 500), (2, 1.0, 503)):
        eventually(lambda n=attempts: office.only().attempts == n and office.only().leased_until is None)  # type: ignore[misc]
        waiting = office.only()
        assert office.state() == "waiting"
        assert (waiting.last_status, waiting.last_error) == (status, f"answered {status}")
        assert waiting.next_attempt_at == pytest.approx(office.clock.now + wait)
        office.clock.now += 100  # so that a fresh message differs
        office.service.wake()
    done = office.until(lambda one: one.delivered_at is not None)
    assert done.attempts == 3
    assert party.bodies == [f"jti=app-s1&at={began + later:.0f}".encode() for later in (0, 100, 200)]


def test_a_refused_connection_is_tried_again(office: Office, receiver: Receivers) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    office.open()
    office.send(f"http://127.0.0.1:{closed}/")
    waiting = office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    assert (waiting.last_status, waiting.last_error) == (None, "127.0.0.1: connection refused")
    assert office.state() == "waiting"


def test_a_timeout_is_tried_again(office: Office, receiver: Receivers) -> None:
    party = receiver()
    party.hold()
    office.open(timeout=0.1)
    office.send(party.url())
    waiting = office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    assert waiting.last_error == "127.0.0.1: no answer in time"
    party.release()
    office.move_to_next_attempt()
    office.until(lambda one: one.delivered_at is not None)


@pytest.mark.parametrize("status", [400, 401, 404, 302, 307])
def test_a_final_answer_kills_it_at_once(office: Office, receiver: Receivers, status: int) -> None:
    party, elsewhere = receiver(), receiver()
    party.reply = lambda _n: Reply(status, {"Location": elsewhere.url()}, b'{"error": "invalid_request"}')
    office.open()
    office.send(party.url())
    dead = office.until(lambda one: one.dead_at is not None)
    assert (dead.attempts, dead.last_status, dead.last_error) == (1, status, f"answered {status} (invalid_request)")
    assert office.state() == "dead"
    assert elsewhere.requests == []


@pytest.mark.parametrize(("asked", "wait"), [("30", 30), ("0", 0.5), ("999999", 3600), ("nonsense", 0.5)])
def test_retry_after_is_honoured_within_bounds(office: Office, receiver: Receivers, asked: str, wait: float) -> None:
    party = receiver()
    party.reply = lambda n: Reply(429, {"Retry-After": asked}) if n == 0 else Reply()
    office.open()
    office.send(party.url())
    waiting = office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    assert waiting.next_attempt_at == pytest.approx(office.clock.now + wait)
    office.move_to_next_attempt()
    office.until(lambda one: one.delivered_at is not None)


def test_it_dies_when_its_time_is_over(office: Office, receiver: Receivers) -> None:
    party = receiver()
    party.answers(500)
    office.open()
    office.send(party.url(), lifetime=0.25)
    waiting = office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    assert waiting.next_attempt_at == waiting.expires_at, "it must be noticed on time"
    office.move_to_next_attempt()
    dead = office.until(lambda one: one.dead_at is not None)
    assert (dead.last_status, dead.last_error) == (500, "expired; answered 500")
    assert len(party.requests) == 1


def test_a_target_that_policy_forbids_is_dead_at_once_with_the_reason(office: Office) -> None:
    office.open()
    office.send("https://169.254.169.254/latest/meta-data")
    dead = office.until(lambda one: one.dead_at is not None)
    assert dead.last_error is not None
    assert dead.last_error.startswith("169.254.169.254 is not contacted: 169.254.169.254 is a link-local address")


def test_the_audit_tells_what_became_of_it_and_never_what_was_sent(
    office: Office, receiver: Receivers, events: list[EventDict]
) -> None:
    party = receiver()
    party.reply = lambda n: Reply(500, {}, party.bodies[n]) if n == 0 else Reply()
    office.open()
    office.send(party.url())
    office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    office.clock.now += 2.5
    office.service.wake()
    eventually(lambda: len(events) == 2)
    one = office.only()
    what = {"delivery_id": one.delivery_id, "kind": "test", "client_id": "app", "sid": "s1"}
    retried, delivered = events
    assert retried == {
        "event": "delivery.retried",
        "log_level": "info",
        **what,
        "status": 500,
        "attempts": 1,
        "error": "answered 500",
        "again_in": 0.5,
    }
    assert delivered == {
        "event": "delivery.delivered",
        "log_level": "info",
        **what,
        "status": 200,
        "attempts": 2,
        "ms": 2500,
    }


def test_a_composer_that_fails_stops_nobody_and_tells_nothing_secret(office: Office, receiver: Receivers) -> None:
    party = receiver()
    failures = [RuntimeError("signing eyJhbGciOi.secret failed")]

    def fragile(delivery: Delivery, now: float) -> Message:
        if delivery.client_id == "unlucky" and failures:
            raise failures.pop()
        return compose(delivery, now)

    office.open(composer=fragile)
    office.send(party.url(), client_id="unlucky")
    waiting = office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    assert waiting.last_error == "the attempt failed here: RuntimeError"
    office.send(party.url(), client_id="lucky")
    eventually(lambda: any(one.delivered_at for one in office.all()))
    office.clock.now += 1
    office.service.wake()
    eventually(lambda: all(one.delivered_at for one in office.all()))


def test_a_kind_that_this_worker_does_not_know_waits_for_one_that_does(office: Office, receiver: Receivers) -> None:
    party = receiver()
    worker = office.open()
    worker._composers = {}
    office.send(party.url())
    office.until(lambda one: one.attempts == 1 and one.leased_until is None)
    worker._composers = {"test": compose}
    office.move_to_next_attempt()
    office.until(lambda one: one.delivered_at is not None)
