"""Whatever colours an operator chooses, what is written can be read, in both colour schemes (WCAG 2.2 §1.4.3)."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idp.brand import rules
from tests.house.code import ROOT

COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


def variables(css: str, scheme: str) -> dict[str, tuple[int, int, int]]:
    blocks = re.findall(r":root \{([^}]*)\}", css)
    found = re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", blocks[scheme == "dark"])
    return {name: rules.colour(text) for name, text in found}


@given(COLOURS)
@example((255, 255, 255))
@example((0, 0, 0))
@example((255, 255, 0))
@example((128, 128, 128))
def test_any_accent_can_be_read(accent: tuple[int, int, int]) -> None:
    css = rules.stylesheet(accent, None)
    for scheme, card in rules.CARD.items():
        made = variables(css, scheme)
        assert rules.contrast(made["accent"], card) >= rules.READABLE
        assert rules.contrast(made["accent"], made["tint"]) >= rules.READABLE
        assert rules.contrast(made["accent-strong"], card) >= rules.READABLE
        assert rules.contrast(made["on-accent"], made["accent"]) >= rules.READABLE


@given(COLOURS)
def test_what_stands_on_any_background_can_be_read(background: tuple[int, int, int]) -> None:
    css = rules.stylesheet(None, background)
    for scheme in rules.CARD:
        made = variables(css, scheme)
        assert rules.contrast(made["on-page"], made["page"]) >= rules.READABLE


def test_an_accent_that_can_be_read_stays_as_it_is() -> None:
    assert variables(rules.stylesheet(rules.colour("#7a1fa2"), None), "light")["accent"] == rules.colour("#7a1fa2")


def test_without_colours_nothing_differs() -> None:
    assert "--" not in rules.stylesheet(None, None)


@pytest.mark.parametrize("text", ["", "red", "#fff", "#12345g", "#1234567", "#123456;}", " #123456", "url(x)"])
def test_what_is_no_colour_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="#rrggbb"):
        rules.colour(text)


def test_the_figures_here_are_those_of_the_stylesheet() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", (ROOT / "idp/static/idp.css").read_text(), re.DOTALL)[:2]
    for scheme, block in (("light", light), ("dark", dark)):
        for name, known in (("card", rules.CARD), ("ink", rules.INK)):
            written = re.search(rf"--{name}: #([0-9a-f]{{3,6}});", block)
            assert written is not None
            text = written[1] if len(written[1]) == 6 else "".join(char * 2 for char in written[1])
            assert rules.colour(f"#{text}") == known[scheme]
