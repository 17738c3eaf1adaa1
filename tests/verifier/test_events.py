"""Security events are believed only as RFC 8417 and the stream say, and what they mean is exactly what ended."""

import time

import pytest

from idp.protocol import events
from idp.verifier.errors import EventError, UnknownKeyError
from idp.verifier.events import UNSAID_SECONDS, Addressee, Event, read
from idp.verifier.revocations import Revocations
from tests.verifier.signing import CLIENT, event_claims, key, opaque, session, signed

ISSUER = "https://idp.example"
TO = Addressee(ISSUER, CLIENT)
NOW = time.time()


def taken(claims: object, typ: object = events.SET_TYP, **header: object) -> Event:
    return read(signed(claims, typ, **header), {"one": key("one")}, TO, NOW)


SUBJECTS = {
    events.SESSION_REVOKED: (session("s"), ("sid", "s")),
    events.FAMILY_REVOKED: (opaque("f"), ("family", "f")),
    events.TOKEN_REVOKED: ({"format": "jwt_id", "iss": ISSUER, "jti": "f.x"}, ("jti", "f.x")),
    events.TOKENS_REVOKED: ({"format": "complex", "application": opaque("c")}, ("client_id", "c")),
    events.KEY_REVOKED: (opaque("k"), ("kid", "k")),
}


def test_every_deadly_event_is_known() -> None:
    assert set(SUBJECTS) == events.DEADLY


@pytest.mark.parametrize("event", SUBJECTS)
def test_a_deadly_event_ends_what_its_subject_names(event: str) -> None:
    subject, named = SUBJECTS[event]
    claims = event_claims(ISSUER, event, subject)
    said = claims["events"][event]
    [ended] = taken(claims).ended
    assert (ended.ending.kind, ended.ending.value) == named
    assert ended.ending.reason == "a test"
    assert ended.ending.at == said["event_timestamp"]
    assert ended.tokens_until == said["tokens_until"]


@pytest.mark.parametrize("event", SUBJECTS)
@pytest.mark.parametrize(
    "subject",
    [
        None,
        {},
        {"format": "email", "email": "a@b"},
        {"format": "opaque"},
        {"format": "opaque", "id": 1},
        {"format": "opaque", "id": ""},
        {"format": "complex"},
        {"format": "complex", "session": "s"},
        {"format": "complex", "session": {"format": "iss_sub", "id": "s"}},
        {"format": "complex", "application": opaque("c"), "user": {"format": "iss_sub", "iss": "x", "sub": "y"}},
        {"format": "jwt_id", "iss": "https://evil.example", "jti": "f.x"},
        {"format": "jwt_id", "iss": ISSUER, "jti": ["f.x"]},
    ],
)
def test_a_deadly_event_that_cannot_be_understood_is_an_error_and_never_silence(event: str, subject: object) -> None:
    with pytest.raises(EventError) as refused:
        taken(event_claims(ISSUER, event, subject))
    assert refused.value.is_ours


def test_other_events_end_nothing() -> None:
    for event in (events.CREDENTIAL_CHANGE, "urn:example:something-new"):
        assert taken(event_claims(ISSUER, event, {"format": "anything"})).ended == ()
    verification = event_claims(ISSUER, "x", opaque("stream"), events={events.VERIFICATION: {"state": "abc"}})
    assert taken(verification).state == "abc"
    updated = event_claims(ISSUER, "x", opaque("stream"), events={events.STREAM_UPDATED: {"status": "paused"}})
    assert taken(updated).status == "paused"


def test_an_ending_without_an_end_is_remembered_for_a_day() -> None:
    claims = event_claims(ISSUER, "x", opaque("f"), events={events.FAMILY_REVOKED: {}})
    [ended] = taken(claims).ended
    assert ended.tokens_until == NOW + UNSAID_SECONDS
    assert ended.ending.at == NOW


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "https://evil.example"}, "invalid_issuer"),
        ({"iss": None}, "invalid_issuer"),
        ({"aud": "another"}, "invalid_audience"),
        ({"aud": None}, "invalid_audience"),
        ({"aud": []}, "invalid_audience"),
        ({"jti": None}, "invalid_request"),
        ({"jti": 1}, "invalid_request"),
        ({"iat": None}, "invalid_request"),
        ({"iat": "now"}, "invalid_request"),
        ({"events": None}, "invalid_request"),
        ({"events": {}}, "invalid_request"),
        ({"events": []}, "invalid_request"),
        ({"events": {events.FAMILY_REVOKED: None}}, "invalid_request"),
        ({"sub_id": "s"}, "invalid_request"),
    ],
)
def test_a_set_that_is_not_for_us_is_refused_with_the_word_of_the_specification(claims: dict[str, object], code: str) -> None:
    with pytest.raises(EventError) as refused:
        taken(event_claims(ISSUER, events.FAMILY_REVOKED, opaque("f"), **claims))
    assert refused.value.code == code


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "logout+jwt", "", None, "secevent"])
def test_another_kind_of_jwt_is_no_event(typ: object) -> None:
    with pytest.raises(EventError):
        taken(event_claims(ISSUER, events.FAMILY_REVOKED, opaque("f")), typ)


def test_a_forged_set_is_refused() -> None:
    claims = event_claims(ISSUER, events.FAMILY_REVOKED, opaque("f"))
    for header in ({"alg": "none"}, {"alg": "HS256"}, {"alg": "PS256"}, {"jku": "https://evil.example"}, {"crit": ["exp"]}):
        with pytest.raises(EventError):
            taken(claims, **header)
    with pytest.raises(EventError) as refused:
        taken(claims, by="stranger")
    assert refused.value.code == "invalid_key"
    assert not refused.value.is_ours
    with pytest.raises(UnknownKeyError):
        taken(claims, kid="stranger")
    for text in ("", "a.b.c", "." * 100_000, "A" * 1_000_000):
        with pytest.raises(EventError):
            read(text, {"one": key("one")}, TO, NOW)


# -- what is remembered -----------------------------------------------------------------------------------------------


def test_an_ending_is_forgotten_when_no_token_that_it_names_can_be_alive() -> None:
    ended = Revocations(leeway=10)
    assert ended.add("sid", "s", 1000.0)
    assert not ended.add("sid", "s", 900.0), "it was known, and longer"
    claims: dict[str, object] = {"sid": "s"}
    for now in (0.0, 1000.0, 1009.0):
        ended.forget(now)
        assert ended.find(claims, None) == ("sid", "s")
    ended.forget(1010.0 + 60)
    assert ended.find(claims, None) is None
    assert sum(ended.count().values()) == 0
    assert not ended._minutes


def test_a_later_end_of_the_same_thing_counts() -> None:
    ended = Revocations(leeway=0)
    ended.add("client_id", "c", 100.0)
    assert not ended.add("client_id", "c", 10_000.0), "it is no news"
    ended.forget(5000.0)
    assert ended.has("client_id", "c")
    ended.forget(10_100.0)
    assert not ended.has("client_id", "c")


def test_each_kind_has_names_of_its_own() -> None:
    ended = Revocations(leeway=0)
    ended.add("family", "x", 1e9)
    assert ended.find({"sid": "x", "jti": "x", "client_id": "x"}, "x") is None
    assert ended.find({"jti": "x.y"}, None) == ("family", "x")
