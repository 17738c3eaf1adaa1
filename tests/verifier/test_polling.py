"""Following by long poll: what ended is refused, and what cannot be known is refused after `max_staleness`, never before."""

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from idp.protocol import events
from idp.verifier import EndedTokenError, Ending, KeysUnseenError, StaleError, Staleness, TokenError, Verifier
from tests.support.pace import slowness
from tests.verifier.clocks import Clock
from tests.verifier.conftest import Make, until
from tests.verifier.signing import CLIENT, access_token, event_claims, opaque, session, signed
from tests.verifier.transmitter import Answer, Transmitter, as_json


def cut(_method: str, _path: str) -> None:
    """The connection breaks in the middle of every request."""
    raise ConnectionResetError


def sid_of(verifier: Verifier, token: str) -> str:
    return str(verifier.verify(token)["sid"])


def test_a_session_that_ends_is_refused_within_milliseconds(transmitter: Transmitter, verifier_of: Make) -> None:
    verifier = verifier_of(transmitter.issuer)
    token, other = access_token(transmitter.issuer), access_token(transmitter.issuer)
    heard: list[Ending] = []
    verifier.on_ended(heard.append)
    sid = sid_of(verifier, token)
    transmitter.end_session(sid)
    until(lambda: heard, 2.0)
    with pytest.raises(EndedTokenError) as refused:
        verifier.verify(token)
    assert (refused.value.kind, refused.value.value, refused.value.status) == ("sid", sid, 401)
    assert (heard[0].kind, heard[0].value, heard[0].reason) == ("sid", sid, "a test")
    verifier.verify(other)


def test_what_ended_before_it_started_is_known_when_it_is_fresh(transmitter: Transmitter, verifier_of: Make) -> None:
    transmitter.batch = 10
    for number in range(95):
        transmitter.end_session(f"s{number}")
    verifier = verifier_of(transmitter.issuer)
    assert verifier.state.ended["sid"] == 95
    assert len(transmitter.polls) >= 10


def test_nothing_is_accepted_before_the_first_proof(transmitter: Transmitter, verifier_of: Make) -> None:
    transmitter.fault = lambda _method, path: (503, {}, b"") if path.startswith("/ssf/poll") else None
    verifier = verifier_of(transmitter.issuer, fresh=False)
    for _ in range(2):  # before it has seen the keys, and after
        with pytest.raises((StaleError, KeysUnseenError)) as refused:
            verifier.verify(access_token(transmitter.issuer))
        assert refused.value.status == 503
        assert not verifier.wait(0.2)
    transmitter.fault = lambda _method, _path: None
    assert verifier.wait(10)
    verifier.verify(access_token(transmitter.issuer))


def test_it_refuses_when_the_promise_cannot_be_kept_and_says_so_by_itself(
    transmitter: Transmitter, verifier_of: Make, clock: Clock
) -> None:
    verifier = verifier_of(transmitter.issuer, max_staleness=20.0)
    told: list[Staleness] = []
    verifier.on_stale(told.append)
    token = access_token(transmitter.issuer)
    transmitter.fault = cut
    transmitter.forget_streams()
    clock.elapsed_moved += 12
    verifier.verify(token)
    clock.elapsed_moved += 9
    with pytest.raises(StaleError):
        verifier.verify(token)
    assert verifier.refuses
    until(lambda: told, 7.0)
    assert told[0].is_stale
    assert "cannot be reached" in verifier.state.problem


