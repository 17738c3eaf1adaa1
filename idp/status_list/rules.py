"""What a status list says, and for how long it may be believed."""

import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from idp.protocol import status_list
from idp.runtime.clock import Instant
from idp.tokens.rules import STATUS_LIST_SIZE, Statuses, status_list_uri

BITS = 2
#: One list, one spelling; no deployment will ever have as many.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReadyStatusList:
    """A signed list as it is sent, also compressed (§8.2)."""

    body: bytes
    zipped: bytes = field(init=False)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "zipped", gzip.compress(self.body, mtime=0))
        object.__setattr__(self, "etag", sha256(self.body).hexdigest()[:32])


def number_of(text: str) -> int | None:
    """The number of a list as it stands in its address; None for any other text."""
    return int(text) if _NUMBER.fullmatch(text) else None


def aggregation_uri(issuer: str) -> str:
    """Where all lists are named (§9)."""
    return f"{issuer}/status"


def count(allocated: int) -> int:
    """How many lists there are. The first is there before any token is."""
    return max(1, -(-allocated // STATUS_LIST_SIZE))


def lifetime(ttl: int) -> int:
    """For how many seconds a list may be believed, from its `iat` on.

    It is served for one `ttl`, and whoever fetched it at the end of that may keep it for another one; and `iat`, told in
    whole seconds, may be a second before the instant that the list speaks of.
    """
    return 2 * ttl + 1


def by_list(statuses: Statuses) -> dict[int, dict[int, int]]:
    """What is not valid, by the number of its list and the index there."""
    found: dict[int, dict[int, int]] = {}
    for indices, value in (
        (statuses.doubtful, status_list.APPLICATION_SPECIFIC),
        (statuses.ended, status_list.INVALID),  # the last word: of an ended family no token counts
    ):
        _note(found, indices, value)
    return found


def _note(found: dict[int, dict[int, int]], indices: Iterable[int], value: int) -> None:
    for index in indices:
        number, place = divmod(index, STATUS_LIST_SIZE)
        found.setdefault(number, {})[place] = value


def claims(issuer: str, number: int, entries: dict[int, int], at: Instant, ttl: int) -> dict[str, object]:
    """The claims of a Status List Token that says how things were at `at` (§5.1). Each list is full-sized.

    So nobody reads from one how many families there are in it.
    """
    return {
        "iss": issuer,
        "sub": status_list_uri(issuer, number),
        "iat": int(at),
        "exp": int(at) + lifetime(ttl),
        "ttl": ttl,
        "status_list": {
            "bits": BITS,
            "lst": status_list.encode(status_list.packed(entries, STATUS_LIST_SIZE, BITS)),
            "aggregation_uri": aggregation_uri(issuer),
        },
    }
