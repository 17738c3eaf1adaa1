"""Hearing of sessions by logout tokens, each validated as Back-Channel Logout 1.0 §2.6 says."""

import json
import secrets
import time
from urllib.parse import urlencode

import pytest

from idp.verifier import BackChannel, EndedTokenError, Reply, Verifier
from tests.verifier.clocks import Clock
from tests.verifier.conftest import Make
from tests.verifier.signing import access_token, signed
from tests.verifier.transmitter import Transmitter

EVENT = "http://schemas.openid.net/event/backchannel-logout"


def logout_claims(issuer: str, **claims: object) -> dict[str, object]:
    now = int(time.time())
    made = {
        "iss": issuer,
        "aud": "app",
        "iat": now,
        "exp": now + 120,
        "jti": secrets.token_urlsafe(8),
        "sid": "s",
        "events": {EVENT: {}},
    }
    return {name: value for name, value in (made | claims).items() if value is not None}


def post(verifier: Verifier, token: str) -> Reply:
    return verifier.receive(urlencode({"logout_token": token}).encode())


@pytest.fixture
def verifier(transmitter: Transmitter, verifier_of: Make) -> Verifier:
    return verifier_of(transmitter.issuer, follow=BackChannel("app", token_lifetime=3600), max_staleness=None)


def test_a_logout_token_ends_its_session_and_no_other(transmitter: Transmitter, verifier: Verifier) -> None:
    token, other = access_token(transmitter.issuer, sid="s"), access_token(transmitter.issuer)
    verifier.verify(token)
    reply = post(verifier, signed(logout_claims(transmitter.issuer), "logout+jwt"))
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
    with pytest.raises(EndedTokenError):
        verifier.verify(token)
    verifier.verify(other)


def test_an_ended_session_is_remembered_for_as_long_as_a_token_may_live(
    transmitter: Transmitter, verifier: Verifier, clock: Clock
) -> None:
    post(verifier, signed(logout_claims(transmitter.issuer), "logout+jwt"))
    clock.pass_by(3590)
    verifier._core.tidy()
    assert verifier.has_ended([("sid", "s")])
    clock.pass_by(75)
    verifier._core.tidy()
    assert not verifier.has_ended([("sid", "s")])


def test_a_replay_is_refused(transmitter: Transmitter, verifier: Verifier) -> None:
    token = signed(logout_claims(transmitter.issuer), "logout+jwt")
    assert post(verifier, token).status == 200
    assert post(verifier, token).status == 400


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": None},
        {"iat": None},
        {"iat": 2**33},
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"jti": None},
        {"jti": 7},
        {"nonce": "n"},
        {"nonce": ""},
        {"events": None},
        {"events": {}},
        {"events": {EVENT: None}},
        {"events": {"urn:other": {}}},
        {"events": [EVENT]},
        {"sid": None},
        {"sid": 7},
    ],
)
def test_a_logout_token_that_is_not_valid_ends_nothing(
    transmitter: Transmitter, verifier: Verifier, claims: dict[str, object]
) -> None:
    reply = post(verifier, signed(logout_claims(transmitter.issuer, **claims), "logout+jwt"))
    assert reply.status == 400
    assert json.loads(reply.body)["err"] == "invalid_request"
    assert verifier.state.ended["sid"] == 0


def test_a_forged_one_ends_nothing(transmitter: Transmitter, verifier: Verifier) -> None:
    claims = logout_claims(transmitter.issuer)
    for token in (
        signed(claims, "logout+jwt", by="stranger"),
        signed(claims, "logout+jwt", alg="none"),
        signed(claims, "JWT"),
        signed(claims, "secevent+jwt"),
        "",
        "x" * 1_000_000,
    ):
        assert post(verifier, token).status == 400
    assert post(verifier, signed(claims, "logout+jwt", kid="stranger")).status == 503
    assert verifier.state.ended["sid"] == 0


@pytest.mark.parametrize(
    "body", [b"", b"logout_token=", b"x", b"\xff", b"logout_token=a&logout_token=b", b"token=a", b"a=b&" * 100, b"logout_token"]
)
def test_a_body_that_is_no_form_with_one_token_is_refused(verifier: Verifier, body: bytes) -> None:
    assert verifier.receive(body).status == 400
