"""What an account may tell about its person (OpenID Connect Core 1.0 §5.1): each claim read strictly, with its own type."""

import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Collection, Mapping
from datetime import date
from typing import Any, TypeAlias

from idp.accounts.errors import AccountRefusedError
from idp.accounts.rules import Account, display_name, email_address
from idp.protocol import uris

_Json: TypeAlias = Any
MAXIMUM_TEXT = 128
MAXIMUM_URL = 512
MAXIMUM_LINES = 512
_BIRTHDATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})-([0-9]{2}))?")
#: BCP 47 as far as its shape goes; some software writes `_` for `-`, which §5.1 tells to accept.
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}")
#: E.164, with the separators that people write, and RFC 3966's extension.
_PHONE = re.compile(r"(\+[1-9][0-9 ().-]{4,28}[0-9])(;ext=[0-9]{1,8})?")
_PHONE_DIGITS = range(7, 16)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_A_YEAR_WITHOUT_DAYS = "0000"
#: A year in which every day of every month is.
_LEAP_YEAR = 2000
_VERIFIED = (("email_verified", "email"), ("phone_number_verified", "phone_number"))
ADDRESS = ("formatted", "street_address", "locality", "region", "postal_code", "country")


def read(sent: object) -> dict[str, _Json]:
    """The claims as they are kept; None takes one away. Raises AccountRefusedError, which says what was expected.

    An address or a number that is new is not verified unless that is said as well.
    """
    if not isinstance(sent, Mapping):
        problem = "The claims must be a JSON object."
        raise AccountRefusedError(problem)
    unknown = sorted(str(name) for name in sent if name not in _READERS)
    if unknown:
        problem = f"{unknown[0][:64]} is no claim that can be set; there are {', '.join(_READERS)}."
        raise AccountRefusedError(problem)
    known = {name: None if value is None else _READERS[name](name, value) for name, value in sent.items()}
    for verified, about in _VERIFIED:
        if about in known:
            known[verified] = bool(known.get(verified)) and known[about] is not None
        elif verified in known:
            known[verified] = bool(known[verified])
    return known


def change(account: Account, sent: object) -> dict[str, _Json]:
    """As `read`, for an account that is there: an address or a number that stays what it is stays verified as well."""
    known = read(sent)
    given = sent if isinstance(sent, Mapping) else {}
    for verified, about in _VERIFIED:
        if about in known and verified not in given and known[about] == getattr(account, about):
            known[verified] = getattr(account, verified)
    return known


def shown(account: Account) -> list[tuple[str, str]]:
    """What is known, as the person reads it: a label and a value for each."""
    return [("Username", account.username), *((_LABELS[name], text) for name in _LABELS if (text := _shown(account, name)))]


def told(account: Account, names: Collection[str]) -> list[str]:
    """What an app that is told the claims `names` would learn, as the person reads it; `sub` and what is no value left out."""
    known = [account.username] if "preferred_username" in names else []
    return [*known, *(text for name in _LABELS if name in names and (text := _shown(account, name)))]


def _shown(account: Account, name: str) -> str | None:
    value = getattr(account, name)
    if value is None:
        return None
    text = _one_line(value) if isinstance(value, Mapping) else str(value)
    doubtful = f"{name}_verified" in _READERS and not getattr(account, f"{name}_verified")
    return f"{text} (not verified)" if doubtful else text


def _one_line(address: Mapping[str, str]) -> str:
    return ", ".join((address.get("formatted") or "\n".join(address.values())).splitlines())


def _refused(name: str, expected: str) -> AccountRefusedError:
    return AccountRefusedError(f"{name}: must be {expected}.")


def _text(name: str, value: _Json) -> str | None:
    if not isinstance(value, str):
        raise _refused(name, "a string")
    try:
        return display_name(value)
    except AccountRefusedError:
        expected = f"a text of at most {MAXIMUM_TEXT} characters, without control or format characters"
        raise _refused(name, expected) from None


