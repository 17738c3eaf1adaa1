"""Browsers: what they are called, and the cookie by which one that has signed in before is known again.

The cookie opens nothing. A browser that holds one for an account has a bucket of its own in the throttle, which strangers
cannot fill, so that nobody can lock a person out of the browser that they use (OWASP, "Device cookies"). It is bound to the
account by `Account.device_owner`: another password makes all of them those of strangers.
"""

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256

from idp.runtime.clock import Instant
from idp.runtime.secrets import b64url, token

PURPOSE = "accounts device cookie"
#: As long as browsers keep a cookie at all (RFC 6265bis §5.5).
LIFETIME = 400 * 86400
#: People who share a browser: the one who signed in longest ago is forgotten first.
MAXIMUM_PEOPLE = 4
_NONCE_BYTES = 16
_TOKEN = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,12})\.[A-Za-z0-9_-]{43}")
_SEPARATOR = "~"

_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
#: In this order: most browsers name the older ones, too.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)


def in_words(user_agent: str) -> str:
    """A browser for people, such as "Firefox on Linux"."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), None)
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), None)
    if browser is None and system is None:
        return "An unknown device"
    return f"{browser or 'A browser'} on {system}" if system else str(browser)


def remember(keys: Sequence[bytes], cookie: str | None, owner: str, now: Instant) -> str:
    """The cookie of a browser in which the account just signed in; others that it knew stay known."""
    bare = f"{token(_NONCE_BYTES)}.{int(now)}"
    others = [part for part in _parts(cookie) if not _names(part, keys, owner)]
    return _SEPARATOR.join([f"{bare}.{_mac(keys[0], bare, owner)}", *others][:MAXIMUM_PEOPLE])


def recognise(keys: Sequence[bytes], cookie: str | None, owner: str, now: Instant) -> str | None:
    """The name of this browser, if it has signed in to the account before; None for a stranger."""
    for part in _parts(cookie):
        nonce, issued, _ = part.split(".")
        if _names(part, keys, owner) and now < int(issued) + LIFETIME:
            return nonce
    return None


def _parts(cookie: str | None) -> list[str]:
    parts = (cookie or "").split(_SEPARATOR)[:MAXIMUM_PEOPLE]
    return [part for part in parts if _TOKEN.fullmatch(part)]


def _names(part: str, keys: Sequence[bytes], owner: str) -> bool:
    bare, _, mac = part.rpartition(".")
    return any(hmac.compare_digest(_mac(key, bare, owner), mac) for key in keys)


def _mac(key: bytes, bare: str, owner: str) -> str:
    """Bound to the account by the code alone, so that the cookie tells a thief nobody's name."""
    return b64url(hmac.digest(key, f"{bare}.{owner}".encode(), sha256))
