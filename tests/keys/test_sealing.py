"""Private keys at rest: sealed under a secret that is not in the database, each bound to its `kid`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.keys.sealing import UnsealError, is_current, seal, unseal
from idp.runtime.secrets import Secrets

OURS = Secrets((b"the secret of this deployment, long enough",))
THEIRS = Secrets((b"another secret of another deployment, too",))
PRIVATE = b"the private key, as DER" * 20


def test_what_was_sealed_comes_back() -> None:
    assert unseal(OURS, "kid", seal(OURS, "kid", PRIVATE)) == PRIVATE


def test_what_is_stored_does_not_show_it_and_is_different_each_time() -> None:
    first, second = seal(OURS, "kid", PRIVATE), seal(OURS, "kid", PRIVATE)
    assert PRIVATE[:16] not in first
    assert first != second


def test_a_wrong_secret_is_told_in_one_sentence_with_the_mend() -> None:
    with pytest.raises(UnsealError) as refused:
        unseal(THEIRS, "kid", seal(OURS, "kid", PRIVATE))
    sentence = str(refused.value)
    assert "IDP_SECRET_KEY" in sentence
    assert "kid" in sentence
    assert THEIRS.roots[0].decode() not in sentence


def test_a_sealed_key_cannot_be_put_under_another_name() -> None:
    with pytest.raises(UnsealError):
        unseal(OURS, "other", seal(OURS, "kid", PRIVATE))


def test_an_old_secret_still_opens_and_the_first_one_seals() -> None:
    both = Secrets((*THEIRS.roots, *OURS.roots))
    assert unseal(both, "kid", seal(OURS, "kid", PRIVATE)) == PRIVATE
    assert unseal(THEIRS, "kid", seal(both, "kid", PRIVATE)) == PRIVATE


@given(st.integers(min_value=0), st.integers(0, 7))
@settings(deadline=None)
def test_every_single_bit_counts(position: int, bit: int) -> None:
    sealed = bytearray(seal(OURS, "kid", PRIVATE))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(UnsealError):
        unseal(OURS, "kid", bytes(sealed))


@given(st.binary(max_size=64))
@settings(deadline=None)
def test_garbage_in_the_column_is_told_as_well(sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        unseal(OURS, "kid", sealed)


def test_whether_a_key_needs_an_older_secret_can_be_asked() -> None:
    sealed = seal(OURS, "kid", PRIVATE)
    assert is_current(OURS, "kid", sealed)
    assert not is_current(Secrets((*THEIRS.roots, *OURS.roots)), "kid", sealed)
