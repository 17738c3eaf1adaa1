"""Which passwords may be chosen (docs/threats.md 30)."""
# ruff: noqa: RUF001 - look-alikes are what is tested

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts import password_rules
from idp.accounts.errors import PasswordRefusedError


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "  leading and trailing  ",
        "пароль из слов",
        "🦊🦊🦊🦊🦊🦊🦊🦊",
        "x" * 511 + "y" * 513,
    ],
)
def test_long_passwords_of_any_characters_are_accepted_whole(password: str) -> None:
    assert password_rules.check(password, "alice", 8) == password


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least 8"),
        ("", "at least 8"),
        ("x" * 1025, "at most 1024"),
        ("right length\x00", "NUL"),
        ("right length\ud800", "UTF-8"),
        ("Alice.Miller", "the username"),
        ("ＡＬＩＣＥ.ＭＩＬＬＥＲ", "the username"),
        ("password", "guessed first"),
        ("PassWord1", "guessed first"),
        ("qwertyuiop", "guessed first"),
        ("11111111", "guessed first"),
        ("Summer2026!"[:-1], "guessed first"),
        ("iloveyou", "guessed first"),
    ],
)
def test_a_password_that_nobody_should_have_is_refused_with_the_reason(password: str, why: str) -> None:
    with pytest.raises(PasswordRefusedError, match=why):
        password_rules.check(password, "alice.miller", 8)


def test_the_minimum_is_the_operators() -> None:
    assert password_rules.check("fifteen letters", "alice", 15)
    with pytest.raises(PasswordRefusedError, match="at least 16"):
        password_rules.check("fifteen letters", "alice", 16)


def test_two_keyboards_that_compose_differently_agree() -> None:
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
    assert password_rules.check(decomposed, "alice", 8) == composed == password_rules.normalised(composed)


def test_the_list_of_common_passwords_is_shipped_and_folded() -> None:
    words = password_rules.common()
    assert len(words) > 1000
    assert all(word == unicodedata.normalize("NFC", word).casefold() and len(word) >= 8 for word in words)


@given(st.text(max_size=40))
def test_whatever_is_chosen_is_accepted_or_refused_in_one_sentence(password: str) -> None:
    try:
        chosen = password_rules.check(password, "alice", 8)
    except PasswordRefusedError as refused:
        assert str(refused).endswith((".", "words."))
    else:
        assert password_rules.can_be_one(chosen)
