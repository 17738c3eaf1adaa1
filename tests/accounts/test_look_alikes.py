"""Names that print alike cannot both exist (docs/threats.md 31)."""
# ruff: noqa: RUF001 - look-alikes are what is tested

import pytest

from idp.accounts import confusables, names
from idp.accounts.confusables import skeleton


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ape", "аре"),  # Latin, Cyrillic
        ("Tom", "Тоm".replace("m", "м")),
        ("HATE", "НАТЕ"),
        ("ox", "οχ"),  # Greek
        ("nou", "ոօս"),  # Armenian
        ("PauI", "Paul"),
        ("user1", "userl"),
        ("b0b", "bob"),
        ("modern", "modem"),
        ("vvendy", "wendy"),
        ("Đo", "Ðo"),
        ("țar", "ţar"),
        ("ニ", "二"),
        ("へ", "ヘ"),
        ("علی", "علي"),
        ("מֹשֶׁה", "משה"),
    ],
)
def test_names_that_print_alike_have_one_skeleton(one: str, other: str) -> None:
    assert skeleton(names.displayed(one)) == skeleton(names.displayed(other))


@pytest.mark.parametrize(
    ("one", "other"), [("alice", "alicia"), ("ian", "lan"), ("eva", "éva"), ("bob", "rob"), ("анна", "алла")]
)
def test_names_that_can_be_told_apart_have_two(one: str, other: str) -> None:
    assert skeleton(names.displayed(one)) != skeleton(names.displayed(other))


def test_the_table_says_one_thing_of_each_character() -> None:
    table = confusables._LETTERS | confusables._SIGNS
    alikes = [char for row in table.values() for char in row]
    assert len(alikes) == len(set(alikes))
    assert not set(alikes) & set(table)


def test_a_skeleton_is_its_own_skeleton() -> None:
    for name in ("Alice01", "Ελένη", "Алёна", "İstanbul", "vvvrnrn", "Nguyễn"):
        assert skeleton(skeleton(name)) == skeleton(name)
