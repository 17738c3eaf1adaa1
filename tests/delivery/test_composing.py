"""Messages are made beside the event loop: one that hangs holds up its own lane, and is held against nobody."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from structlog.typing import EventDict

from idp.delivery import worker as delivery_worker
from idp.delivery.composing import _AT_ONCE
from idp.delivery.rules import Delivery, Message
from tests.delivery.conftest import Office, compose
from tests.delivery.receivers import Receiver, eventually

Receivers = Callable[[], Receiver]


class Hanging:
    """A composer that hangs for clients of some names until it is let go. As an HSM or a database does, it holds its thread."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.began: list[str] = []
        self._guard = threading.Lock()

    def __call__(self, delivery: Delivery, now: float) -> Message:
        if delivery.client_id.startswith("hangs"):
            with self._guard:
                self.began.append(delivery.client_id)
            self.open.wait(60)
        return compose(delivery, now)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.open.set()


def delivered(office: Office) -> set[str]:
    return {one.client_id for one in office.all() if one.delivered_at is not None}


def failing(office: Office) -> list[str]:
    with office.database.reading() as tx:
        return [party.client_id for party in office.service.parties(tx)]


def test_while_messages_hang_everybody_else_is_delivered_to(office: Office, receiver: Receivers, hanging: Hanging) -> None:
    """More of them than are made at a time."""
    office.open(composer=hanging, concurrency=32)
    party = receiver()
    stuck = [f"hangs-{n}" for n in range(2 * _AT_ONCE + 1)]
    for name in stuck:
        office.send(party.url(), client_id=name)
    eventually(lambda: set(hanging.began) == set(stuck), "every message that hangs")
    for n in range(5):
        office.send(party.url(), client_id=f"app-{n}")
    eventually(lambda: len(delivered(office)) == 5, "what does not hang")
    assert delivered(office) == {f"app-{n}" for n in range(5)}
    assert failing(office) == []
    hanging.open.set()


def test_a_handshake_under_way_while_a_message_hangs_is_not_held_against_its_party(
    office: Office, receiver: Receivers, hanging: Hanging
) -> None:
    """The connection waits in the backlog: it is answered while the other's message still hangs."""
    office.open(composer=hanging, timeout=10)
    slow = receiver()
    slow.hold()
    office.send(slow.url(), client_id="innocent")
    eventually(lambda: slow.requests, "its request")
    office.send(receiver().url(), client_id="hangs")
    eventually(lambda: hanging.began, "the message that hangs")
    slow.release()
    eventually(lambda: delivered(office) == {"innocent"}, "the innocent party's delivery")
    (one,) = [one for one in office.all() if one.client_id == "innocent"]
    assert (one.attempts, one.last_error) == (1, None)
    assert failing(office) == []


def test_a_message_that_hangs_gives_its_lane_back_and_takes_no_second_thread(
    office: Office, receiver: Receivers, hanging: Hanging
) -> None:
    office.open(composer=hanging, timeout=0.2, lease=30)
    party = receiver()
    office.send(party.url(), client_id="hangs")
    for attempts in (1, 2, 3):
        waiting = office.until(lambda one, least=attempts: one.attempts >= least and one.last_error and not one.leased_until)
        assert waiting.last_error == "its message could not be made in time"
        office.move_to_next_attempt()
    assert hanging.began == ["hangs"]
    assert failing(office) == []  # it is not the party's fault
    hanging.open.set()

    def arrived() -> bool:
        office.move_to_next_attempt()
        return bool(delivered(office))

    eventually(arrived, "its delivery")
    assert party.bodies


def test_a_worker_that_is_stopped_does_not_wait_for_a_message_that_hangs(
    office: Office, receiver: Receivers, hanging: Hanging
) -> None:
    worker = office.open(composer=hanging, timeout=0.2)
    office.send(receiver().url(), client_id="hangs")
    eventually(lambda: hanging.began, "the message that hangs")
    assert worker.stop(20)
    assert not hanging.open.is_set()