@pytest.mark.parametrize(
    ("on_stale", "active", "accepted"), [("accept", False, True), ("introspect", True, True), ("introspect", False, False)]
)
def test_what_happens_to_a_good_token_while_it_is_stale_is_the_apps_choice(
    transmitter: Transmitter, verifier_of: Make, clock: Clock, on_stale: str, active: bool, accepted: bool
) -> None:
    verifier = verifier_of(transmitter.issuer, on_stale=on_stale)
    ended, token = access_token(transmitter.issuer), access_token(transmitter.issuer)
    transmitter.end_session(sid_of(verifier, ended))
    until(lambda: verifier.state.ended["sid"])
    transmitter.active = active
    transmitter.fault = lambda _method, path: (503, {}, b"") if path.startswith("/ssf/poll") else None
    transmitter.forget_streams()
    clock.elapsed_moved += 31
    until(lambda: verifier.is_stale)
    if accepted:
        assert verifier.verify(token)["client_id"] == "app"
    else:
        with pytest.raises(EndedTokenError):
            verifier.verify(token)
    assert not verifier.refuses
    assert transmitter.count("POST /introspect") == (on_stale == "introspect")
    with pytest.raises(EndedTokenError):
        verifier.verify(ended)
    with pytest.raises(TokenError):
        verifier.verify(token[:-8] + "AAAAAAAA")


def test_where_introspection_fails_too_a_stale_token_is_refused(
    transmitter: Transmitter, verifier_of: Make, clock: Clock
) -> None:
    verifier = verifier_of(transmitter.issuer, on_stale="introspect")
    transmitter.fault = lambda _method, path: (500, {}, b"") if path.startswith(("/ssf/poll", "/introspect")) else None
    transmitter.forget_streams()
    clock.elapsed_moved += 31
    until(lambda: verifier.is_stale)
    with pytest.raises(StaleError):
        verifier.verify(access_token(transmitter.issuer))


def test_what_was_taken_in_is_acknowledged(transmitter: Transmitter, verifier_of: Make) -> None:
    verifier = verifier_of(transmitter.issuer)
    jti = transmitter.end_session("s")
    until(lambda: any(jti in poll["ack"] for poll in transmitter.polls))
    assert verifier.has_ended([("sid", "s")])
    [stream] = transmitter.streams.values()
    until(lambda: not stream.owed)


def test_a_stream_that_was_deleted_is_made_anew_and_nothing_is_missed(transmitter: Transmitter, verifier_of: Make) -> None:
    verifier = verifier_of(transmitter.issuer)
    for status in (404, 403):
        transmitter.fault = lambda _method, path, status=status: (
            (status, {}, b"") if path.startswith("/ssf/poll") and len(transmitter.streams) else None
        )
        transmitter.forget_streams()
        sid = f"while it was away {status}"
        transmitter.end_session(sid)
        transmitter.fault = lambda _method, _path: None
        until(lambda sid=sid: verifier.has_ended([("sid", sid)]))
    assert not verifier.is_stale


def test_its_stream_is_deleted_when_it_closes(transmitter: Transmitter, verifier_of: Make) -> None:
    verifier = verifier_of(transmitter.issuer)
    assert len(transmitter.streams) == 1
    began = time.monotonic()
    verifier.close()
    assert transmitter.streams == {}
    assert time.monotonic() - began < 2 * slowness()


def test_an_access_token_of_its_own_is_renewed_in_time_and_when_it_is_refused(
    transmitter: Transmitter, verifier_of: Make, clock: Clock
) -> None:
    verifier = verifier_of(transmitter.issuer)
    assert transmitter.count("POST /token") == 1
    clock.pass_by(0.8 * transmitter.token_lasts)
    transmitter.end_session("a")
    until(lambda: transmitter.count("POST /token") == 2)
    transmitter.tokens.clear()
    transmitter.end_session("b")
    until(lambda: transmitter.count("POST /token") == 3)
    transmitter.end_session("c")
    until(lambda: verifier.has_ended([("sid", "c")]))


# -- what proves nothing ----------------------------------------------------------------------------------------------


def proves_nothing(transmitter: Transmitter, verifier_of: Make, fault: Callable[[], Answer]) -> Verifier:
    """A verifier whose polls are answered in some way; it must never become fresh by that."""
    transmitter.fault = lambda _method, path: fault() if path.startswith("/ssf/poll") else None
    verifier = verifier_of(transmitter.issuer, fresh=False)
    until(lambda: transmitter.count("POST /ssf/poll") >= 3 or "poll" in verifier.state.problem)
    assert not verifier.wait(0.3)
    return verifier


