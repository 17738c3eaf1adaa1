"""Which passwords may be chosen (OWASP ASVS 5 V6.2, NIST SP 800-63B-4 §3.1.1).

Long ones, of any characters, that are not common. There is no rule on kinds of characters and no expiry: both make
passwords worse.
"""

import unicodedata
from functools import cache
from pathlib import Path

from idp.accounts import names
from idp.accounts.errors import PasswordRefusedError

#: Accepted whole: nothing is cut off, and nothing longer is hashed.
MAXIMUM_LENGTH = 1024
_COMMON = Path(__file__).with_name("common_passwords.txt")


def normalised(password: str) -> str:
    """The password as it is hashed: NFC, so that two keyboards that compose `é` differently agree."""
    return unicodedata.normalize("NFC", password)


def can_be_one(password: str) -> bool:
    """Whether any account can have this password: what cannot is not worth a look at the stored hash."""
    return 0 < len(password) <= MAXIMUM_LENGTH and "\x00" not in password and not _has_surrogate(password)


def check(password: str, username: str, min_length: int) -> str:
    """The password, normalised. Raises PasswordRefusedError with the sentence that its owner is shown."""
    if len(password) > MAXIMUM_LENGTH:
        problem = f"A password has at most {MAXIMUM_LENGTH} characters."
        raise PasswordRefusedError(problem)
    if "\x00" in password or _has_surrogate(password):
        problem = "A password may hold any character but NUL, in UTF-8."
        raise PasswordRefusedError(problem)
    chosen = normalised(password)
    if len(chosen) < min_length:
        problem = f"A password has at least {min_length} characters."
        raise PasswordRefusedError(problem)
    if names.folded(chosen) == names.folded(username):
        problem = "A password may not be the username."
        raise PasswordRefusedError(problem)
    if chosen.casefold() in common():
        problem = "That password is one of those that are guessed first: choose another, for instance four unrelated words."
        raise PasswordRefusedError(problem)
    return chosen


@cache
def common() -> frozenset[str]:
    """The best-known passwords of eight or more characters, case folded."""
    return frozenset(_COMMON.read_text(encoding="utf-8").split())


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
