"""The one reader of JSON that comes from outside (RFC 8259, RFC 7493): what two parsers could read in two ways is refused.

UTF-8 alone, each member once, no text that is none (half a character, NUL), no number beyond what a double holds exactly,
nothing nested without end. What was read here can be stored, compared, signed and computed with, on any database.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Bytes, unless the caller says another number: no body that we take and no document that we fetch is larger.
MAXIMUM_SIZE = 65_536
#: How deep arrays and objects may stand in each other. What we read is at most six deep.
MAXIMUM_DEPTH = 32
#: Integers beyond it are not the same number everywhere (RFC 7493 §2.2); no instant and no count is as large.
MAXIMUM_NUMBER = 2**53 - 1
_DIGITS = len(f"-{MAXIMUM_NUMBER}")
_SHOWN = re.compile(r"[A-Za-z0-9_#.:/-]{1,64}")


class JsonError(ValueError):
    """What came is not JSON, or not plain. Its text says where and why, and repeats nothing but names of members.

    `where` is the path of a value that is refused, as `keys[0].kid`; empty where the text as a whole is.
    """

    def __init__(self, text: str, where: str = "") -> None:
        super().__init__(f"{where}: {text}" if where else text)
        self.where = where


def loads(encoded: bytes | str, *, maximum: int = MAXIMUM_SIZE) -> Any:
    """The value. Raises JsonError, which is a ValueError, and nothing else."""
    text = _decoded(encoded, maximum)
    try:
        value = _STRICT.decode(text)
    except _UnfitError as error:
        raise _located(text) or JsonError(str(error)) from None
    except RecursionError:
        raise JsonError(_TOO_DEEP) from None
    except JsonError:
        raise
    except ValueError as error:
        raise JsonError(str(error)) from None
    # A bad text can only come from an escape, and depth from brackets: most of what comes has no need of a second look.
    if "\\u" in text or text.count("{") + text.count("[") > MAXIMUM_DEPTH:
        _check(value)
    return value


def load_object(encoded: bytes | str, *, maximum: int = MAXIMUM_SIZE) -> dict[str, Any]:
    """As `loads`, and the value is an object. Raises JsonError."""
    value = loads(encoded, maximum=maximum)
    if not isinstance(value, dict):
        message = "it is no JSON object"
        raise JsonError(message)
    return value


def stored(text: bytes | str) -> Any:
    """JSON that we wrote ourselves: it is read as it was written, also by an older version that was less strict."""
    return json.loads(text)


def _decoded(encoded: bytes | str, maximum: int) -> str:
    """The text, in characters that all can be written down. No other encoding is guessed (RFC 8259 §8.1)."""
    if len(encoded) > maximum:
        message = f"it is longer than {maximum} bytes"
        raise JsonError(message)
    try:
        if isinstance(encoded, str):
            if not encoded.isascii():
                encoded.encode()
            return encoded
        return str(encoded, "utf-8")
    except UnicodeError:
        message = "it is not in UTF-8"
        raise JsonError(message) from None


class _UnfitError(ValueError):
    """A value that is refused wherever it stands."""


@dataclass(frozen=True, slots=True)
class _Unfit:
    """Such a value, kept to find out where it stands."""

    reason: str


_TOO_DEEP = f"it is nested deeper than {MAXIMUM_DEPTH}"
_TOO_LARGE = "a number is beyond 2^53 - 1"


def _integer(text: str) -> int:
    number = int(text) if len(text) <= _DIGITS else None  # a long one takes long to read
    if number is None or not -MAXIMUM_NUMBER <= number <= MAXIMUM_NUMBER:
        raise _UnfitError(_TOO_LARGE)
    return number


def _real(text: str) -> float:
    number = float(text)
    if not -MAXIMUM_NUMBER <= number <= MAXIMUM_NUMBER:
        raise _UnfitError(_TOO_LARGE)
    return number


def _constant(name: str) -> None:
    raise _UnfitError(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"{_named(twice) or 'a member'} comes twice")
    return members


def _kept(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def keep(text: str) -> Any:
        try:
            return read(text)
        except _UnfitError as error:
            return _Unfit(str(error))

    return keep


_STRICT = json.JSONDecoder(object_pairs_hook=_once, parse_int=_integer, parse_float=_real, parse_constant=_constant)
_KEEPING = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_kept(_integer), parse_float=_kept(_real), parse_constant=_kept(_constant)
)


class _Place(NamedTuple):
    """A value, how deep it stands, and its place in what holds it."""

    value: Any
    depth: int
    within: "_Place | None"
    name: str | int

    def path(self) -> str:
        """Where it stands, as `keys[0].kid`."""
        parts: list[str] = []
        place: _Place | None = self
        while place is not None and place.within is not None:
            parts.append(f"[{place.name}]" if isinstance(place.name, int) else f".{_named(place.name) or '?'}")
            place = place.within
        return "".join(reversed(parts)).lstrip(".")


def _located(text: str) -> JsonError | None:
    """What is wrong with a text of which a value is unfit, and where; None where something else is wrong first."""
    try:
        _check(_KEEPING.decode(text))
    except JsonError as error:
        return error
    except (ValueError, RecursionError):
        return None
    return None


def _check(value: Any) -> None:
    """Look at every value and at every name. Raises JsonError."""
    places = [_Place(value, 1, None, "")]
    while places:
        place = places.pop()
        reason = _reason(place)
        if reason is not None:
            raise JsonError(reason, place.path())
        if isinstance(place.value, dict):
            for name, each in place.value.items():
                if (wrong := _text_problem(name)) is not None:
                    raise JsonError(f"the name of a member holds {wrong}")
                places.append(_Place(each, place.depth + 1, place, name))
        elif isinstance(place.value, list):
            places += [_Place(each, place.depth + 1, place, number) for number, each in enumerate(place.value)]


def _reason(place: _Place) -> str | None:
    value = place.value
    if isinstance(value, _Unfit):
        return value.reason
    if isinstance(value, str):
        wrong = _text_problem(value)
        return None if wrong is None else f"a string holds {wrong}"
    return _TOO_DEEP if place.depth > MAXIMUM_DEPTH and isinstance(value, dict | list) else None


def _text_problem(text: str) -> str | None:
    """What cannot be written down: half a character (RFC 8259 §8.2), and NUL, which PostgreSQL does not store."""
    if "\x00" in text:
        return "a NUL character"
    return "half a character" if any("\ud800" <= char <= "\udfff" for char in text) else None


def _named(name: str) -> str | None:
    """The name of a member as it may be repeated, if it may."""
    return name if _SHOWN.fullmatch(name) else None