ANSWERS: dict[str, Answer] = {
    "an empty body": (200, {}, b""),
    "no JSON": (200, {}, b"<html>"),
    "deep JSON": (200, {}, b"[" * 100_000),
    "a list": as_json([]),
    "no sets": as_json({"moreAvailable": False}),
    "sets that are a list": as_json({"sets": []}),
    "moreAvailable that is a text": as_json({"sets": {}, "moreAvailable": "false"}),
    "a 204": (204, {}, b""),
    "a 202": as_json({"sets": {}}, 202),
    "a redirect": (302, {"Location": "/elsewhere"}, b""),
    "a 500": as_json({"sets": {}}, 500),
    "a SET that is a number": as_json({"sets": {"a": 1}}),
    "a SET that is garbage": as_json({"sets": {"a": "garbage"}}),
    "17 MB": (200, {}, b" " * 17 * 1024 * 1024),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_answer_proves_nothing(transmitter: Transmitter, verifier_of: Make, name: str) -> None:
    proves_nothing(transmitter, verifier_of, lambda: ANSWERS[name])


@pytest.mark.parametrize(
    "forged",
    [
        lambda issuer: signed(event_claims(issuer, events.SESSION_REVOKED, session("s")), events.SET_TYP, by="stranger"),
        lambda issuer: signed(event_claims(issuer, events.SESSION_REVOKED, session("s"), aud="another"), events.SET_TYP),
        lambda issuer: signed(event_claims("https://evil.example", events.SESSION_REVOKED, session("s")), events.SET_TYP),
        lambda issuer: signed(event_claims(issuer, events.SESSION_REVOKED, session("s")), "at+jwt"),
        lambda issuer: signed(event_claims(issuer, events.SESSION_REVOKED, session("s")), events.SET_TYP, kid="stranger"),
    ],
)
def test_a_forged_event_ends_nothing_and_is_not_acknowledged_and_what_is_genuine_is_taken_in(
    transmitter: Transmitter, verifier_of: Make, forged: Callable[[str], str]
) -> None:
    verifier = verifier_of(transmitter.issuer)
    token = access_token(transmitter.issuer, sid="s")
    transmitter.owe(forged(transmitter.issuer), "forged")
    transmitter.end_session("genuine")
    until(lambda: verifier.has_ended([("sid", "genuine")]))
    verifier.verify(token)
    assert not any("forged" in poll["ack"] for poll in transmitter.polls)
    until(lambda: "not to be believed" in verifier.state.problem)


def test_an_ending_that_cannot_be_understood_leaves_it_stale_rather_than_wrong(
    transmitter: Transmitter, verifier_of: Make
) -> None:
    transmitter.tell(events.SESSION_REVOKED, opaque("a subject of another kind"))
    verifier = verifier_of(transmitter.issuer, fresh=False)
    until(lambda: "not to be believed" in verifier.state.problem)
    assert verifier.is_stale


def test_a_stream_that_would_not_tell_of_every_ending_proves_nothing(transmitter: Transmitter, verifier_of: Make) -> None:
    transmitter.delivered = [events.SESSION_REVOKED]
    verifier = verifier_of(transmitter.issuer, fresh=False)
    until(lambda: "would not tell of" in verifier.state.problem)
    assert verifier.is_stale


def test_more_available_proves_nothing_yet(transmitter: Transmitter, verifier_of: Make) -> None:
    proves_nothing(transmitter, verifier_of, lambda: as_json({"sets": {}, "moreAvailable": True}))
    assert transmitter.count("POST /ssf/poll") < 10


def test_a_proof_counts_from_when_it_was_asked_for(transmitter: Transmitter, verifier_of: Make, clock: Clock) -> None:
    """What ended while the answer was on its way may be missing in it."""

    def slow(_method: str, path: str) -> None:
        if path.startswith("/ssf/poll"):
            clock.elapsed_moved += 4

    transmitter.fault = slow
    verifier = verifier_of(transmitter.issuer)
    assert verifier.state.staleness >= 4


def test_documents_of_another_issuer_are_not_believed(transmitter: Transmitter, verifier_of: Make) -> None:
    for path in ("/.well-known/openid-configuration", "/.well-known/ssf-configuration"):
        document = as_json({"issuer": "https://evil.example", "jwks_uri": f"{transmitter.issuer}/jwks"})
        transmitter.fault = lambda _method, asked, path=path, document=document: document if asked == path else None
        verifier = verifier_of(transmitter.issuer, fresh=False)
        said = f"another issuer: 'https://evil.example', not {transmitter.issuer!r}"
        until(lambda verifier=verifier, said=said: said in verifier.state.problem)
        assert verifier.is_stale


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "invalid_client", "error_description": "The secret is wrong."}', "401 (invalid_client: The secret is wrong.)"),
        (b'{"err": "access_denied", "description": "x\\u001b[31my"}', "401 (access_denied: x[31my)"),
        (b'{"error": 5, "error_description": ["x"]}', "answered 401"),
        (json.dumps({"error": "x" * 5000}).encode(), f"401 ({'x' * 300})"),
        (b"<html>", "answered 401"),
        (b"[" * 100_000, "answered 401"),
    ],
)  # fmt: skip
def test_what_the_provider_says_of_an_error_is_what_the_operator_reads(
    transmitter: Transmitter, verifier_of: Make, body: bytes, said: str
) -> None:
    transmitter.fault = lambda _method, path: (401, {}, body) if path == "/token" else None
    verifier = verifier_of(transmitter.issuer, fresh=False)
    until(lambda: verifier.state.problem.endswith(said))