@pytest.mark.parametrize("error", [RuntimeError("s3cret"), SystemExit(), StopIteration()], ids=repr)
def test_whatever_a_composer_raises_is_tried_again_and_ends_nothing(
    office: Office, receiver: Receivers, error: BaseException
) -> None:
    failed: list[str] = []

    def composer(delivery: Delivery, now: float) -> Message:
        if delivery.client_id == "broken" and not failed:
            failed.append("once")
            raise error
        return compose(delivery, now)

    office.open(composer=composer, timeout=0.5, lease=30)
    office.send(receiver().url(), client_id="broken")
    waiting = office.until(lambda one: one.attempts == 1 and one.last_error and not one.leased_until)
    assert "s3cret" not in (waiting.last_error or "")
    assert failing(office) == []
    office.move_to_next_attempt()
    office.until(lambda one: one.delivered_at is not None)


def test_a_round_that_fails_unforeseen_is_begun_anew_and_nothing_is_lost(
    office: Office, receiver: Receivers, monkeypatch: pytest.MonkeyPatch, events: list[EventDict]
) -> None:
    """What was under way in the loop that came to its end is given back, and goes out again."""
    worker = office.open(poll_seconds=0.05)
    party = receiver()
    office.send(party.url(), client_id="before")
    eventually(lambda: delivered(office) == {"before"}, "the first")
    take_note, calls = worker._take_note, []

    def failing_once(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("unforeseen")
        take_note(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "_take_note", failing_once)
    office.send(party.url(), client_id="after")
    eventually(lambda: delivered(office) == {"before", "after"}, "the second")
    assert [entry["thread"] for entry in events if entry["event"] == "process.thread_failed"] == ["idp-delivery"]


def test_a_lane_that_fails_unforeseen_takes_no_other_with_it(
    office: Office, receiver: Receivers, monkeypatch: pytest.MonkeyPatch, events: list[EventDict]
) -> None:
    attempt, failed = delivery_worker.attempt, []

    async def failing_once(delivery: Delivery, *arguments: object) -> object:
        if delivery.client_id == "broken" and not failed:
            failed.append(1)
            raise KeyError("unforeseen")
        return await attempt(delivery, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(delivery_worker, "attempt", failing_once)
    slow = receiver()
    slow.hold()
    office.open()
    office.send(slow.url(), client_id="slow")
    eventually(lambda: slow.requests, "the slow one's request")
    office.send(receiver().url(), client_id="broken")
    eventually(lambda: failed, "the failure")
    slow.release()
    eventually(lambda: "slow" in delivered(office), "the slow one's delivery")
    assert len(slow.requests) == 1
    assert [entry["lane"] for entry in events if entry["event"] == "delivery.lane_failed"] == ["broken"]
    assert failing(office) == []
    (broken,) = [one for one in office.all() if one.client_id == "broken"]
    office.clock.now = broken.next_attempt_at
    office.service.wake()
    eventually(lambda: "broken" in delivered(office), "the broken one's delivery")


def test_a_glance_that_hangs_keeps_nobody_from_being_delivered_to(
    office: Office, receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether what has a place was withdrawn is asked on a connection of its own, which may hang as well."""
    from idp.delivery.rules import NewDelivery, lane_in_order

    worker = office.open()
    open_ = threading.Event()
    monkeypatch.setattr(worker._ledger, "is_pending", lambda _delivery: open_.wait(20))
    party = receiver()
    news = [
        NewDelivery("test", f"s{n}", None, f"s{n}", party.url(), {"jti": "x"}, office.clock() + 100, lane_in_order(f"s{n}"), 1)
        for n in range(12)
    ]
    with office.database.writing() as tx:
        office.service.enqueue(tx, news)
    eventually(lambda: worker._ledger.in_flight == 12, "the streams' lanes")
    office.send(party.url(), client_id="app")
    eventually(lambda: "app" in delivered(office), "the other one")
    open_.set()
    eventually(lambda: len(delivered(office)) == 13, "the streams")


def test_the_loop_goes_round_while_messages_hang(office: Office, receiver: Receivers, hanging: Hanging) -> None:
    worker = office.open(composer=hanging, poll_seconds=0.01)
    office.send(receiver().url(), client_id="hangs")
    eventually(lambda: hanging.began, "the message that hangs")
    beats: list[float] = []
    worker.thread.beat = lambda: beats.append(time.monotonic())  # type: ignore[method-assign]
    eventually(lambda: len(beats) > 5, "the loop's rounds")