def _url(name: str, value: _Json) -> str:
    """An address that apps may show as a link: nothing but the web, so no `javascript:`."""
    if not isinstance(value, str) or len(value) > MAXIMUM_URL or not uris.is_wellformed(value):
        raise _refused(name, f"an absolute URL of at most {MAXIMUM_URL} characters")
    if not value.startswith(("https://", "http://")):
        raise _refused(name, "an https or http URL")
    return value


def _birthdate(name: str, value: _Json) -> str:
    expected = "YYYY-MM-DD, YYYY, or 0000-MM-DD where the year is not told"
    found = _BIRTHDATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found[2] is None and found[1] == _A_YEAR_WITHOUT_DAYS):
        raise _refused(name, expected)
    if found[2] is not None:
        year = _LEAP_YEAR if found[1] == _A_YEAR_WITHOUT_DAYS else int(found[1])
        try:
            date(year, int(found[2]), int(found[3]))
        except ValueError:
            raise _refused(name, expected) from None
    return found[0]


def _zone(name: str, value: _Json) -> str:
    """A name of the time-zone database; only its shape is looked at where this machine has no such database."""
    known = zoneinfo.available_timezones()
    if not isinstance(value, str) or not _ZONE.fullmatch(value) or (known and value not in known):
        raise _refused(name, "a time zone such as Europe/Paris")
    return value


def _locale(name: str, value: _Json) -> str:
    if not isinstance(value, str) or not _LOCALE.fullmatch(value):
        raise _refused(name, "a language tag such as en-US or fr (BCP 47)")
    return value


def _phone(name: str, value: _Json) -> str:
    """E.164, kept without the separators: one number, one spelling."""
    found = _PHONE.fullmatch(value.strip()) if isinstance(value, str) else None
    digits = "" if found is None else re.sub(r"[^0-9]", "", found[1])
    if found is None or len(digits) not in _PHONE_DIGITS:
        raise _refused(name, "a number with its country, such as +1 425 555 1212 (E.164)")
    return f"+{digits}{found[2] or ''}"


def _boolean(name: str, value: _Json) -> bool:
    if not isinstance(value, bool):
        raise _refused(name, "true or false")
    return value


def _email(name: str, value: _Json) -> str | None:
    if not isinstance(value, str):
        raise _refused(name, "a string")
    return email_address(value)


def _address(name: str, value: _Json) -> dict[str, str] | None:
    """A postal address (§5.1.1). Lines are parted by a line feed, whichever way they came."""
    if not isinstance(value, Mapping) or any(part not in ADDRESS for part in value):
        raise _refused(name, f"an object with some of {', '.join(ADDRESS)}")
    return {part: lines for part in ADDRESS if (lines := _lines(f"{name}.{part}", value.get(part)))} or None


def _lines(name: str, value: _Json) -> str:
    text = "" if value is None else value
    if not isinstance(text, str):
        raise _refused(name, "a string")
    kept = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()
    if len(kept) > MAXIMUM_LINES or any(unicodedata.category(char).startswith("C") and char != "\n" for char in kept):
        raise _refused(name, f"a text of at most {MAXIMUM_LINES} characters, without control characters")
    return kept


_LABELS = {
    "name": "Name",
    "given_name": "Given name",
    "middle_name": "Middle name",
    "family_name": "Family name",
    "nickname": "Nickname",
    "email": "Email address",
    "phone_number": "Phone number",
    "address": "Postal address",
    "birthdate": "Birthday",
    "gender": "Gender",
    "profile": "Profile page",
    "website": "Website",
    "picture": "Picture",
    "locale": "Language",
    "zoneinfo": "Time zone",
}
_READERS: dict[str, Callable[[str, _Json], _Json]] = {
    "name": _text,
    "given_name": _text,
    "family_name": _text,
    "middle_name": _text,
    "nickname": _text,
    "profile": _url,
    "picture": _url,
    "website": _url,
    "gender": _text,
    "birthdate": _birthdate,
    "zoneinfo": _zone,
    "locale": _locale,
    "email": _email,
    "email_verified": _boolean,
    "phone_number": _phone,
    "phone_number_verified": _boolean,
    "address": _address,
}
