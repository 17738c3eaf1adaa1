"""What a token has to say, and what a verifier may be asked to promise."""

import time

import pytest

from idp.verifier import (
    BackChannel,
    ClaimError,
    ExpiredTokenError,
    MalformedTokenError,
    Poll,
    Push,
    StatusList,
    TokenError,
    Verifier,
)
from idp.verifier.rules import family_of, names
from tests.verifier.clocks import Clock
from tests.verifier.conftest import Make
from tests.verifier.signing import AUDIENCE, access_token, signed, token_claims
from tests.verifier.transmitter import Transmitter

ISSUER = "http://localhost:1"


@pytest.fixture
def verifier(transmitter: Transmitter, verifier_of: Make) -> Verifier:
    return verifier_of(transmitter.issuer)


def test_a_good_token_is_accepted_with_its_claims_and_the_key_that_signed_it(
    transmitter: Transmitter, verifier: Verifier
) -> None:
    claims = verifier.verify(access_token(transmitter.issuer, scope="notes"))
    assert claims["scope"] == "notes"
    assert claims.kid == "one"
    assert isinstance(claims, dict)


@pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["x", AUDIENCE]])
def test_one_of_its_audiences_has_to_be_us(transmitter: Transmitter, verifier: Verifier, aud: object) -> None:
    verifier.verify(access_token(transmitter.issuer, aud=aud))


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"iss": "https://evil.example"}, ClaimError),
        ({"iss": None}, ClaimError),
        ({"aud": "https://other.example"}, ClaimError),
        ({"aud": []}, ClaimError),
        ({"aud": None}, ClaimError),
        ({"aud": {AUDIENCE: 1}}, ClaimError),
        ({"aud": [["x"], {}]}, ClaimError),
        ({"aud": AUDIENCE + "/"}, ClaimError),
        ({"exp": None}, ClaimError),
        ({"exp": "2099"}, ClaimError),
        ({"exp": True}, ClaimError),
        ({"exp": float("inf")}, ClaimError),
        ({"exp": float("nan")}, ClaimError),
        ({"exp": 10**400}, ClaimError),
        ({"exp": -1}, ClaimError),
        ({"exp": 1}, ExpiredTokenError),
        ({"nbf": 2**39}, ClaimError),
    ],
)
def test_claims_that_are_not_for_us_or_not_now_are_refused(
    transmitter: Transmitter, verifier: Verifier, claims: dict[str, object], error: type[TokenError]
) -> None:
    with pytest.raises(error) as refused:
        verifier.verify(signed(token_claims(transmitter.issuer, **claims)))
    assert refused.value.status == 401


def test_claims_of_odd_types_break_nothing(transmitter: Transmitter, verifier: Verifier) -> None:
    for odd in ([], {}, 1, True, "", "."):
        verifier.verify(access_token(transmitter.issuer, sid=odd, jti=odd, client_id=odd))


def test_a_token_expires_by_the_clock_and_leeway_is_what_was_asked_for(transmitter: Transmitter, verifier_of: Make) -> None:
    lasts = Clock()
    strict, lenient = verifier_of(transmitter.issuer, clock=lasts), verifier_of(transmitter.issuer, clock=lasts, leeway=20)
    token = access_token(transmitter.issuer, exp=int(time.time()) + 10)
    strict.verify(token)
    lasts.wall_moved += 11
    with pytest.raises(ExpiredTokenError):
        strict.verify(token)
    lenient.verify(token)
    assert lenient.now() == pytest.approx(strict.now() - 20, abs=1)
    lasts.wall_moved += 20
    with pytest.raises(ExpiredTokenError):
        lenient.verify(token)


