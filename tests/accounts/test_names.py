"""Which usernames may exist, and when two are one (docs/threats.md 31)."""
# ruff: noqa: RUF001 - look-alikes are what is tested

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts import names
from idp.accounts.confusables import skeleton
from idp.accounts.errors import UsernameRefusedError


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "Ægir",
        "Nguyễn",
        "m.o-b_1+x@example.org",
        "Алёна",
        "Ελένη",
        "日本太郎",
        "田中Taro",
        "김철수",
        "राम",
        "สมชาย",
        "מֹשֶׁה",
        "محمد1",
        "007",
    ],
)
def test_names_of_the_world_are_accepted(name: str) -> None:
    assert names.displayed(name) == unicodedata.normalize("NFKC", name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "   ",
            "...",
            "two words",
            "tab\tbed",
            "line\nbreak",
            "nul\x00",
            "-option",
            "o'brien",
            "a/b",
            "a\\b",
            "<b>",
            "a" * 65,
            "a" * 10**6,
        ),
        *(
            "rlo\u202ename",
            "zero\u200bwidth",
            "zwj\u200dname",
            "bom\ufeff",
            "soft\u00adhyphen",
            "lone\ud800",
            "private\ue000",
        ),
        *("filler\u3164", "\u115f\u1160", "cgj\u034f", "variation\ufe0f", "\u17b4\u17b5", "tag\U000e0041"),
        *(
            "\u0301alice",
            "z\u0351\u0351\u0351",
            "क\u094d\u0902\u0902\u0902",
            "ב\u05bc\u05bc\u05bc\u05bc",
            "ﷺ",
            "１\u0662",
            "🙂",
            "x\u0338",
        ),
    ],
)
def test_what_cannot_be_typed_seen_or_told_apart_is_refused(name: str) -> None:
    with pytest.raises(UsernameRefusedError) as refused:
        names.displayed(name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["pаypal", "αlice", "Τom", "аdmin", "admіn", "ѕcott", "田中мария", "ひらがな김"])
def test_scripts_are_not_mixed(name: str) -> None:
    with pytest.raises(UsernameRefusedError, match="one script"):
        names.displayed(name)


def test_a_name_that_reads_both_ways_is_refused() -> None:
    assert names.displayed("א1") == "א1"
    with pytest.raises(UsernameRefusedError, match="right to left"):
        names.displayed("1א")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("ＡＬＩＣＥ", "alice"),
        (" alice ", "alice"),
        ("e\u0301va", "éva"),
        ("STRASSE", "straße"),
        ("ﬁn", "fin"),
        ("İstanbul", "istanbul"),
        ("ΣΟΦΟΣ", "σοφος"),
    ],
)
def test_two_spellings_of_one_name_are_the_same(one: str, other: str) -> None:
    assert names.fold(one) == names.fold(other)


def _accepted(name: str) -> str | None:
    try:
        return names.displayed(name)
    except UsernameRefusedError:
        return None


@given(st.text(min_size=1, max_size=70))
def test_whatever_is_typed_is_a_name_or_one_sentence(name: str) -> None:
    shown = _accepted(name)
    if shown is not None:
        assert names.fold(names.fold(shown)) == names.fold(shown)
        assert names.displayed(shown) == shown
        assert len(skeleton(shown)) <= 256


def test_every_character_folds_to_itself_when_it_is_folded_again() -> None:
    accepted = 0
    alphabets, ideographs = range(0x3400), range(0x3400, sys.maxunicode + 1, 61)
    for point in (*alphabets, *ideographs):
        shown = _accepted(chr(point)) or _accepted(f"a{chr(point)}")
        if shown is not None:
            accepted += 1
            assert names.fold(names.fold(shown)) == names.fold(shown)
            assert unicodedata.category(shown[-1])[0] in "LMN" or shown[-1] in "._-@+"
            assert shown.isprintable()
    assert accepted > 5_000
