"""The refresh token itself: opaque, ours alone, one spelling, and each has one successor (docs/adr/0004)."""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.runtime.secrets import Secrets, b64url
from idp.tokens import refresh
from idp.tokens.refresh import RefreshToken
from idp.tokens.rules import FAMILY_ID_BYTES

OURS = Secrets((b"the secret of this deployment, long enough",))
THEIRS = Secrets((b"another secret of another deployment, too",))

TOKENS = st.builds(
    RefreshToken,
    family_id=st.binary(min_size=FAMILY_ID_BYTES, max_size=FAMILY_ID_BYTES).map(b64url),
    generation=st.integers(0, 2**32 - 2),
    secret=st.binary(min_size=32, max_size=32),
)


@given(TOKENS)
@settings(deadline=None)
def test_a_token_reads_back_as_what_it_was(token: RefreshToken) -> None:
    text = token.text(OURS)
    assert refresh.read(text, OURS) == token
    assert text.isascii()
    assert "." not in text  # how a JWT is told from it
    assert not set(text) & set("=+/ ")


def test_every_single_bit_counts() -> None:
    text = RefreshToken.first(b64url(secrets.token_bytes(16))).text(OURS)
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for position in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        assert refresh.read(b64url(bytes(changed)), OURS) is None


def test_a_token_has_one_spelling() -> None:
    text = RefreshToken.first(b64url(secrets.token_bytes(16))).text(OURS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
    others = [text[:-1] + char for char in alphabet if char != text[-1]]
    others += [
        text + "=",
        text + "==",
        " " + text,
        text + " ",
        text + "\n",
        text + "\x00",
        text[:45] + "\n" + text[45:],
        text[:-1],
    ]
    others += [
        text[:1] + "%" + text[2:],
        text + "A",
        "A" + text,
        text.swapcase(),
        text.replace("-", "+").replace("_", "/") + " ",
    ]
    for other in others:
        assert refresh.read(other, OURS) is None, other


def test_the_standard_base64_alphabet_is_another_spelling() -> None:
    for _ in range(20):
        text = RefreshToken.first(b64url(secrets.token_bytes(16))).text(OURS)
        if {"-", "_"} & set(text):
            assert refresh.read(text.replace("-", "+").replace("_", "/"), OURS) is None
            return
    pytest.fail("twenty tokens without - and _: that is impossible")


@given(st.one_of(st.text(max_size=100), st.text("ABCabc019-_", min_size=91, max_size=91), st.binary(max_size=80).map(b64url)))
@settings(deadline=None)
def test_what_is_not_ours_is_none_and_breaks_nothing(text: str) -> None:
    assert refresh.read(text, OURS) is None


def test_a_token_of_another_deployment_is_none_of_ours() -> None:
    token = RefreshToken.first(b64url(secrets.token_bytes(16)))
    assert refresh.read(token.text(THEIRS), OURS) is None


@given(TOKENS)
@settings(deadline=None)
def test_the_successor_is_always_the_same_and_of_the_next_generation(token: RefreshToken) -> None:
    (first,), (again,) = token.successors(OURS), token.successors(OURS)
    assert first == again
    assert first.family_id == token.family_id
    assert first.generation == token.generation + 1
    assert first.secret != token.secret
    assert refresh.read(first.text(OURS), OURS) == first


@given(TOKENS)
@settings(deadline=None)
def test_nobody_without_our_secret_knows_the_successor(token: RefreshToken) -> None:
    assert token.successors(OURS)[0].secret != token.successors(THEIRS)[0].secret


@given(TOKENS, TOKENS)
@settings(deadline=None)
def test_different_tokens_have_different_successors(token: RefreshToken, other: RefreshToken) -> None:
    if token != other:
        assert token.successors(OURS)[0].secret != other.successors(OURS)[0].secret
    nudged = replace(token, generation=token.generation ^ 1)
    assert token.successors(OURS)[0].secret != nudged.successors(OURS)[0].secret


def test_what_is_stored_is_a_hash_of_the_secret_alone() -> None:
    token = RefreshToken.first(b64url(secrets.token_bytes(16)))
    assert token.stored == b64url(sha256(token.secret).digest())
    stored = urlsafe_b64decode(token.stored + "=")
    forged = replace(token, secret=stored)
    assert forged.stored != token.stored


def test_a_token_shows_no_secret_when_it_is_printed() -> None:
    token = RefreshToken.first(b64url(secrets.token_bytes(16)))
    for shown in (repr(token), str(token), f"{token}"):
        assert repr(token.secret) not in shown
        assert urlsafe_b64encode(token.secret).decode()[:12] not in shown


def test_tokens_outlive_a_change_of_the_secret_when_both_are_named() -> None:
    token = RefreshToken.first(b64url(secrets.token_bytes(16)))
    both = Secrets((*THEIRS.roots, *OURS.roots))
    assert refresh.read(token.text(OURS), both) == token
    assert refresh.read(token.text(both), OURS) is None
    successors = token.successors(both)
    assert successors[0] == token.successors(THEIRS)[0]
    assert token.successors(OURS)[0] in successors
