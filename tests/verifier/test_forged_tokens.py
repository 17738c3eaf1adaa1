"""What the provider did not sign, or not as an access token, is refused, whatever it is, and quickly (RFC 8725)."""

import gc
import hmac
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idp.verifier import TokenError, Verifier
from tests.verifier.conftest import Make
from tests.verifier.signing import access_token, b64, key, signed, token_claims, with_signature
from tests.verifier.transmitter import Transmitter

DEEP = "[" * 100_000
SHAPES = [
    *("", ".", "..", "...", "a.b.c", "a.b", "a.b.c.d.e", "\x00.\x00.\x00", "ä.ö.ü", "=.=.=", "null", "\ud800.a.b"),
    *(f"{b64(header)}.e30.AA" for header in ("", "null", "[]", '"alg"', "{}", "{", "NaN", "1e400", DEEP[:4000], '{"a":' * 800)),
    b64(b"\xff\xfe") + ".e30.AA",
    DEEP,
    "A" * 1_000_000,
    "A" * 500_000 + "." + "B" * 500_000 + ".C",
    "." * 100_000,
    ".".join(["eyJhbGciOiJSUzI1NiIsImtpZCI6Im9uZSIsInR5cCI6ImF0K2p3dCJ9", "A" * 15_000, "A" * 342]),
]


@pytest.fixture
def verifier(transmitter: Transmitter, verifier_of: Make) -> Verifier:
    return verifier_of(transmitter.issuer)


def refused(verifier: Verifier, token: object) -> None:
    """Refused, and cheaply: the processor's time, since this machine may be busy with something else.

    What other tests have left to be looked through for garbage is not counted.
    """
    gc.disable()
    try:
        began = time.thread_time()
        with pytest.raises(TokenError):
            verifier.verify(token)
        assert time.thread_time() - began < 0.05
    finally:
        gc.enable()


@pytest.mark.parametrize("token", [*SHAPES, None, 1, b"a.b.c", ["a"]], ids=range(len(SHAPES) + 4))
def test_what_is_no_jwt_at_all_is_refused_in_milliseconds(verifier: Verifier, token: object) -> None:
    refused(verifier, token)


@pytest.mark.parametrize("alg", ["none", "None", "", "RS384", "PS256", "ES256", "HS256", "EdDSA", None, 1, ["RS256"]])
def test_an_algorithm_other_than_rs256_is_refused(transmitter: Transmitter, verifier: Verifier, alg: object) -> None:
    refused(verifier, signed(token_claims(transmitter.issuer), alg=alg))
    body = f"{b64(json.dumps({'alg': alg, 'kid': 'one', 'typ': 'at+jwt'}))}.{b64(json.dumps(token_claims(transmitter.issuer)))}"
    for signature in ("", b64("x"), b64(b"\0" * 256)):
        refused(verifier, f"{body}.{signature}")


def test_hmac_with_the_public_key_as_its_secret_is_refused(transmitter: Transmitter, verifier: Verifier) -> None:
    for said in ("HS256", "RS256"):
        body = f"{b64(json.dumps({'alg': said, 'kid': 'one', 'typ': 'at+jwt'}))}.{b64(json.dumps(token_claims(transmitter.issuer)))}"
        for secret in (key("one").as_pem(private=False), b"one", b"0"):
            refused(verifier, f"{body}.{b64(hmac.digest(secret, body.encode(), 'sha256'))}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://evil.example/jwks"),
        ("x5u", "https://evil.example/cert"),
        ("x5c", ["MIIB"]),
        ("jwk", {"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        ("crit", ["exp"]),
        ("b64", False),
        ("cty", "JWT"),
        ("zip", "DEF"),
        ("enc", "A128GCM"),
    ],
)
def test_a_header_that_the_provider_never_sends_is_refused_and_never_followed(
    transmitter: Transmitter, verifier: Verifier, name: str, value: object
) -> None:
    asked = len(transmitter.asked)
    refused(verifier, signed(token_claims(transmitter.issuer), **{name: value}))
    assert not [each for each in transmitter.asked[asked:] if not each.startswith("POST /ssf/poll")]


@pytest.mark.parametrize(
    "kid", ["", "../../dev/null", "' OR 1=1", "\x00", "https://evil.example", "x" * 300, None, 0, ["one"], {"a": 1}]
)
def test_a_kid_is_only_ever_looked_up(transmitter: Transmitter, verifier: Verifier, kid: object) -> None:
    refused(verifier, signed(token_claims(transmitter.issuer), by="stranger", kid=kid))


def test_another_key_under_a_published_kid_is_refused(transmitter: Transmitter, verifier: Verifier) -> None:
    refused(verifier, signed(token_claims(transmitter.issuer), by="stranger"))


def test_claims_that_are_no_object_are_refused_even_over_a_good_signature(verifier: Verifier) -> None:
    header = b64(json.dumps({"alg": "RS256", "kid": "one", "typ": "at+jwt"}))
    for claims in ("[]", "null", '"x"', "1", "", "{", "[" * 2000, b"\xff", '{"a":' * 2000):
        refused(verifier, with_signature(f"{header}.{b64(claims)}", "one"))


def test_a_token_has_one_spelling(transmitter: Transmitter, verifier: Verifier) -> None:
    token = access_token(transmitter.issuer)
    header, claims, signature = token.split(".")
    others = [char for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if char != signature[-1]]
    for other in [f"{header}.{claims}.{signature[:-1]}{char}" for char in others] + [f"{token}=", f" {token}", f"{token}\n"]:
        refused(verifier, other)


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_every_change_of_a_good_token_is_refused(transmitter: Transmitter, verifier: Verifier, data: st.DataObject) -> None:
    token = access_token(transmitter.issuer)
    at = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.sampled_from("ABCXYZabcxyz0189-_.=+/ \n\x00ä"))
    how = data.draw(st.sampled_from(["insert", "replace", "drop"]))
    changed = token[:at] + ("" if how == "drop" else char) + token[at + (how != "insert") :]
    if changed != token:
        refused(verifier, changed)
