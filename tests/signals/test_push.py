"""Push (RFC 8935) through the outbox: strictly in order, whatever the receiver does meanwhile."""

import time

import pytest

from idp.protocol import events
from tests.signals.conftest import Follow
from tests.signals.follower import Follower
from tests.signals.pushed import PushReceiver
from tests.support.serving import RunningProvider

PUSH = "urn:ietf:rfc:8935"


def end_tokens(provider: RunningProvider, *names: str) -> None:
    """Single tokens end: the cheapest endings that there are."""
    for name in names:
        with provider.services.database.writing() as tx:
            assert provider.services.logout.end_access_token(tx, name, tx.now + 300)


def pushed_to(follow: Follow, provider: RunningProvider, receiver: PushReceiver, **delivery: str) -> Follower:
    """A stream that is pushed, caught up with what was before."""
    follower = Follower.of(provider, delivery={"method": PUSH, "endpoint_url": receiver.url, **delivery})
    assert follower.call("POST", "verify", {"stream_id": follower.stream_id, "state": "caught up"}).status_code == 204
    receiver.wait(lambda: "caught up" in receiver.taken(), 60)
    receiver.came.clear()
    return follower


def names(receiver: PushReceiver) -> list[str]:
    """The tokens whose end was taken, in order. A verification may come again when its stream is paused in between."""
    return [one.claims["sub_id"]["jti"] for one in receiver.came if one.status < 300 and "jti" in one.claims["sub_id"]]


def test_an_event_is_pushed_as_the_specification_says(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver
) -> None:
    follower = pushed_to(follow, provider, receiver, authorization_header="Bearer from-the-receiver")
    end_tokens(provider, f"push-{time.time_ns()}")
    receiver.wait(lambda: len(receiver.came) == 1)
    (one,) = receiver.came
    assert one.path == "/events?to=me"
    assert one.headers["Content-Type"] == "application/secevent+jwt"
    assert one.headers["Authorization"] == "Bearer from-the-receiver"
    claims = follower.verified(one.body)
    assert list(claims["events"]) == [events.TOKEN_REVOKED]
    shown = follower.call("GET", "streams", stream_id=follower.stream_id)
    assert "from-the-receiver" not in shown.text
    with provider.services.database.reading() as tx:
        rows = [str(row) for row in tx.connection.exec_driver_sql("SELECT * FROM deliveries").all()]
        rows += [str(row) for row in tx.connection.exec_driver_sql("SELECT * FROM signal_streams").all()]
    assert not any("from-the-receiver" in row for row in rows)


def test_events_come_in_order_though_some_have_to_be_sent_again(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver
) -> None:
    pushed_to(follow, provider, receiver)
    receiver.answer = lambda number, _body: 503 if number in {2, 3, 7} else 202
    sent = [f"order-{number}-{time.time_ns()}" for number in range(12)]
    end_tokens(provider, *sent)
    receiver.wait(lambda: len(names(receiver)) == 12, 40)
    assert names(receiver) == sent
    # while one has to be sent again, nothing that is behind it goes out
    tried = [one.claims["sub_id"]["jti"] for one in receiver.came]
    assert list(dict.fromkeys(tried)) == sent


def test_a_verification_comes_behind_everything_that_was_before_it(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver
) -> None:
    follower = pushed_to(follow, provider, receiver)
    with provider.services.database.writing() as tx:
        tx.connection.exec_driver_sql("UPDATE signal_streams SET verified_at = NULL")
    receiver.answer = lambda number, _body: 500 if number <= 2 else 202
    end_tokens(provider, *(sent := [f"verify-{number}-{time.time_ns()}" for number in range(5)]))
    assert follower.call("POST", "verify", {"stream_id": follower.stream_id, "state": "the end"}).status_code == 204
    receiver.wait(lambda: "the end" in receiver.taken(), 40)
    taken = [one for one in receiver.came if one.status < 300]
    assert [one.claims["sub_id"].get("jti") for one in taken[:5]] == sent
    assert taken[5].claims["events"] == {events.VERIFICATION: {"state": "the end"}}
    assert taken[5].claims["sub_id"] == {"format": "opaque", "id": follower.stream_id}


def test_what_a_receiver_refuses_is_not_sent_again_and_holds_up_nothing(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver
) -> None:
    pushed_to(follow, provider, receiver)
    receiver.answer = lambda number, _body: 400 if number == 1 else 202
    end_tokens(provider, *(sent := [f"refused-{number}-{time.time_ns()}" for number in range(3)]))
    receiver.wait(lambda: len(receiver.came) == 3)
    assert names(receiver) == sent[1:]


def test_a_400_that_says_nothing_of_the_event_holds_it_back_and_what_is_behind_it(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver
) -> None:
    pushed_to(follow, provider, receiver)
    receiver.refusal = b'{"message": "Request blocked"}'
    receiver.answer = lambda number, _body: 400 if number == 1 else 202
    end_tokens(provider, *(sent := [f"blocked-{number}-{time.time_ns()}" for number in range(3)]))
    receiver.wait(lambda: len(receiver.came) == 4)
    assert names(receiver) == sent


def test_a_paused_stream_is_held_and_goes_on_where_it_was(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver
) -> None:
    follower = pushed_to(follow, provider, receiver)
    paused = follower.call("POST", "status", {"stream_id": follower.stream_id, "status": "paused", "reason": "a test"})
    assert paused.json() == {"stream_id": follower.stream_id, "status": "paused", "reason": "a test"}
    end_tokens(provider, *(sent := [f"paused-{number}-{time.time_ns()}" for number in range(3)]))
    time.sleep(0.6)  # nothing may come: there is nothing to wait for
    assert receiver.came == []
    follower.call("POST", "status", {"stream_id": follower.stream_id, "status": "enabled"})
    receiver.wait(lambda: len(names(receiver)) == 3)
    assert names(receiver) == sent


def test_more_than_the_outbox_takes_of_a_stream_comes_in_order_all_the_same(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed_to(follow, provider, receiver)
    sent = [f"many-{number:03}-{time.time_ns()}" for number in range(300)]
    for name in sent:
        with provider.services.database.writing() as tx:
            provider.services.logout.end_access_token(tx, name, tx.now + 300)
    receiver.wait(lambda: len(receiver.came) >= 300, 60)
    assert names(receiver) == sent


def test_a_dead_receiver_delays_no_other_and_no_logout_token(
    provider: RunningProvider, follow: Follow, receiver: PushReceiver
) -> None:
    fine = PushReceiver().open()
    one, other = pushed_to(follow, provider, receiver), pushed_to(follow, provider, fine)
    assert other.stream_id != one.stream_id
    receiver.answer = lambda _number, _body: 503
    for number in range(8):
        end_tokens(provider, f"dead-{number}-{(stamp := time.time_ns())}")
        fine.wait(lambda number=number, stamp=stamp: f"dead-{number}-{stamp}" in names(fine), 10)
    fine.close()
