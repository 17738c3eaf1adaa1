"""The status lists of this process: looked up at most once in a `ttl`, signed when somebody asks, then ready bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from idp.keys.service import KeyService
from idp.protocol import status_list
from idp.runtime.clock import Instant, elapsed
from idp.runtime.database import Database
from idp.status_list import rules
from idp.status_list.rules import ReadyStatusList
from idp.tokens.rules import status_list_uri
from idp.tokens.service import TokenService


@dataclass(slots=True)
class _Look:
    """How things were at one instant: every list comes from it. `signed` are those that were asked for, by which `kid`."""

    at: Instant
    began: float
    count: int
    entries: Mapping[int, dict[int, int]]
    signed: dict[int, tuple[str | None, ReadyStatusList]] = field(default_factory=dict)


class StatusListService:
    """All status lists. One look at the database serves them all, so that no stranger can make many."""

    def __init__(self, database: Database, tokens: TokenService, keys: KeyService, *, ttl: int) -> None:
        self._database = database
        self._tokens = tokens
        self._keys = keys
        self._issuer = tokens.policy.issuer
        self._ttl = ttl
        self._look: _Look | None = None
        self._lock = Lock()

    def get(self, number: int) -> tuple[ReadyStatusList, int] | None:
        """The list, and the seconds for which it may still be kept; None when there is no such list.

        What it says is never older than the `ttl`. Raises what the database or the key's holder raises: a list that
        is too old is not served instead.
        """
        with self._lock:
            look = self._current()
            if number >= look.count and not self._has_grown(look, number):
                return None
            return self._signed(look, number), self._left(look)

    def uris(self) -> tuple[list[str], int]:
        """The addresses of all lists, and the seconds for which they may be kept."""
        with self._lock:
            look = self._current()
            return [status_list_uri(self._issuer, number) for number in range(look.count)], self._left(look)

    def _current(self) -> _Look:
        if self._look is None or not self._is_fresh(self._look):
            began = elapsed()
            with self._database.reading() as tx:
                statuses = self._tokens.statuses(tx)
                self._look = _Look(tx.now, began, rules.count(statuses.allocated), rules.by_list(statuses))
        return self._look

    def _is_fresh(self, look: _Look) -> bool:
        """By the clock that the list is dated by, and by one that nobody sets: the other may have been put back."""
        return look.at <= self._database.clock() < look.at + self._ttl and elapsed() < look.began + self._ttl

    def _left(self, look: _Look) -> int:
        return max(0, int(look.at + self._ttl - self._database.clock()))

    def _has_grown(self, look: _Look, number: int) -> bool:
        """Whether the list has come into being since: another process may have given its first token away just now."""
        with self._database.reading() as tx:
            look.count = rules.count(self._tokens.status_indices(tx))
        return number < look.count

    def _signed(self, look: _Look, number: int) -> ReadyStatusList:
        kid, kept = self._keys.signing_kid(), look.signed.get(number)
        if kept is not None and kept[0] == kid:  # else the key was revoked, and nobody believes what it signed
            return kept[1]
        claims = rules.claims(self._issuer, number, look.entries.get(number, {}), look.at, self._ttl)
        ready = ReadyStatusList(self._keys.sign(status_list.TYP, claims, self._database.clock()).encode("ascii"))
        look.signed[number] = (kid, ready)
        return ready
