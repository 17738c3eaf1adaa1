"""Session Management 1.0: what a relying party's frame may learn, which is only whether something changed.

The browser state is a keyed hash of the session's `sid`, in a cookie that scripts of our own page may read. It says
nothing of the person, and changes when another session begins or this one ends.
"""

import hmac
from hashlib import sha256

from idp.protocol.uris import origin
from idp.runtime import secrets
from idp.runtime.secrets import Secrets, b64url

_PURPOSE = "browser state"
_SALT_BYTES = 8


class BrowserState:
    """The states of one deployment's browsers. `cookie` is the name of the cookie that carries one."""

    def __init__(self, keys: Secrets, *, secure: bool) -> None:
        self._keys = keys
        self.cookie = "__Host-idp_browser_state" if secure else "idp_browser_state"
        self.secure = secure

    def of(self, sid: str) -> str:
        """The browser state of a session."""
        return b64url(hmac.digest(self._keys.key(_PURPOSE), sid.encode(), sha256))

    def session_state(self, sid: str, client_id: str, redirect_uri: str) -> str:
        """`session_state` for a client (§3.2): salted, so that two clients cannot compare theirs."""
        salt = secrets.token(_SALT_BYTES)
        known = f"{client_id} {origin(redirect_uri) or ''} {self.of(sid)} {salt}"
        return f"{b64url(sha256(known.encode()).digest())}.{salt}"
