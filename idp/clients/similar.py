"""Which of the known words somebody likely meant. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches

_SIMILAR = 0.8
#: A longer word is none that was mistyped, and comparing costs the more the longer it is.
_LONGEST = 128


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was likely meant; None when none is like it. Capitals, hyphens and underscores do not matter."""
    if len(word) > _LONGEST:
        return None
    spelled = {_letters(each): each for each in known}
    found = get_close_matches(_letters(word), spelled, 1, _SIMILAR)
    return spelled[found[0]] if found else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """What is added to a refusal: the known word that was likely meant, or nothing."""
    meant = nearest(word, known) if isinstance(word, str) else None
    return "" if meant is None else f" (did you mean {meant}?)"


def _letters(word: str) -> str:
    return "".join(char for char in word.lower() if char.isalnum())
