"""Fetching the JWKS: ahead of its time again and again, and at once for a key that is missing."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from joserfc.jwk import RSAKey

from idp.verifier.core import Core
from idp.verifier.errors import UnknownKeyError
from idp.verifier.keyring import DEFAULT_MAX_AGE
from idp.verifier.provider import ProviderMetadata
from idp.verifier.wire import Answer, Backoff, ExchangeError, Flow, Pause, Request, ask, expect, seconds

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_LONGEST_PAUSE = 5.0
#: Somebody waits with a token in the hand.
_WAITED_FOR = 2.0
_T = TypeVar("_T")
_PLACE = "jwks"


class KeyFetcher:
    """Keeps the keys of a core up to date."""

    def __init__(self, core: Core, provider: ProviderMetadata) -> None:
        self._core = core
        self._provider = provider

    def keep(self) -> Flow[None]:
        """Without end: fetch before the copy is too old."""
        backoff = Backoff(_LONGEST_PAUSE)
        while True:
            try:
                yield from self.fetch()
            except ExchangeError as error:
                self._core.note(_PLACE, str(error))
                yield Pause(backoff.next(error.retry_after))
            else:
                backoff.reset()
                yield Pause(self._core.keys.due_in(self._core.clock.elapsed()))

    def fetch(self, within: float = _LONGEST_PAUSE, *, anew: bool = False) -> Flow[None]:
        """Fetch it now (RFC 7517 §5). Raises ExchangeError.

        `anew`: something has changed there that a cache on the way cannot know of (RFC 9111 §5.2.1.4).
        """
        ring = self._core.keys
        url = yield from self._provider.openid("jwks_uri")
        sent_at = self._core.clock.elapsed()
        ring.tried(sent_at)
        etag = ring.etag
        headers = {"Accept": "application/jwk-set+json, application/json"}
        headers |= {} if etag is None else {"If-None-Match": etag}
        headers |= {"Cache-Control": "no-cache"} if anew else {}
        answer = yield from ask(Request("GET", url, headers, seconds=within))
        if answer.status in {404, 410}:
            self._provider.forget()
        expect(answer, url, 200, 304)
        # A copy out of a cache was true when it was made, not when it was asked for.
        made_at = sent_at - seconds(answer.headers.get("age", ""))
        if answer.status == 304:  # noqa: PLR2004
            ring.unchanged(made_at, _max_age(answer))
        else:
            try:
                ring.take(answer.body, answer.headers.get("etag"), made_at, _max_age(answer))
            except ValueError as error:
                raise ExchangeError(str(error)) from None
        self._core.note(_PLACE, "")
        self._core.watch()

    def find(self, kid: str) -> Flow[None]:
        """Look for a key that somebody's token names, if that may be done again already."""
        if kid in self._core.keys.keys or not self._core.keys.may_ask_for(kid, self._core.clock.elapsed()):
            return
        try:
            yield from self.fetch(_WAITED_FOR, anew=True)
        except ExchangeError as error:
            self._core.note(_PLACE, str(error))

    def reading(self, read: Callable[[Mapping[str, RSAKey]], _T], *, trusted: bool) -> Flow[_T]:
        """Read what the provider signed; once more with fresh keys where its key is missing. Raises what `read` raises.

        `trusted` is what came from the provider itself: for that, keys are fetched however short ago they were.
        """
        try:
            return read(self._core.keys.keys)
        except UnknownKeyError as error:
            yield from self.fetch(anew=True) if trusted else self.find(error.kid)
            return read(self._core.keys.keys)


def _max_age(answer: Answer) -> float:
    found = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    return DEFAULT_MAX_AGE if found is None else float(found.group(1))
