"""Pure decisions: which stream hears of what, how far it has come, and what is signed."""

import json

import pytest

from idp.protocol import events
from idp.runtime.outbound.client import HttpReply
from idp.signals import requests, rules
from idp.signals.push import judge
from idp.signals.requests import MalformedError
from idp.signals.rules import Exposure, Signal, Stream

SESSION = {"format": "complex", "session": rules.opaque("s1"), "user": rules.person("https://id.example", "alice")}


def signal(seq: int, *, event: str = events.SESSION_REVOKED, subject=SESSION, stream_id: str | None = None) -> Signal:
    return Signal(f"j{seq}", seq, event, subject, {"reason_admin": {"en": "x"}}, "s1", stream_id, 1000.25, 1360.25)


def stream(**values: object) -> Stream:
    known: dict[str, object] = {
        "stream_id": "one", "client_id": "api", "method": rules.POLL, "endpoint_url": None, "authorization": None,
        "events_requested": rules.SUPPORTED, "description": None, "status": rules.ENABLED, "status_reason": None, "cursor": 0,
        "acked_ahead": (), "removed_subjects": (), "created_at": 0.0, "seen_at": 0.0, "verified_at": None,
    }  # fmt: skip
    return Stream(**(known | values))  # type: ignore[arg-type]


def test_a_set_says_what_the_specifications_want_and_nothing_that_makes_it_another_kind_of_token() -> None:
    claims = rules.set_claims("https://id.example", "api", signal(7))
    assert claims == {
        "iss": "https://id.example",
        "iat": 1000,
        "jti": "j7",
        "txn": "j7",
        "aud": "api",
        "sub_id": SESSION,
        "events": {events.SESSION_REVOKED: {"reason_admin": {"en": "x"}, "event_timestamp": 1000, "tokens_until": 1361}},
    }


def test_what_a_set_shares_with_others_is_the_part_of_its_name_before_the_dot() -> None:
    told = Signal("cause.own", 1, events.SESSION_REVOKED, SESSION, {}, "s", None, 1000.0, 1000.0)
    claims = rules.set_claims("https://id.example", "api", told)
    assert (claims["jti"], claims["txn"]) == ("cause.own", "cause")
    assert rules.is_name(told.signal_id)


def test_a_verification_event_holds_the_state_alone() -> None:
    asked = Signal("j", 1, events.VERIFICATION, rules.opaque("one"), {"state": "abc"}, None, "one", 1000.0, 1000.0)
    assert rules.set_claims("https://id.example", "api", asked)["events"] == {events.VERIFICATION: {"state": "abc"}}


def test_progress_goes_up_to_the_first_event_that_was_not_acknowledged() -> None:
    following = [signal(place) for place in (1, 2, 3, 4)]
    assert rules.advanced(stream(), [1, 2], following, 4) == rules.StreamProgress(2, ())
    assert rules.advanced(stream(), [2, 4], following, 4) == rules.StreamProgress(0, (2, 4))
    assert rules.advanced(stream(acked_ahead=(2, 4)), [1], following, 4) == rules.StreamProgress(2, (4,))
    assert rules.advanced(stream(), [1, 2, 3, 4], following, 4) == rules.StreamProgress(4, ())
    assert rules.advanced(stream(cursor=4), [2], [], 4) == rules.StreamProgress(4, ())


def test_what_is_not_for_a_stream_does_not_hold_it_up() -> None:
    following = [signal(1, stream_id="another"), signal(2, event=events.VERIFICATION, stream_id="another"), signal(3)]
    assert rules.advanced(stream(), [], following, 3) == rules.StreamProgress(2, ())
    silent = stream(events_requested=(events.KEY_REVOKED,))
    assert rules.advanced(silent, [], following, 3) == rules.StreamProgress(3, ())


@pytest.mark.parametrize(
    ("removed", "heard"),
    [
        (rules.opaque("s1"), False),
        (rules.person("https://id.example", "alice"), False),
        (rules.person("https://id.example", "bob"), True),
        ({"format": "complex", "user": rules.person("https://id.example", "alice")}, False),
        ({"format": "complex", "user": rules.person("https://id.example", "alice"), "session": rules.opaque("s2")}, True),
        ({"format": "complex", "device": rules.opaque("d")}, True),
        ({"format": "complex"}, True),
        ({"format": "email", "email": "alice@example.org"}, True),
    ],
)
def test_a_removed_subject_is_left_out_and_nobody_else(removed: dict[str, object], heard: bool) -> None:
    one = stream(removed_subjects=(removed,))
    assert one.hears(signal(1)) is heard
    assert one.hears(signal(1, event=events.KEY_REVOKED, subject=rules.opaque("k1")))