def test_the_type_is_at_jwt_unless_another_is_asked_for(transmitter: Transmitter, verifier_of: Make) -> None:
    usual, other = verifier_of(transmitter.issuer), verifier_of(transmitter.issuer, typ="JWT")
    claims = token_claims(transmitter.issuer)
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt"):
        usual.verify(signed(claims, typ))
        with pytest.raises(ClaimError):
            other.verify(signed(claims, typ))
    other.verify(signed(claims, "JWT"))
    for typ in ("JWT", "logout+jwt", "secevent+jwt", "", "statuslist+jwt"):
        with pytest.raises(ClaimError):
            usual.verify(signed(claims, typ))


def test_an_id_token_is_no_access_token_where_both_have_the_type_jwt(transmitter: Transmitter, verifier_of: Make) -> None:
    """Nor is a signed answer of `/userinfo`: only an access token names the client that it was given to (RFC 9068 §2.2)."""
    verifier = verifier_of(transmitter.issuer, typ="JWT")
    verifier.verify(signed(token_claims(transmitter.issuer), "JWT"))
    for more in ({"client_id": None}, {"client_id": None, "nonce": "n", "at_hash": "x"}, {"client_id": 5}):
        with pytest.raises(ClaimError):
            verifier.verify(signed(token_claims(transmitter.issuer, **more), "JWT"))


def test_a_longer_token_than_allowed_is_refused_unread(transmitter: Transmitter, verifier_of: Make) -> None:
    token = access_token(transmitter.issuer)
    with pytest.raises(MalformedTokenError):
        verifier_of(transmitter.issuer, maximum_length=len(token) - 1).verify(token)
    verifier_of(transmitter.issuer, maximum_length=len(token)).verify(token)


def test_what_a_token_may_die_of() -> None:
    claims: dict[str, object] = {"sid": "s", "jti": "f.x", "client_id": "c", "sub": "u"}
    assert set(names(claims, "k")) == {("sid", "s"), ("jti", "f.x"), ("family", "f"), ("client_id", "c"), ("kid", "k")}
    assert set(names({"jti": "alone", "sid": None}, None)) == {("jti", "alone")}
    assert family_of({"jti": ["f.x"]}) is None


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"follow": "poll"}, "must be a Poll, Push, StatusList or BackChannel"),
        ({"follow": BackChannel("c")}, "max_staleness=None"),
        ({"follow": BackChannel("c"), "max_staleness": 30.0}, "max_staleness=None"),
        ({"follow": Poll("c", "s"), "max_staleness": None}, "must be a number"),
        ({"follow": Push("c", "s", "https://api.example/x"), "max_staleness": None}, "must be a number"),
        ({"follow": Poll("c", "s"), "max_staleness": 2.5}, "at least 3 s"),
        ({"follow": Poll("c", "s"), "max_staleness": float("nan")}, "at least 3 s"),
        ({"follow": Poll("c", "s"), "on_stale": "ignore"}, "'refuse', 'introspect' or 'accept'"),
        ({"follow": StatusList(), "on_stale": "introspect"}, "credentials"),
        ({"follow": Poll("c", "s"), "leeway": -1}, "0 to 30 s"),
        ({"follow": Poll("c", "s"), "leeway": 30.5}, "0 to 30 s"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused_in_one_sentence(choices: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Verifier(ISSUER, AUDIENCE, **choices)


@pytest.mark.parametrize("audience", ["", [], ["", "x"]])
def test_a_verifier_for_nobody_is_refused(audience: object) -> None:
    with pytest.raises(ValueError, match="audience"):
        Verifier(ISSUER, audience, follow=Poll("c", "s"))


@pytest.mark.parametrize("issuer", ["http://idp.example", "ftp://x", "idp.example", "", "https://", "https://a@b.example"])
def test_an_issuer_that_secrets_must_not_be_sent_to_is_refused(issuer: str) -> None:
    with pytest.raises(ValueError, match="no https URL"):
        Verifier(issuer, AUDIENCE, follow=Poll("c", "s"))


def test_no_secret_is_shown() -> None:
    for follow in (Poll("c", "s3cret"), Push("c", "s3cret", "https://api.example/x", "s3cret")):
        assert "s3cret" not in repr(follow) + repr(follow.credentials)
