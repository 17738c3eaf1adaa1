"""Usernames: which may exist, and when two are the same or print alike (docs/threats.md 31; after UTS #39 and RFC 8265).

1. A name is normalised (NFKC) and stripped; it has 1 to 64 characters, at least one letter or digit among them.
2. It holds letters of living scripts, the signs of these scripts, 0-9 and `. _ - @ +`, and does not begin with a hyphen
   or a sign. So there is no white space, control, format, bidi or NUL character, and nothing that prints as nothing.
3. Its letters are of one script; Latin may stand beside Han with kana, bopomofo or hangul, as such people write.
4. A name written from right to left begins with a letter and ends with one or a digit (RFC 5893 §2), for `1א` and `א1`
   print alike.
5. Two names are the same when they are equal after NFKC, case folding, NFKC (and `İ` is an `i`): `fold`.
6. Only one of the names that print alike, as shown or as typed, can exist: `idp.accounts.confusables.skeletons`.
"""

import unicodedata

from idp.accounts.errors import UsernameRefusedError

MAXIMUM_LENGTH = 64
#: More than any name has before it is normalised: what is longer is not looked at.
_MAXIMUM_RAW = 4 * MAXIMUM_LENGTH
_MARKS_IN_A_ROW = 3
_PUNCTUATION = frozenset("._-@+")
_DIGITS = frozenset("0123456789")
_LIVING = (
    "LATIN GREEK CYRILLIC ARMENIAN GEORGIAN HEBREW ARABIC THAANA ETHIOPIC DEVANAGARI BENGALI GURMUKHI GUJARATI ORIYA "
    "TAMIL TELUGU KANNADA MALAYALAM SINHALA THAI LAO TIBETAN MYANMAR KHMER HANGUL CJK HIRAGANA KATAKANA BOPOMOFO"
)
_SCRIPTS = frozenset(_LIVING.split())
_TOGETHER = ({"LATIN", "CJK", "HIRAGANA", "KATAKANA"}, {"LATIN", "CJK", "BOPOMOFO"}, {"LATIN", "CJK", "HANGUL"})
#: Where a script's living alphabets are: its phonetic and historic letters are where most look-alikes live.
_BLOCKS = {
    "LATIN": ((0x41, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)),
    "GREEK": ((0x386, 0x3CE), (0x1F00, 0x1FFF)),
    "CYRILLIC": ((0x400, 0x45F), (0x48A, 0x52F)),
    "HANGUL": ((0xAC00, 0xD7A3),),
}
_MORE = {
    "ɓ": "LATIN",
    "ɖ": "LATIN",
    "ɗ": "LATIN",
    "ə": "LATIN",
    "ɛ": "LATIN",
    "ɔ": "LATIN",
    "ー": "KATAKANA",
    "々": "CJK",
}
#: What `İ` is folded to; without its second dot it is the `i` that it prints as.
_DOTTED_I = "i\u0307"
_PRINTS_NOTHING = frozenset("\u17b4\u17b5")


def fold(username: str) -> str:
    """What two spellings of the same name have in common. Raises UsernameRefusedError for what can be no name."""
    return folded(displayed(username))


def folded(name: str) -> str:
    """`fold` for a name that is known to hold to the rule."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).replace(_DOTTED_I, "i")


def is_same(one: str, other: str) -> bool:
    """Whether two texts are spellings of one name. What can be no name is nobody's."""
    try:
        return fold(one) == fold(other)
    except UsernameRefusedError:
        return False


def displayed(username: str) -> str:
    """The name as it is shown. Raises UsernameRefusedError for what can be no name."""
    if len(username) > _MAXIMUM_RAW:
        raise UsernameRefusedError(_TOO_LONG)
    name = unicodedata.normalize("NFKC", username).strip()
    problem = _problem(name)
    if problem is not None:
        raise UsernameRefusedError(problem)
    return name


_TOO_LONG = f"A username has at most {MAXIMUM_LENGTH} characters."


def _problem(name: str) -> str | None:
    if max(len(name), len(folded(name))) > MAXIMUM_LENGTH:
        return _TOO_LONG
    if not any(char in _DIGITS or _is_letter(char) for char in name):
        return "A username has at least one letter or digit."
    strange = [char for char in name if char not in _PUNCTUATION | _DIGITS and _script(char) is None]
    if strange:
        return f"A username holds letters, digits and . _ - @ + only; it may not hold {_called(strange[0])}."
    return _problem_together(name)


def _problem_together(name: str) -> str | None:
    """What is wrong with the order or the company of characters that may each be there."""
    if name.startswith("-") or _is_mark(name[0]) or _has_heap_of_marks(name):
        return "A username may not begin with a hyphen or a combining sign, nor heap signs on one letter."
    scripts = {script for script in map(_script, name) if script is not None}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        return "A username is written in one script: letters that look like another script's may not be mixed in."
    if not _reads_one_way(name):
        return "A username written from right to left begins with a letter and ends with a letter or a digit."
    return None


def _is_letter(char: str) -> bool:
    return unicodedata.category(char) in {"Ll", "Lu", "Lo"} or char in _MORE


def _is_mark(char: str) -> bool:
    return unicodedata.category(char) in {"Mn", "Mc"}


def _script(char: str) -> str | None:
    """The script of a letter or sign that a name may hold; None for anything else. Unicode's names begin with it."""
    if char in _MORE:
        return _MORE[char]
    script = unicodedata.name(char, "").partition(" ")[0]
    if script not in _SCRIPTS or not (_is_letter(char) or _is_mark(char)) or char in _PRINTS_NOTHING:
        return None
    if script == "LATIN" and unicodedata.category(char) == "Lo":
        return None  # clicks, which print as strokes
    blocks = _BLOCKS.get(script, ((0, 0x10FFFF),))
    spelled = char + folded(char)
    return (
        script
        if all(other in _MORE or any(first <= ord(other) <= last for first, last in blocks) for other in spelled)
        else None
    )


def _has_heap_of_marks(name: str) -> bool:
    row = 0
    for char in name:
        row = row + 1 if _is_mark(char) else 0
        if row > _MARKS_IN_A_ROW:
            return True
    return False


def _reads_one_way(name: str) -> bool:
    directions = [unicodedata.bidirectional(char) for char in name]
    if not {"R", "AL"} & set(directions):
        return True
    last = next(direction for direction in reversed(directions) if direction != "NSM")
    return directions[0] in {"R", "AL"} and last in {"R", "AL", "EN"}


def _called(char: str) -> str:
    """A character for a message: by its name, so that nothing invisible is printed."""
    return unicodedata.name(char, f"U+{ord(char):04X}")
