"""The published keys as they were last seen, and when to look again: the cache contract of a JWKS."""

import json
from collections.abc import Mapping
from math import inf
from threading import Lock

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from idp.protocol import strict_json
from idp.protocol.signatures import DEFAULT_ALG

#: After any fetch, an unknown `kid` causes no other for so long, in seconds: random ones cause no storm.
COOL_DOWN = 10.0
#: A `kid` that was asked for and not found is not asked for again for so long.
UNKNOWN_SECONDS = 60.0
UNKNOWN_LIMIT = 256
#: Where the provider does not say for how long its JWKS may be cached.
DEFAULT_MAX_AGE = 300.0
LONGEST_MAX_AGE = 86_400.0
#: Fetched again when this part of its time is over, so that there is never a moment without.
_AHEAD = 0.8
_MEMBERS = ("kty", "n", "e")
_SHORTEST_PAUSE = 1.0
#: In bytes; some hundreds of keys.
_MAXIMUM_JWKS = 1024 * 1024


class KeyRing:
    """The keys by `kid`. A key that is no longer published is no longer here."""

    def __init__(self) -> None:
        self.keys: Mapping[str, RSAKey] = {}
        self.etag: str | None = None
        self._documents: dict[str, str] = {}
        #: The passing instant until which they may be cached. Set after the keys, so to be read before them.
        self.fresh_until = -inf
        self._seen_at = self._look_at = -inf
        self._tried_at = -inf
        self._unknown: dict[str, float] = {}
        self._lock = Lock()

    def age(self, now: float) -> float:
        """Seconds since the keys were seen, in excess of the time for which they may be cached; infinite before the first."""
        return max(0.0, now - self.fresh_until)

    def due_in(self, now: float) -> float:
        """Seconds until the next look."""
        return max(_SHORTEST_PAUSE, self._look_at - now)

    def tried(self, now: float) -> None:
        """A fetch begins."""
        self._tried_at = now

    def take(self, document: bytes, etag: str | None, sent_at: float, max_age: float) -> None:
        """Replace the keys by those of a JWKS (RFC 7517 §5). Raises ValueError for anything else.

        A document that was asked for before the one that is known would bring dead keys back, so it is dropped.
        """
        published = _published(document)
        with self._lock:
            if sent_at < self._seen_at:
                return
            keys = {}
            for kid, text in published.items():
                same = self._documents.get(kid) == text
                keys[kid] = self.keys[kid] if same else _imported(text)
            self.keys, self._documents, self.etag = keys, published, etag
            self._seen(sent_at, max_age)

    def unchanged(self, sent_at: float, max_age: float) -> None:
        """The keys were still the same at `sent_at` (RFC 9111 §4.3.3)."""
        with self._lock:
            self._seen(sent_at, max_age)

    def _seen(self, sent_at: float, max_age: float) -> None:
        self._seen_at = max(self._seen_at, sent_at)
        lasts = min(max_age, LONGEST_MAX_AGE)
        self._look_at = self._seen_at + _AHEAD * lasts
        self.fresh_until = self._seen_at + lasts

    def may_ask_for(self, kid: str, now: float) -> bool:
        """Whether the JWKS may be fetched because of this `kid`; it is then counted as asked for."""
        with self._lock:
            if now - self._tried_at < COOL_DOWN or now < self._unknown.get(kid, -inf):
                return False
            self._tried_at = now
            if len(self._unknown) >= UNKNOWN_LIMIT:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[kid] = now + UNKNOWN_SECONDS
            return True


def _published(document: bytes) -> dict[str, str]:
    """The keys of a JWKS that verify RS256, as JSON by their `kid`; others are passed over (RFC 7517 §5)."""
    try:
        keys = strict_json.load_object(document, maximum=_MAXIMUM_JWKS)["keys"]
        return {key["kid"]: json.dumps({name: key[name] for name in _MEMBERS}) for key in keys if _is_ours(key)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"not a JWKS ({type(error).__name__})"
        raise ValueError(message) from None


def _is_ours(key: Mapping[str, object]) -> bool:
    verifies = key.get("use", "sig") == "sig" and key.get("alg", DEFAULT_ALG) == DEFAULT_ALG
    return verifies and key.get("kty") == "RSA" and isinstance(key.get("kid"), str)


def _imported(text: str) -> RSAKey:
    try:
        return RSAKey.import_key(strict_json.stored(text))
    except (JoseError, ValueError) as error:  # cryptography's own say nothing of a key, and some say nothing at all
        message = f"a key of the JWKS cannot be read ({type(error).__name__})"
        raise ValueError(message) from None