def test_what_is_said_of_exposure_is_true_at_each_moment() -> None:
    assert (
        Exposure(2, 2, 1360.25).sentence(1000.0) == "all followers confirmed; apps that only check expiry: safe at 00:22:41 UTC"
    )
    assert Exposure(1, 3, 1360.25).sentence(1000.0).startswith("1 of 3 followers confirmed; ")
    assert Exposure(0, 0, 1360.25).sentence(1000.0) == "apps that only check expiry: safe at 00:22:41 UTC"
    assert Exposure(0, 3, 1360.25).sentence(1360.25) == "safe everywhere: no token of it can be alive"
    assert rules.together([Exposure(1, 1, 5.0), Exposure(0, 1, 4.0)]) == Exposure(0, 1, 5.0)
    assert rules.together([]) is None


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("", 30.0),
        ("wait=10", 10.0),
        ("respond-async, wait=7", 7.0),
        ('wait="5"', 5.0),
        ("wait=9999", 30.0),
        ("wait=0", 0.0),
        ("wait=-1", 30.0),
        ("await=3", 30.0),
    ],
)
def test_the_wait_that_is_asked_for_is_kept_and_bounded(header: str, wait: float) -> None:
    assert requests.poll({}, header, 30.0).wait == wait


def test_a_poll_that_returns_immediately_or_wants_nothing_does_not_wait() -> None:
    assert requests.poll({"returnImmediately": True}, "wait=10", 30.0).wait == 0
    assert requests.poll({"maxEvents": 0}, "wait=10", 30.0).wait == 0
    assert requests.poll({"maxEvents": 10**9}, "", 30.0).most == requests.MOST_EVENTS


@pytest.mark.parametrize(
    "sent",
    [
        {"maxEvents": -1}, {"maxEvents": True}, {"maxEvents": "5"}, {"maxEvents": 1.5}, {"returnImmediately": 1}, {"ack": "j1"},
        {"ack": [1]}, {"ack": {}}, {"setErrs": ["j1"]}, {"ack": ["j"] * 5000},
    ],
)  # fmt: skip
def test_a_poll_that_makes_no_sense_is_refused(sent: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        requests.poll(sent, "", 30.0)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"1", b'"a"', json.dumps(None).encode(), b'{"a": NaN}', b'{"a": 1e999}', b'{"a": 1, "a": 2}'],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        requests.body(data)


@pytest.mark.parametrize("jti", ["\x00", "\ud800", "", "a b", "x" * 65])
def test_what_no_event_is_called_is_no_question_for_the_database(jti: str) -> None:
    found = requests.poll({"ack": [jti, "j1"], "setErrs": {jti: {"err": "invalid_key"}}}, "", 30.0)
    assert found.acked == ("j1",)


@pytest.mark.parametrize("state", [5, "x" * 1025, "\ud800"])
def test_a_state_that_cannot_be_signed_is_refused(state: object) -> None:
    with pytest.raises(MalformedError):
        requests.state({"state": state})


@pytest.mark.parametrize(
    "delivery",
    [
        {"method": "urn:example:pigeon"}, {"method": []}, {}, "poll", {"method": rules.PUSH}, {"method": rules.PUSH, "endpoint_url": 5},
        {"method": rules.PUSH, "endpoint_url": "http://app.example/events"},
        {"method": rules.PUSH, "endpoint_url": "https://user:pw@app.example/events"},
        {"method": rules.PUSH, "endpoint_url": "https://app.example/events", "authorization_header": "a\r\nb: c"},
        {"method": rules.PUSH, "endpoint_url": "https://app.example/events", "authorization_header": "ä"},
    ],
)  # fmt: skip
def test_a_delivery_that_cannot_be_is_refused(delivery: object) -> None:
    with pytest.raises(MalformedError):
        requests.configuration({"delivery": delivery}, loopback_http=False)


def test_the_authorization_header_of_a_stream_is_in_no_text() -> None:
    delivery = {"method": rules.PUSH, "endpoint_url": "https://app.example/e", "authorization_header": "Bearer hush"}
    assert "hush" not in repr(requests.configuration({"delivery": delivery}, loopback_http=False))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(202, "delivered"), (200, "delivered"), (204, "delivered"), (400, "dead"), (404, "retry"), (503, "retry")],
)
def test_what_a_receiver_of_pushes_answers(status: int, verdict: str) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    assert judge(HttpReply(status, headers, b'{"err": "invalid_audience"}')) == verdict


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b"<h1>400 Bad Request</h1>"),
        ("text/html", b'{"err": "invalid_key"}'),
        ("", b""),
        ("application/json", b""),
        ("application/json", b'{"message": "Request blocked"}'),
        ("application/json", b'{"err": 7}'),
        ("application/json", b'{"err": "authentication_failed"}'),
        ("application/json", b'{"err": "access_denied", "description": "not today"}'),
        ("application/json", b'["err"]'),
        ("application/json", b"[" * 100_000),
        ("application/json", b"\xff"),
    ],
)
def test_a_400_that_does_not_say_what_is_wrong_with_the_event_refuses_none(content_type: str, body: bytes) -> None:
    assert judge(HttpReply(400, {"content-type": content_type} if content_type else {}, body)) == "retry"


def test_a_refusal_that_is_not_whole_refuses_nothing() -> None:
    assert judge(HttpReply(400, {"content-type": "application/json"}, b'{"err": "invalid_key"}', "it came too late")) == "retry"
