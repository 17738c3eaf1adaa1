"""Following by status list: nothing but cacheable GETs, and each token says where its status stands."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import inf

from idp.protocol.status_list import INVALID, VALID
from idp.verifier import status_list
from idp.verifier.claims import instant
from idp.verifier.core import Core
from idp.verifier.errors import EndedTokenError, StaleError, TokenError, UncertainError, UnknownListError
from idp.verifier.following import Follower
from idp.verifier.jwks import KeyFetcher
from idp.verifier.provider import ProviderMetadata
from idp.verifier.rules import Claims, Ending, family_of, place
from idp.verifier.status_list import Reference
from idp.verifier.wire import Answer, ExchangeError, Flow, Pause, Request, ask, expect, seconds

#: More lists than this are not kept: 4 million families.
MOST_LISTS = 64
#: A list for which no token was seen for so long is not fetched any more, in seconds.
_UNUSED = 3600.0
#: A list that cannot be had, or is the same still, is not asked for again for so long; sooner where it is about to be stale.
_COOL_DOWN, _SHORTEST_COOL_DOWN = 5.0, 0.25
#: Of the time that is left until it is stale no more than this part passes until the next try.
_PATIENCE = 4
#: What is due is looked for this often; more often where a list lasts for seconds only.
_LOOK, _SHORTEST_LOOK = 1.0, 0.1
_PLACE = "status list"
#: What is told in whole seconds may be so much more.
_ROUNDING = 1.0
#: By how many seconds `max_staleness` must be above the `ttl`: what is made of whole seconds may say two seconds too much of a
#: list that was made a `ttl` ago, and one is for asking for the next.
MARGIN = 3.0


@dataclass(frozen=True, slots=True)
class StatusList:
    """Follow by the status lists that tokens name; needs no registration."""


class _Kept:
    """One list. `current_at` is the passing instant at which the provider made it."""

    def __init__(self, found: status_list.FetchedStatusList, current_at: float) -> None:
        self.found = found
        self.current_at = current_at
        self.used_at = current_at
        #: When the last token expires that was seen of it, by the wall clock.
        self.needed_until = -inf
        lives = inf if found.expires_at is None else found.expires_at - found.issued_at
        self.dies_at = current_at + lives


class StatusLists:
    """The lists that are known, and how old each is."""

    def __init__(self, max_staleness: float | None) -> None:
        self.max_staleness = max_staleness
        self.kept: dict[str, _Kept] = {}

    def age(self, now: float) -> float:
        """That of the oldest list; nothing is stale while no token was seen."""
        return max((now - kept.current_at for kept in tuple(self.kept.values())), default=0.0)

    def is_stale(self, now: float) -> bool:
        """Whether one list is older than it may be."""
        return self.max_staleness is not None and self.age(now) > self.max_staleness

    def has_ended(self, place: str) -> bool:
        """Whether its list says that the tokens of this place have ended."""
        index, _, uri = place.partition(" ")
        kept = self.kept.get(uri)
        return kept is not None and kept.found.status(int(index)) == INVALID

    def has_left(self, uri: str) -> bool:
        """Whether the list is not followed."""
        return uri not in self.kept

    def proof(self) -> "StatusLists":
        """Each list says by itself how old it is."""
        return self

    def check(self, claims: Claims, now: float) -> None:
        """Raise EndedTokenError, StaleError, UncertainError or UnknownListError for a token that is not known to be good."""
        reference = Reference.of(claims)
        if reference is None:
            message = "it names no status list"
            raise UncertainError(message, claims)
        kept = self.kept.get(reference.uri)
        if kept is None:
            raise UnknownListError(reference.uri)
        kept.used_at, kept.needed_until = now, max(kept.needed_until, instant(claims.get("exp")) or -inf)
        status = kept.found.status(reference.index)
        if status == INVALID:
            raise EndedTokenError("family", family_of(claims) or "")
        if now > kept.dies_at or (self.max_staleness is not None and now - kept.current_at > self.max_staleness):
            message = f"its status list is {now - kept.current_at:.1f} s old"
            raise StaleError(message, claims)
        if status != VALID:
            message = f"its status is {status}: the provider has to be asked"
            raise UncertainError(message, claims)


class ListFetcher(Follower):
    """Keeps the lists up to date."""

    def __init__(self, core: Core, provider: ProviderMetadata, keys: KeyFetcher, lists: StatusLists) -> None:
        self._core = core
        self._provider = provider
        self._keys = keys
        self._lists = lists
        self._tried: dict[str, float] = {}

    def follow(self) -> Flow[None]:
        """Without end: fetch each list that is used when its `ttl` is over, or sooner where the promise needs it."""
        while True:
            for uri, kept in tuple(self._lists.kept.items()):
                now, lasts = self._core.clock.elapsed(), self._lasts(kept.found.ttl)
                if now - kept.used_at > _UNUSED and self._core.clock.wall() > kept.needed_until:
                    self._leave(uri)
                elif now - kept.current_at >= lasts and self._may_try(uri, now, self._cool_down(kept, now)):
                    yield from self._try(uri)
            self._core.watch()
            now = self._core.clock.elapsed()
            pauses = (
                min(self._lasts(kept.found.ttl) / 8, self._cool_down(kept, now)) for kept in tuple(self._lists.kept.values())
            )
            yield Pause(max(_SHORTEST_LOOK, min(_LOOK, *pauses, _LOOK)))

    def _cool_down(self, kept: _Kept, now: float) -> float:
        """For how long a list is left alone that was asked for.

        The provider keeps one for its `ttl`, and caches do: the next may be there only just before this one is too old.
        """
        usual, most = min(_COOL_DOWN, self._lasts(kept.found.ttl) / 2), self._lists.max_staleness
        left = 0.0 if most is None else most - (now - kept.current_at)
        return usual if left <= 0 else min(usual, max(_SHORTEST_COOL_DOWN, left / _PATIENCE))

    def _leave(self, uri: str) -> None:
        """Follow a list no more. A socket that was to last longer than its token goes with it: nobody would hear of its end."""
        del self._lists.kept[uri]
        self._core.tell([Ending("status_list", uri, "status list no longer followed", self._core.clock.wall())])

    def find_list(self, uri: str) -> Flow[None]:
        """Fetch a list that a token names for the first time."""
        now = self._core.clock.elapsed()
        ours = uri.startswith(self._core.expected.issuer.rstrip("/") + "/")
        if ours and uri not in self._lists.kept and len(self._lists.kept) < MOST_LISTS and self._may_try(uri, now):
            yield from self._try(uri)

    def _may_try(self, uri: str, now: float, cool_down: float = _COOL_DOWN) -> bool:
        """Whether a list may be asked for again; it is then counted as asked for."""
        if now < self._tried.get(uri, -inf) + cool_down:
            return False
        if len(self._tried) >= 2 * MOST_LISTS:
            self._tried.clear()
        self._tried[uri] = now
        return True

    def _lasts(self, ttl: float) -> float:
        most = self._lists.max_staleness
        return ttl if most is None else min(ttl, most / 2)

    def _try(self, uri: str) -> Flow[None]:
        try:
            yield from self._fetch(uri)
        except (ExchangeError, TokenError) as error:
            self._core.note(_PLACE, str(error))
        else:
            self._core.note(_PLACE, "")

    def _fetch(self, uri: str) -> Flow[None]:
        sent_at = self._core.clock.elapsed()
        most = int(self._lasts(inf)) if self._lists.max_staleness is not None else None
        headers = {"Accept": "application/statuslist+jwt"} | ({} if most is None else {"Cache-Control": f"max-age={most}"})
        answer = yield from ask(Request("GET", self._provider.check_address(uri), headers))
        expect(answer, uri, 200)
        text, issuer = answer.body.decode("ascii", "replace").strip(), self._core.expected.issuer
        found = yield from self._keys.reading(lambda keys: status_list.read(text, keys, issuer, uri), trusted=True)
        self._see_that_it_is_possible(found.ttl)
        kept = _Kept(found, sent_at - made_ago(answer, found, self._core.clock.wall()))
        old = self._lists.kept.get(uri)
        if old is not None:
            kept.used_at, kept.needed_until = old.used_at, old.needed_until
        if old is None or kept.current_at >= old.current_at:
            self._lists.kept[uri] = kept
            ended = found.ended_since(None if old is None else old.found)
            self._core.tell(Ending("status", place(uri, index), "status list", found.issued_at) for index in ended)

    def _see_that_it_is_possible(self, ttl: float) -> None:
        """Say so where good tokens will be refused now and then: a list is kept there for longer than it may be old here."""
        most = self._lists.max_staleness
        is_short = most is not None and most < ttl + MARGIN
        words = (
            f"max_staleness {most:g} s is too short for the provider's ttl of {ttl:g} s: it must be {ttl + MARGIN:g} s or more"
        )
        self._core.note("max_staleness", words if is_short else "")


def made_ago(answer: Answer, found: status_list.FetchedStatusList, now: float) -> float:
    """For how long, at the most, the list had been made when it was asked for: by the provider's clock, then by the caches'.

    Both count whole seconds, so each may be behind by one. Where no `Date` says what time it was there, it is taken to have
    been kept for as long as it may be, or longer if this machine's clock says so (RFC 9111 §4.2.3).
    """
    kept = seconds(answer.headers["age"]) + _ROUNDING if "age" in answer.headers else 0.0
    try:
        then = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return max(kept, found.ttl, now - found.issued_at) + _ROUNDING
    return max(0.0, then - found.issued_at) + _ROUNDING + kept
