"""The rule: a good logout token is understood, and every single defect refuses it (Back-Channel Logout 1.0 §2.6)."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Container
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from examples.receiver import (
    EVENT,
    LEEWAY,
    MAXIMUM_AGE,
    MAXIMUM_TOKEN,
    AlreadyReceivedError,
    JtiMemory,
    Keys,
    LogoutToken,
    LogoutTokenError,
    UnknownKeyError,
    keys_of,
    validate_logout_token,
)
from tests.examples.conftest import CLIENT_ID, ISSUER, NOW

Claims = dict[str, Any]
Sign = Callable[..., str]
Validate = Callable[[str], LogoutToken]


@pytest.fixture
def validate(keys: Keys) -> Callable[..., LogoutToken]:
    def validated(token: str, now: float = NOW, seen_jti: Container[str] = ()) -> LogoutToken:
        return validate_logout_token(token, issuer=ISSUER, client_id=CLIENT_ID, keys=keys, now=now, seen_jti=seen_jti)

    return validated


def test_a_good_token_names_the_session_to_end(validate: Validate, sign: Sign, claims: Claims) -> None:
    token = validate(sign(claims))
    assert (token.iss, token.sid, token.sub, token.jti) == (ISSUER, "sid-of-alice", None, "jti-1")
    assert token.until == claims["exp"] + LEEWAY


def test_a_token_with_sub_alone_names_the_person(validate: Validate, sign: Sign, claims: Claims) -> None:
    del claims["sid"]
    token = validate(sign({**claims, "sub": "alice"}))
    assert (token.sid, token.sub) == (None, "alice")


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": [CLIENT_ID]},
        {"exp": NOW - LEEWAY + 1},
        {"iat": NOW + LEEWAY, "exp": NOW + LEEWAY + 120},
        {"sub": "alice"},
        {"events": {EVENT: {"why": "signed out"}}},
        {"unknown": "claims are ignored"},
    ],
    ids=str,
)
def test_what_the_specification_allows_is_accepted(validate: Validate, sign: Sign, claims: Claims, changed: Claims) -> None:
    assert validate(sign({**claims, **changed})).sid == "sid-of-alice"


@pytest.mark.parametrize("typ", ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt"])
def test_the_type_is_compared_as_a_media_type(validate: Validate, sign: Sign, claims: Claims, typ: str) -> None:
    assert validate(sign(claims, typ=typ)).sid == "sid-of-alice"


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"iss": "http://localhost:9000"}, "iss is not the provider"),
        ({"iss": ISSUER + "/"}, "iss is not the provider"),
        ({"iss": None}, "iss is not the provider"),
        ({"aud": "somebody-else"}, "aud is not this client alone"),
        ({"aud": [CLIENT_ID, "somebody-else"]}, "aud is not this client alone"),
        ({"aud": []}, "aud is not this client alone"),
        ({"aud": None}, "aud is not this client alone"),
        ({"exp": NOW - LEEWAY}, "exp has passed"),
        ({"exp": None}, "exp is missing"),
        ({"exp": "9999999999"}, "exp is missing or not a number"),
        ({"exp": True}, "exp is missing or not a number"),
        ({"exp": float("inf")}, "exp is missing or not a number"),
        ({"iat": NOW + LEEWAY + 1}, "iat is in the future"),
        ({"iat": float("nan")}, "iat is missing or not a number"),
        ({"iat": None}, "iat is missing"),
        ({"iat": NOW - MAXIMUM_AGE - LEEWAY, "exp": NOW + 10**9}, "iat is too long ago"),
        ({"sid": None}, "neither sid nor sub"),
        ({"sid": ""}, "sid is not a string"),
        ({"sid": 7}, "sid is not a string"),
        ({"sub": ["alice"]}, "sub is not a string"),
        ({"events": None}, "events is not exactly"),
        ({"events": {}}, "events is not exactly"),
        ({"events": EVENT}, "events is not exactly"),
        ({"events": [EVENT]}, "events is not exactly"),
        ({"events": {EVENT: {}, "https://example.com/other": {}}}, "events is not exactly"),
        ({"events": {"https://example.com/other": {}}}, "events is not exactly"),
        ({"events": {EVENT: True}}, "the event is not an object"),
        ({"nonce": "n"}, "nonce is present"),
        ({"nonce": None}, "nonce is present"),
        ({"jti": None}, "jti is missing"),
        ({"jti": 1}, "jti is not a string"),
    ],
    ids=str,
)
def test_one_wrong_claim_refuses_the_token(
    validate: Validate, sign: Sign, claims: Claims, changed: Claims, because: str
) -> None:
    with pytest.raises(LogoutTokenError, match=because):
        validate(sign({**claims, **changed}))


@pytest.mark.parametrize("name", ["iss", "aud", "iat", "exp", "jti", "sid", "events"])
def test_one_missing_claim_refuses_the_token(validate: Validate, sign: Sign, claims: Claims, name: str) -> None:
    del claims[name]
    with pytest.raises(LogoutTokenError):
        validate(sign(claims))


@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "secevent+jwt", "", 1, ["logout+jwt"]])
def test_another_type_of_token_is_refused(validate: Validate, claims: Claims, typ: object) -> None:
    with pytest.raises(LogoutTokenError, match=r"typ is not logout\+jwt"):
        validate(forged({"alg": "RS256", "kid": "k1", "typ": typ}, claims))


def test_an_id_token_is_refused(validate: Validate, sign: Sign, claims: Claims) -> None:
    del claims["events"]
    with pytest.raises(LogoutTokenError):
        validate(sign({**claims, "sub": "alice", "nonce": "n"}, typ="JWT"))


def forged(header: object, claims: Claims, signature: str = "") -> str:
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join([*(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature])


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "RS512", "PS256", "ES256", "rs256", None, 1, ["RS256"]])
def test_no_algorithm_but_rs256_is_tried(validate: Validate, claims: Claims, alg: object) -> None:
    with pytest.raises(LogoutTokenError, match="alg is not RS256"):
        validate(forged({"alg": alg, "kid": "k1", "typ": "logout+jwt"}, claims))


def test_the_public_key_is_no_secret_for_hs256(validate: Validate, claims: Claims, provider_key: RSAKey) -> None:
    signed_part = forged({"alg": "HS256", "kid": "k1", "typ": "logout+jwt"}, claims).rstrip(".")
    mac = hmac.digest(provider_key.as_pem(private=False), signed_part.encode(), "sha256")
    with pytest.raises(LogoutTokenError, match="alg is not RS256"):
        validate(f"{signed_part}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}")


@pytest.mark.parametrize("kid", ["k2", None, 1, ""])
def test_an_unknown_key_is_told_apart_so_that_keys_can_be_fetched(validate: Validate, claims: Claims, kid: object) -> None:
    with pytest.raises(UnknownKeyError):
        validate(forged({"alg": "RS256", "kid": kid, "typ": "logout+jwt"}, claims))


def test_somebody_elses_signature_is_refused(validate: Validate, sign: Sign, claims: Claims) -> None:
    with pytest.raises(LogoutTokenError, match="signature does not hold"):
        validate(sign(claims, key=RSAKey.generate_key(2048)))


def test_claims_changed_after_signing_are_refused(validate: Validate, sign: Sign, claims: Claims) -> None:
    head, _, signature = sign(claims).split(".")
    _, payload, _ = sign({**claims, "sid": "sid-of-bob"}).split(".")
    with pytest.raises(LogoutTokenError, match="signature does not hold"):
        validate(f"{head}.{payload}.{signature}")


def test_a_critical_extension_is_refused(validate: Validate, claims: Claims) -> None:
    with pytest.raises(LogoutTokenError, match="crit"):
        validate(forged({"alg": "RS256", "kid": "k1", "typ": "logout+jwt", "crit": ["b64"], "b64": False}, claims))


def test_an_oversized_token_is_refused_unread(validate: Validate, sign: Sign, claims: Claims) -> None:
    token = sign({**claims, "padding": "x" * MAXIMUM_TOKEN})
    with pytest.raises(LogoutTokenError, match="longer than"):
        validate(token)


def test_a_second_token_with_the_same_jti_is_refused(validate: Callable[..., LogoutToken], sign: Sign, claims: Claims) -> None:
    with pytest.raises(AlreadyReceivedError):
        validate(sign(claims), seen_jti={"jti-1"})


def test_a_defect_is_reported_before_the_jti_is_looked_up(
    validate: Callable[..., LogoutToken], sign: Sign, claims: Claims
) -> None:
    with pytest.raises(LogoutTokenError) as refusal:
        validate(sign({**claims, "aud": "somebody-else"}), seen_jti={"jti-1"})
    assert not isinstance(refusal.value, AlreadyReceivedError)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", "a.b.c.d.e", "e30.e30.", "W10.e30.", "é.é.é", "\x00.\x00.\x00"]
)
def test_what_is_no_token_is_refused(validate: Validate, token: str) -> None:
    with pytest.raises(LogoutTokenError):
        validate(token)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(token=st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,80}")))
def test_nothing_but_a_refusal_comes_of_garbage(validate: Validate, token: str) -> None:
    with pytest.raises(LogoutTokenError):
        validate(token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(["iss", "aud", "iat", "exp", "jti", "sid", "sub", "events", "nonce"]), value=json_values)
def test_no_value_of_a_claim_breaks_the_rule(validate: Validate, sign: Sign, claims: Claims, name: str, value: object) -> None:
    with suppress(LogoutTokenError):
        assert validate(sign({**claims, name: value})).iss == ISSUER


def test_a_header_that_nests_too_deeply_is_refused(validate: Validate) -> None:
    nested = urlsafe_b64encode(b"[" * 8000).rstrip(b"=").decode()
    with pytest.raises(LogoutTokenError):
        validate(f"{nested}.e30.e30")


def test_the_memory_of_jtis_is_bounded_in_number() -> None:
    memory = JtiMemory(size=3)
    for number in range(5):
        memory.add(f"jti-{number}", until=NOW + 100, now=NOW)
    assert [f"jti-{number}" in memory for number in range(5)] == [False, False, True, True, True]


def test_the_memory_of_jtis_is_bounded_in_time() -> None:
    memory = JtiMemory()
    memory.add("early", until=NOW + 100, now=NOW)
    memory.add("late", until=NOW + 300, now=NOW + 100)
    assert ("early" in memory, "late" in memory) == (False, True)


def test_keys_of_other_kinds_and_uses_are_left_aside(provider_key: RSAKey) -> None:
    public = provider_key.as_dict(private=False)
    jwks = [
        public,
        {**public, "kid": "for-encryption", "use": "enc"},
        {**public, "kid": "other-alg", "alg": "PS256"},
        {**public, "kid": "broken", "n": "!"},
        {"kty": "RSA"},
        {"kty": "unheard-of", "kid": "x"},
        ECKey.generate_key("P-256", {"kid": "ec"}).as_dict(private=False),
        "not a key",
    ]
    assert list(keys_of({"keys": jwks})) == ["k1"]
    assert keys_of({}) == {}
