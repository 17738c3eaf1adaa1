"""The public keys of relying parties, fetched from where they registered them (`jwks_uri`)."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from joserfc.jwk import KeySet

from idp.clients import jwks
from idp.protocol import strict_json
from idp.runtime import audit
from idp.runtime.clock import Instant
from idp.runtime.inbound.threads import release_thread
from idp.runtime.outbound.client import Outbound, OutboundError

#: Whoever asks for keys that nobody has makes us fetch no more often than this, in seconds, from one address.
COOLDOWN = 30.0
#: How long the last document counts when a newer one cannot be fetched, in seconds.
STALE = 3600.0
#: Requests of one process that may wait for documents at once: hanging addresses must leave threads for everybody else.
_MAXIMUM_WAITING = 8
_MAXIMUM_KEPT = 1000
_OK = 200


class ClientKeysError(Exception):
    """There are no keys of a client. Its text is a sentence that the client's developer may read."""


@dataclass(slots=True)
class _Kept:
    """What is known of one `jwks_uri`. The lock is held while its document is fetched."""

    keys: KeySet | None = None
    fetched_at: Instant = float("-inf")
    tried_at: Instant = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class ClientKeys:
    """Fetches, and remembers. Never call it inside a transaction: it may wait for a relying party."""

    def __init__(self, outbound: Outbound, clock: Callable[[], Instant], *, cache_seconds: float) -> None:
        self._outbound = outbound
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._guard = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MAXIMUM_WAITING)

    def at(self, uri: str, kid: str | None) -> KeySet:
        """The keys at `uri`. `kid` is the one looked for: one that is not among them may be new. Raises ClientKeysError."""
        kept = self._remembered(uri)
        if not self._suffices(kept, kid) and self._may_fetch(kept) and self._waiting.acquire(blocking=False):
            try:
                with release_thread(), kept.lock:  # whoever waited here finds what the first one fetched
                    if not self._suffices(kept, kid) and self._may_fetch(kept):
                        self._fetch(uri, kept)
            finally:
                self._waiting.release()
        if kept.keys is None or self._clock() - kept.fetched_at > self._cache_seconds + STALE:
            message = f"jwks_uri: the client's keys cannot be fetched; it is tried again after {COOLDOWN:.0f} s."
            raise ClientKeysError(message)
        return kept.keys

    def _remembered(self, uri: str) -> _Kept:
        with self._guard:
            kept = self._kept.setdefault(uri, _Kept())
            self._kept.move_to_end(uri)
            if len(self._kept) > _MAXIMUM_KEPT:
                self._kept.popitem(last=False)
            return kept

    def _suffices(self, kept: _Kept, kid: str | None) -> bool:
        fresh = kept.keys is not None and 0 <= self._clock() - kept.fetched_at < self._cache_seconds
        return fresh and kept.keys is not None and (kid is None or any(key.kid == kid for key in kept.keys.keys))

    def _may_fetch(self, kept: _Kept) -> bool:
        return not 0 <= self._clock() - kept.tried_at < COOLDOWN

    def _fetch(self, uri: str, kept: _Kept) -> None:
        try:
            answer = self._outbound.get(uri, headers={"Accept": "application/json"})
            if answer.status != _OK:
                message = f"the answer was {answer.status}"
                raise jwks.JwksError(message)
            keys = jwks.read(strict_json.loads(answer.body), lenient=True)
            # In this order: who does not wait for the lock sees the keys before these, or none, but never some of no age.
            kept.fetched_at = self._clock()
            kept.keys = keys
        except (OutboundError, ValueError) as error:
            reason = str(error) if isinstance(error, OutboundError | jwks.JwksError) else type(error).__name__
            audit.warn("client.keys_not_fetched", uri=uri, reason=reason)
        finally:
            kept.tried_at = self._clock()  # only now: until then others wait for what is fetched, and are not sent away