def test_an_address_that_secrets_must_not_be_sent_to_is_not_used(transmitter: Transmitter, verifier_of: Make) -> None:
    document = as_json(
        {"issuer": transmitter.issuer, "jwks_uri": f"{transmitter.issuer}/jwks", "token_endpoint": "http://idp.example/token"}
    )
    transmitter.fault = lambda _method, path: document if path == "/.well-known/openid-configuration" else None
    verifier = verifier_of(transmitter.issuer, fresh=False)
    until(lambda: "no https URL" in verifier.state.problem)
    assert verifier.is_stale


# -- what it costs the provider ---------------------------------------------------------------------------------------


def test_a_provider_that_does_not_wait_is_not_asked_without_end(transmitter: Transmitter, verifier_of: Make) -> None:
    transmitter.longest_wait = 0.0
    verifier_of(transmitter.issuer)
    before = transmitter.count("POST /ssf/poll")
    time.sleep(1.5)
    assert transmitter.count("POST /ssf/poll") - before <= 3


def test_a_provider_that_fails_is_asked_ever_more_slowly(transmitter: Transmitter, verifier_of: Make) -> None:
    verifier_of(transmitter.issuer)
    transmitter.fault = lambda _method, _path: (503, {"Retry-After": "3600"}, b"")
    transmitter.forget_streams()
    before = len(transmitter.asked)
    time.sleep(2.0)
    assert len(transmitter.asked) - before <= 12


def test_a_minute_of_quiet_costs_single_digits_of_requests(transmitter: Transmitter, verifier_of: Make, clock: Clock) -> None:
    """Time is moved beside it: each poll's wait passes at once."""
    passed = [0.0]

    def hurry(_method: str, path: str) -> Answer | None:
        if not path.startswith("/ssf/poll") or passed[0] >= 300:
            return None
        clock.pass_by(10.0)
        passed[0] += 10.0
        time.sleep(0.25)
        return as_json({"sets": {}, "moreAvailable": False})

    verifier = verifier_of(transmitter.issuer)
    before = len(transmitter.asked)
    transmitter.fault = hurry
    transmitter.end_session("wake up")
    until(lambda: passed[0] >= 300, 30)
    assert (len(transmitter.asked) - before) / 5 < 10
    assert not verifier.is_stale


