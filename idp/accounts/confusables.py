"""Names that print alike (UTS #39 §4, in a small table of our own; the standard library has none).

A skeleton is for comparing only. It errs on the side of alikeness: the price is that the second of `burns` and `bums`
must choose another name. Known limit: Indic and other signs that can be put together in two ways that print alike.
"""

import unicodedata

#: Each key stands for the characters behind it; looked up before case folding, for `В` prints as B and `в` does not.
_LETTERS = {
    "a": "АаΑα",
    "b": "ВвΒЬьƄƅ",
    "c": "СсϹϲ",
    "d": "Ԁԁ",
    "e": "ЕеΕҽҼє",
    "f": "Ғғ",
    "g": "ց",
    "h": "НнΗҺһհҢң",
    "i": "іιıɩ",
    "j": "Јјյȷ",
    "k": "КкΚκҚқ",
    "l": "1IІΙӀӏԼլƖ",
    "m": "МмΜ",
    "n": "Νηոռп",
    "o": "0ОоΟοՕօ",
    "p": "РрΡρƤƿ",
    "q": "Ԛԛզ",
    "r": "гᴦ",
    "s": "ЅѕՏƧƨ",
    "t": "ТтΤτ",
    "u": "ՍսυʋЦц",
    "v": "νѵѴ",
    "w": "ԜԝωшѡՎ",
    "x": "ХхΧχҲҳ",
    "y": "УуΥγүҮ",
    "z": "Ζ",
    "ə": "ǝәƏƎӘ",
    "ɛ": "εƐзЗ",
    "đ": "ÐƉĐ",
    "π": "ΠП",
    "φ": "ФфΦ",
    "ґ": "ГΓ",
    "λ": "ЛлΛ",
    "ي": "ىیے",
    "ك": "کڪ",
    "ه": "ةہھە",
    "二": "ニ",
    "口": "ロ",
    "力": "カ",
    "八": "ハ",
    "夕": "タ",
    "工": "エ",
    "卜": "ト",
    "一": "ー",
    "ヘ": "へ",
    "リ": "り",
}
#: Signs above and below that nobody tells apart in small print: caron and breve, cedilla and comma, and so on.
_SIGNS = {"\u0306": "\u030c", "\u0326": "\u0327", "\u0308": "\u030b", "\u0302": "\u0311", "\u0303": "\u0342"}
_TABLE = str.maketrans({alike: key for key, alikes in (_LETTERS | _SIGNS).items() for alike in alikes})
_PAIRS = (("rn", "m"), ("vv", "w"))
_POINTED_SCRIPTS = ("ARABIC", "HEBREW")


def skeleton(name: str) -> str:
    """What names that print alike have in common. `name` is the displayed one."""
    letters = unicodedata.normalize("NFD", name.replace("İ", "i")).translate(_TABLE).casefold().translate(_TABLE)
    bare = "".join(char for char in letters if not _is_vowel_point(char))
    for pair, single in _PAIRS:
        bare = bare.replace(pair, single)
    return unicodedata.normalize("NFC", bare)


def skeletons(displayed: str, folded: str) -> frozenset[str]:
    """What a name prints like, as it is shown and as it may be typed: `ALICE` is `alice`, which `aIice` prints like."""
    return frozenset({skeleton(displayed), skeleton(folded)})


def _is_vowel_point(char: str) -> bool:
    """Whether it is one of the small signs that many leave out, and few see."""
    return unicodedata.category(char) == "Mn" and unicodedata.name(char, "").startswith(_POINTED_SCRIPTS)
