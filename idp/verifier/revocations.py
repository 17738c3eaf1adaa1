"""What has ended, in memory, for as long as a token could be alive that it names."""

from collections.abc import Mapping
from math import ceil

from idp.verifier.rules import KINDS, Kind, names

#: Entries are forgotten together, by the minute.
_MINUTE = 60


class _Minute:
    """What may be forgotten at one instant. Its number is one object for all, so that an entry costs no number of its own."""

    __slots__ = ("number", "values")

    def __init__(self, number: int) -> None:
        self.number = number
        self.values: dict[Kind, list[str]] = {kind: [] for kind in KINDS}


class Revocations:
    """Five sets of names. Written by one thread at a time, read by any without a lock: an entry is there, or not yet."""

    def __init__(self, leeway: float) -> None:
        """`leeway` is the one by which `exp` is judged, in seconds."""
        self._leeway = leeway
        self._ended: dict[Kind, dict[str, int]] = {kind: {} for kind in KINDS}
        self._minutes: dict[int, _Minute] = {}

    def add(self, kind: Kind, value: str, tokens_until: float) -> bool:
        """Remember that `value` ended and that no token of it lives after `tokens_until`. Whether that is news."""
        number = ceil((tokens_until + self._leeway) / _MINUTE)
        known = self._ended[kind].get(value)
        if known is not None and known >= number:
            return False
        minute = self._minutes.get(number)
        if minute is None:
            minute = self._minutes[number] = _Minute(number)
        self._ended[kind][value] = minute.number
        minute.values[kind].append(value)
        return known is None

    def find(self, claims: Mapping[str, object], kid: str | None) -> tuple[Kind, str] | None:
        """What a token with these claims, signed by `kid`, has died of; None when it lives."""
        for kind, value in names(claims, kid):
            if value in self._ended[kind]:
                return kind, value
        return None

    def has(self, kind: Kind, value: str) -> bool:
        """Whether it is known to have ended."""
        return value in self._ended[kind]

    def forget(self, now: float) -> None:
        """Drop what names no token that could be alive at `now`, by the clock that judges `exp`."""
        for number in [number for number in self._minutes if number * _MINUTE <= now]:
            for kind, values in self._minutes.pop(number).values.items():
                ended = self._ended[kind]
                for value in values:
                    if ended.get(value) == number:
                        del ended[value]

    def count(self) -> dict[Kind, int]:
        """How many entries of each kind there are."""
        return {kind: len(ended) for kind, ended in self._ended.items()}
