"""Usernames: which may exist, when two are the same, and when two print alike (THREATS 31; UTS #39 in spirit).

The rule, as docs/accounts.md tells it:

1. A name is normalised (NFKC), stripped, and 1 to 64 characters long.
2. It holds letters of living scripts, the vowel signs of their own script, the digits 0-9 and `. _ - @ +`. So there is
   no white space, control, format, bidi or NUL character in it, and nothing that prints as nothing.
3. Its letters are of one script; Latin may stand beside Han with kana, bopomofo or hangul, as such people write.
4. One that is written from right to left begins and ends with such a letter or sign, save digits at its end (RFC 5893 §2).
5. Two names are the same when they are equal after NFKC, case folding, NFKC: `fold`.
6. Two names print alike when their skeletons are equal, and only one of them can exist: `skeleton`.
"""

import unicodedata

MAXIMUM_LENGTH = 64
#: More than any name of 64 characters before normalising: what is longer is not even looked at.
_MAXIMUM_RAW = 256
_PUNCTUATION = frozenset("._-@+")
_DIGITS = frozenset("0123456789")
_SCRIPTS = frozenset(
    "LATIN GREEK CYRILLIC ARMENIAN HEBREW ARABIC THAANA DEVANAGARI BENGALI GURMUKHI GUJARATI ORIYA TAMIL TELUGU KANNADA "
    "MALAYALAM SINHALA THAI LAO TIBETAN MYANMAR GEORGIAN HANGUL ETHIOPIC KHMER CJK HIRAGANA KATAKANA BOPOMOFO".split()
)
_TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
#: Latin as alphabets use it. Phonetic and historic letters are where most look-alikes live.
_LATIN_BLOCKS = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x1BF), (0x1C4, 0x24F), (0x1E00, 0x1EFF))
_MORE_LATIN = frozenset("ɓɖɗəɛɣʋɔ")
#: Letters and signs of the scripts above that print as nothing.
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5")
_KANA_SIGNS = frozenset("ー々")

_LOOK_ALIKES = str.maketrans(
    # Cyrillic, Greek and Armenian, capital and small, as Latin; then what a reader mistakes within Latin and kana.
    "АВЕЅІЈКМНОРСТУХҺԀԚԜӀавеѕіјкмнорстухһԁԛԝӏґᴦ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹαβεικνορτυχϲ" + "ՍՏՕօսոհցյՀԼ" + "01Iıſ" + "ニロカハタエトへべぺー",
    "ABESIJKMHOPCTYXhdQWlaBesijKMHopcTyxhdqwlrr" + "ABEZHIKMNOPTYXCaBeiKvopTuxc" + "USOounhgjhL" + "olliſ" + "二口力八夕工卜ヘベペ一",
)
