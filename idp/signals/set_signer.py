"""Making security event tokens (RFC 8417): signed once for each client, however many of its processes follow."""

import threading
from collections import OrderedDict

from idp.keys.service import KeyService
from idp.protocol.events import SET_TYP
from idp.runtime.clock import Instant
from idp.signals import rules
from idp.signals.rules import Signal

#: So many signed events are kept, about a kilobyte each.
_KEPT = 8192


class SetSigner:
    """Signs. A SET that a key has signed which signs no more is made anew: that key may be a dead one."""

    def __init__(self, issuer: str, keys: KeyService) -> None:
        self._issuer = issuer
        self._keys = keys
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[str | None, str]] = OrderedDict()

    def sign(self, signal: Signal, audience: str, now: Instant) -> str:
        """The SET of an event for a client. Raises SigningUnavailableError."""
        kid = self._keys.signing_kid()
        name = (signal.signal_id, audience)
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and kept[0] == kid:
            return kept[1]
        token = self._keys.sign(SET_TYP, rules.set_claims(self._issuer, audience, signal), now)
        with self._lock:
            self._kept[name] = (kid, token)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token
