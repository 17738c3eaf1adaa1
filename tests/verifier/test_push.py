"""Following by push: what is posted is taken in, and only a verification event that was asked for proves anything."""

import json
import threading
import time

import pytest

from idp.protocol import events
from idp.verifier import EndedTokenError, Push, Reply, StaleError, Verifier
from tests.verifier.clocks import Clock
from tests.verifier.conftest import Make, until
from tests.verifier.signing import CLIENT, access_token, event_claims, opaque, session, signed
from tests.verifier.transmitter import Stream, Transmitter

PUSH = Push(CLIENT, "secret", "http://localhost:9/events", "Bearer of news")


class Deliverer:
    """The provider's side: posts what happened, and answers each request for a verification with an event."""

    def __init__(self, transmitter: Transmitter) -> None:
        self.transmitter = transmitter
        self.verifier: Verifier | None = None
        self.answers_verifications = True
        self._answered = 0
        self._stop = threading.Event()
        threading.Thread(target=self._deliver, daemon=True).start()

    def post(self, event: str, subject: object, **claims: object) -> Reply:
        return self.post_text(signed(event_claims(self.transmitter.issuer, event, subject, **claims), events.SET_TYP))

    def post_text(self, text: str) -> Reply:
        assert self.verifier is not None
        return self.verifier.receive(text.encode())

    def verification(self, state: str) -> Reply:
        return self.post(events.VERIFICATION, opaque("stream"), events={events.VERIFICATION: {"state": state}})

    def _deliver(self) -> None:
        while not self._stop.wait(0.01):
            asked = self.transmitter.verifications
            if self.verifier is not None and self.answers_verifications and len(asked) > self._answered:
                told = len(asked)
                if self.verification(asked[told - 1]["state"]).status != 503:  # else it is sent again, as by a real one
                    self._answered = told

    def close(self) -> None:
        self._stop.set()


@pytest.fixture
def deliverer(transmitter: Transmitter):
    made = Deliverer(transmitter)
    yield made
    made.close()


@pytest.fixture
def verifier(transmitter: Transmitter, deliverer: Deliverer, verifier_of: Make) -> Verifier:
    made = verifier_of(transmitter.issuer, follow=PUSH, fresh=False)
    deliverer.verifier = made
    assert made.wait(10), made.state
    return made


def test_it_asks_for_its_events_to_be_pushed(transmitter: Transmitter, verifier: Verifier) -> None:
    [stream] = transmitter.streams.values()
    assert stream.delivery["method"] == "urn:ietf:rfc:8935"
    assert stream.delivery["endpoint_url"] == PUSH.endpoint_url
    assert stream.delivery["authorization_header"] == PUSH.authorization


def test_streams_that_killed_processes_left_behind_are_deleted_and_no_others(
    transmitter: Transmitter, deliverer: Deliverer, verifier_of: Make
) -> None:
    """Without that, 64 kills would leave an app without any stream: each start would be answered 409."""
    for number in range(3):
        transmitter.streams[f"left {number}"] = Stream(f"left {number}", dict(PUSH.delivery))
    transmitter.streams["elsewhere"] = Stream("elsewhere", dict(PUSH.delivery) | {"endpoint_url": "http://localhost:9/other"})
    transmitter.streams["polled"] = Stream("polled", {"method": "urn:ietf:rfc:8936"})
    made = verifier_of(transmitter.issuer, follow=PUSH, fresh=False)
    deliverer.verifier = made
    assert made.wait(10), made.state
    others = set(transmitter.streams) - {"elsewhere", "polled"}
    assert len(others) == 1
    assert not any(name.startswith("left") for name in others)


def test_a_session_whose_end_is_pushed_is_refused(transmitter: Transmitter, verifier: Verifier, deliverer: Deliverer) -> None:
    token = access_token(transmitter.issuer, sid="s")
    verifier.verify(token)
    reply = deliverer.post(events.SESSION_REVOKED, session("s"))
    assert (reply.status, reply.body) == (202, b"")
    with pytest.raises(EndedTokenError):
        verifier.verify(token)
    assert deliverer.post(events.SESSION_REVOKED, session("s")).status == 202, "what comes twice is no error"


def test_without_proof_it_becomes_stale_however_much_is_pushed(
    transmitter: Transmitter, verifier: Verifier, deliverer: Deliverer, clock: Clock
) -> None:
    deliverer.answers_verifications = False
    clock.elapsed_moved += 31
    deliverer.post(events.SESSION_REVOKED, session("another"))
    with pytest.raises(StaleError):
        verifier.verify(access_token(transmitter.issuer))
    until(lambda: _after(clock, 0.5) and "does not come" in verifier.state.problem)
    deliverer.answers_verifications = True
    assert verifier.wait(15)


