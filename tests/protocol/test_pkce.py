"""Proof Key for Code Exchange, S256 only (RFC 7636)."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.protocol import pkce

UNRESERVED = string.ascii_letters + string.digits + "-._~"
VERIFIERS = st.text(UNRESERVED, min_size=43, max_size=128)


def test_the_example_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert pkce.challenge_of(verifier) == challenge
    assert pkce.proves(verifier, challenge)


@given(VERIFIERS, VERIFIERS)
@settings(deadline=None)
def test_a_verifier_proves_its_own_challenge_and_no_other(verifier: str, other: str) -> None:
    challenge = pkce.challenge_of(verifier)
    assert pkce.is_challenge(challenge)
    assert pkce.proves(verifier, challenge)
    assert pkce.proves(other, challenge) is (other == verifier)


def test_plain_proves_nothing() -> None:
    verifier = "a" * 43
    assert not pkce.proves(verifier, verifier)


@pytest.mark.parametrize(
    "verifier", ["", "a" * 42, "a" * 129, "a" * 42 + " ", "a" * 42 + "\n", "a" * 43 + "\n", "a" * 42 + "+", "a" * 42 + "ä"]
)
def test_an_odd_verifier_proves_nothing(verifier: str) -> None:
    assert not pkce.is_verifier(verifier)
    assert not pkce.proves(verifier, pkce.challenge_of("a" * 43))


@pytest.mark.parametrize("challenge", ["", "a" * 42, "a" * 44, "a" * 43 + "=", "a" * 43 + "\n", "a" * 42 + "+", "a" * 42 + "~"])
def test_an_odd_challenge_is_none(challenge: str) -> None:
    assert not pkce.is_challenge(challenge)


@given(st.text(max_size=140), st.text(max_size=50))
@settings(deadline=None)
def test_no_text_breaks_the_comparison(verifier: str, challenge: str) -> None:
    if pkce.is_challenge(challenge):
        pkce.proves(verifier, challenge)
    assert not pkce.proves(verifier, pkce.challenge_of("z" * 43)) or verifier == "z" * 43