# -- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-30.0, 30.0])
def test_a_clock_that_is_wrong_changes_nothing_about_endings(
    transmitter: Transmitter, verifier_of: Make, clock: Clock, skew: float
) -> None:
    clock.wall_moved = skew
    verifier = verifier_of(transmitter.issuer)
    token = access_token(transmitter.issuer)
    transmitter.end_session(sid_of(verifier, token))
    until(lambda: verifier.state.ended["sid"])
    for _ in range(40):
        clock.pass_by(10.0)
        verifier._core.tidy()
        with pytest.raises(TokenError):
            verifier.verify(token)
    assert verifier.state.ended["sid"] == 0, "and it is forgotten in time"


def test_a_clock_that_jumps_back_brings_no_token_back(transmitter: Transmitter, verifier_of: Make, clock: Clock) -> None:
    verifier = verifier_of(transmitter.issuer)
    token = access_token(transmitter.issuer)
    transmitter.end_session(sid_of(verifier, token))
    until(lambda: verifier.state.ended["sid"])
    clock.wall_moved += 600
    verifier._core.tidy()
    assert verifier.state.ended["sid"] == 0
    clock.wall_moved -= 600
    with pytest.raises(TokenError):
        verifier.verify(token)


def test_staleness_is_no_matter_of_the_time_of_day(transmitter: Transmitter, verifier_of: Make, clock: Clock) -> None:
    verifier = verifier_of(transmitter.issuer)
    for jump in (-86_400, 200, -1000):
        clock.wall_moved += jump
        assert not verifier.is_stale


# -- listeners --------------------------------------------------------------------------------------------------------


def test_a_listener_hears_of_news_once_after_it_is_known_and_until_it_is_undone(
    transmitter: Transmitter, verifier_of: Make
) -> None:
    verifier = verifier_of(transmitter.issuer)
    known: list[bool] = []

    def listen(ending: Ending) -> None:
        known.append(verifier.has_ended([(ending.kind, ending.value)]))

    def fail(_ending: Ending) -> None:
        raise RuntimeError

    verifier.on_ended(fail)
    undo = verifier.on_ended(listen)
    transmitter.end_session("a")
    transmitter.end_session("a")
    transmitter.end_session("b")
    until(lambda: verifier.has_ended([("sid", "b")]))
    until(lambda: len(known) == 2)
    assert known == [True, True]
    undo()
    transmitter.end_session("c")
    until(lambda: verifier.has_ended([("sid", "c")]))
    assert len(known) == 2
    assert "listener failed" in verifier.state.problem


def test_state_can_be_read_as_values_as_json_and_as_text(transmitter: Transmitter, verifier_of: Make) -> None:
    verifier = verifier_of(transmitter.issuer)
    transmitter.end_session("a")
    until(lambda: verifier.state.ended["sid"])
    state = verifier.state
    assert not state.is_stale
    assert state.as_dict()["ended"] == {"sid": 1, "family": 0, "jti": 0, "client_id": 0, "kid": 0}
    assert 'idp_verifier_ended{kind="sid"} 1\n' in state.as_prometheus()
    assert "idp_verifier_stale 0\n" in state.as_prometheus()
    assert "idp_verifier_requests_total 1234567\n" in replace(state, requests=1_234_567).as_prometheus()
    unstarted = Verifier(transmitter.issuer, "x", follow=verifier._engine._options.follow)
    assert unstarted.state.as_dict()["staleness"] is None
    assert "idp_verifier_staleness_seconds +Inf\n" in unstarted.state.as_prometheus()
    assert CLIENT not in state.as_prometheus()
    unstarted.close()