def _after(clock: Clock, seconds: float) -> bool:
    clock.elapsed_moved += seconds
    return True


def test_a_verification_that_nobody_asked_for_proves_nothing(
    transmitter: Transmitter, verifier: Verifier, deliverer: Deliverer, clock: Clock
) -> None:
    deliverer.answers_verifications = False
    old = transmitter.verifications[-1]["state"]
    clock.elapsed_moved += 31
    until(lambda: transmitter.verifications[-1]["state"] != old)
    for state in (old, "", "invented"):
        assert deliverer.verification(state).status == 202
    assert verifier.is_stale


def test_a_forged_set_ends_nothing_and_is_refused_as_the_rfc_says(
    transmitter: Transmitter, verifier: Verifier, deliverer: Deliverer
) -> None:
    claims = event_claims(transmitter.issuer, events.SESSION_REVOKED, session("s"))
    streams = set(transmitter.streams)
    for text, code in (
        (signed(claims, events.SET_TYP, by="stranger"), "invalid_key"),
        (signed(claims, events.SET_TYP, alg="none"), "invalid_request"),
        (signed(claims, "at+jwt"), "invalid_request"),
        (signed(claims | {"aud": "another"}, events.SET_TYP), "invalid_audience"),
        (signed(claims | {"iss": "https://evil.example"}, events.SET_TYP), "invalid_issuer"),
        ("", "invalid_request"),
        ("x" * 1_000_000, "invalid_request"),
        ("ä", "invalid_request"),
    ):
        began = time.thread_time()
        reply = deliverer.post_text(text)
        assert time.thread_time() - began < 0.05
        assert reply.status == 400
        assert json.loads(reply.body)["err"] == code
        assert reply.headers["Content-Type"] == "application/json"
    verifier.verify(access_token(transmitter.issuer, sid="s"))
    time.sleep(0.3)
    assert set(transmitter.streams) == streams, "a stranger cannot make it begin anew"


def test_an_event_signed_by_a_key_that_is_not_known_yet_is_to_be_sent_again(
    transmitter: Transmitter, verifier: Verifier, deliverer: Deliverer, clock: Clock
) -> None:
    text = signed(event_claims(transmitter.issuer, events.SESSION_REVOKED, session("s")), events.SET_TYP, kid="two")
    reply = deliverer.post_text(text)
    assert reply.status == 503
    assert reply.headers["Retry-After"]
    transmitter.published = ["one", "two"]
    clock.elapsed_moved += 61
    assert deliverer.post_text(text).status == 202


def test_an_event_that_cannot_be_understood_makes_it_begin_anew(
    transmitter: Transmitter, verifier: Verifier, deliverer: Deliverer
) -> None:
    [old] = transmitter.streams
    assert deliverer.post(events.SESSION_REVOKED, opaque("another kind of subject")).status == 400
    until(lambda: transmitter.streams and old not in transmitter.streams)


def test_a_stream_that_was_deleted_is_made_anew(transmitter: Transmitter, verifier: Verifier, clock: Clock) -> None:
    [old] = transmitter.streams
    transmitter.forget_streams()
    clock.elapsed_moved += 11
    until(lambda: transmitter.streams)
    assert old not in transmitter.streams
    verifier.close()
    assert not transmitter.streams


def test_a_proof_that_comes_late_counts_from_when_it_was_asked_for(
    transmitter: Transmitter, verifier: Verifier, deliverer: Deliverer, clock: Clock
) -> None:
    deliverer.answers_verifications = False
    clock.elapsed_moved += 11
    asked = len(transmitter.verifications)
    until(lambda: len(transmitter.verifications) > asked)
    late = transmitter.verifications[-1]["state"]
    clock.elapsed_moved += 11
    until(lambda: transmitter.verifications[-1]["state"] != late)
    assert deliverer.verification(late).status == 202
    assert 10 < verifier.state.staleness < 16
    deliverer.verification(late)
    assert verifier.state.staleness > 10


def test_a_promise_for_which_the_provider_verifies_too_seldom_is_not_made(transmitter: Transmitter, verifier_of: Make) -> None:
    transmitter.interval = 10
    verifier = verifier_of(transmitter.issuer, follow=PUSH, max_staleness=10.0, fresh=False)
    until(lambda: "must be at least 14 s" in verifier.state.problem)
    assert verifier.refuses


def test_a_verifier_that_polls_is_posted_nothing(transmitter: Transmitter, verifier_of: Make) -> None:
    with pytest.raises(ValueError, match="nothing is posted"):
        verifier_of(transmitter.issuer).receive(b"x")
