"""An operator's colours, made readable: WCAG 2.2 §1.4.3 asks for a contrast of 4.5 between words and what is behind them."""

import re
from typing import TypeAlias

#: Red, green and blue, each from 0 to 255.
Rgb: TypeAlias = tuple[int, int, int]
READABLE = 4.5
BLACK: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)
#: The cards and the words of `static/idp.css`, in the light and the dark scheme.
CARD: dict[str, Rgb] = {"light": (255, 255, 255), "dark": (21, 28, 26)}
INK: dict[str, Rgb] = {"light": (21, 32, 29), "dark": (233, 239, 236)}
_HEX = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_STEPS = 64
#: How much of the accent stands in a tint, by the scheme.
_TINT = {"light": 0.12, "dark": 0.22}
#: How much of an operator's background is left in the dark scheme.
_DIMMED = 0.16


def colour(text: str) -> Rgb:
    """The colour that `#rrggbb` names. Raises ValueError."""
    written = _HEX.fullmatch(text)
    if written is None:
        problem = "must be a colour written as #rrggbb"
        raise ValueError(problem)
    return int(written[1], 16), int(written[2], 16), int(written[3], 16)


def luminance(one: Rgb) -> float:
    """How bright a colour is, from 0 to 1 (WCAG 2.2, relative luminance)."""
    red, green, blue = (_linear(part / 255) for part in one)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB's own figures


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`share` of `one`, and the rest of `other`."""
    red, green, blue = (round(a * share + b * (1 - share)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def readable(one: Rgb, *behind: Rgb) -> Rgb:
    """`one`, or the nearest shade of it that can be read on each of `behind`."""
    towards = max((BLACK, WHITE), key=lambda end: min(contrast(end, each) for each in behind))
    for step in range(_STEPS + 1):
        shade = mixed(towards, one, step / _STEPS)
        if all(contrast(shade, each) >= READABLE for each in behind):
            return shade
    return towards


def on(behind: Rgb) -> Rgb:
    """Black or white, whichever is read better there."""
    return max((BLACK, WHITE), key=lambda end: contrast(end, behind))


def stylesheet(accent: Rgb | None, background: Rgb | None) -> str:
    """The variables of `static/idp.css` that differ, for both colour schemes."""
    light = _rule("light", accent, background)
    dark = _rule("dark", accent, background)
    return f":root {{{light}}}\n@media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}\n"


def _rule(scheme: str, accent: Rgb | None, background: Rgb | None) -> str:
    values = ({} if accent is None else _accents(scheme, accent)) | ({} if background is None else _page(scheme, background))
    return "".join(f" --{name}: #{r:02x}{g:02x}{b:02x};" for name, (r, g, b) in values.items()) + " "


def _accents(scheme: str, accent: Rgb) -> dict[str, Rgb]:
    card = CARD[scheme]
    tint = mixed(accent, card, _TINT[scheme])
    shade = readable(accent, card, tint)
    strong = mixed(shade, on(card), 0.8)
    return {"accent": shade, "accent-strong": strong, "on-accent": on(shade), "tint": tint}


def _page(scheme: str, background: Rgb) -> dict[str, Rgb]:
    page = background if scheme == "light" else mixed(background, BLACK, _DIMMED)
    words = INK[scheme] if contrast(INK[scheme], page) >= READABLE else on(page)
    return {"page": page, "glow": page, "on-page": words}
