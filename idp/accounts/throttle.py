"""How often a sign-in may fail (docs/threats.md 29).

An attempt is counted before its password is looked at, and uncounted when the password was right: parallel guesses
cannot slip through. The buckets are those of the account, whether or not it exists, and of the address. A browser that
has signed in to the account before has one of its own in the account's place, which strangers cannot fill; so has a session
in which the person shows their password once more. Every bucket is emptied by the clock, and lies in the database, so that
a restart empties none.
"""

import hmac
from collections.abc import Iterable
from hashlib import sha256
from math import ceil

from idp.accounts import devices, throttle_store
from idp.accounts.errors import SignInThrottledError
from idp.accounts.throttle_store import Count
from idp.config import Settings
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.outbound.addresses import network_of
from idp.runtime.secrets import Secrets, b64url

PURPOSE = "accounts throttle"
#: 120 bits of a hash. The buckets of an account's browsers begin with the account's own, so that all can be emptied.
_DEVICE_CHARACTERS = 20


class Throttle:
    """Counts sign-ins that failed."""

    def __init__(self, database: Database, settings: Settings, secrets: Secrets) -> None:
        self._database = database
        self._secrets = secrets
        self._window = settings.accounts_throttle_window
        self._account_failures = settings.accounts_throttle_account_failures
        self._address_failures = settings.accounts_throttle_address_failures

    def reserve(self, folded: str, address: str, device: str | None, owner: str | None) -> tuple[Count, ...]:
        """Count a sign-in, in a transaction of its own. Raises SignInThrottledError, counting nothing.

        `owner` is the `device_owner` of the account that has this name, if there is one.
        """
        return self._count(self._buckets(folded, address, device, owner))

    def reserve_in_session(self, sid: str, subject: str) -> tuple[Count, ...]:
        """Count a password that is shown by who is signed in. Strangers' attempts at the sign-in count elsewhere."""
        return self._count([(self._in_session(sid, subject), self._account_failures)])

    def _count(self, buckets: Iterable[tuple[str, int]]) -> tuple[Count, ...]:
        with self._database.writing() as tx:
            counted = []
            for bucket, limit in buckets:
                count = throttle_store.count(tx, bucket, self._window)
                if count.failures > limit:
                    raise SignInThrottledError(max(1, ceil(count.expires_at - tx.now)))
                counted.append(count)
            return tuple(counted)

    def give_back(self, tx: Transaction, reserved: tuple[Count, ...]) -> None:
        """Uncount an attempt that did not fail."""
        for count in reserved:
            throttle_store.give_back(tx, count)

    def locked_until(self, tx: Transaction, folded: str) -> Instant | None:
        """Until when nobody can sign in to the account, save from a browser that did before; None when it is open."""
        count = throttle_store.get(tx, self.tag(folded), self._window)
        return None if count is None or count.failures < self._account_failures else count.expires_at

    def unlock(self, tx: Transaction, folded: str, subject: str, sids: Iterable[str]) -> bool:
        """Forget what failed on the account from everywhere, in these sessions of it as well; False when nothing had."""
        in_sessions = [self._in_session(sid, subject) for sid in sids]
        return throttle_store.forget(tx, self.tag(folded)) + throttle_store.forget_these(tx, in_sessions) > 0

    def forget(self, tx: Transaction, folded: str) -> None:
        """Forget the attempts at a password that counts no more."""
        throttle_store.forget(tx, self.tag(folded))

    def _in_session(self, sid: str, subject: str) -> str:
        return self._hash("session", f"{sid}.{subject}")

    def tag(self, folded: str) -> str:
        """What logs may tell of a username that was typed: people type passwords there."""
        return self._hash("account", folded)

    def _buckets(self, folded: str, address: str, device: str | None, owner: str | None) -> list[tuple[str, int]]:
        """The buckets and their limits, always in one order, so that two attempts cannot wait for each other."""
        nonce = None
        if owner is not None:
            keys = self._secrets.keys(devices.PURPOSE)
            nonce = devices.recognise(keys, device, owner, self._database.clock())
        guessed = self.tag(folded)
        if nonce is not None:
            guessed += "." + self._hash("device", f"{nonce}.{owner}")[:_DEVICE_CHARACTERS]
        return [
            (guessed, self._account_failures),
            (self._hash("address", network_of(address)), self._address_failures),
        ]

    def _hash(self, kind: str, value: str) -> str:
        """Keyed, so that a stolen database or log tells nothing of what was typed (docs/threats.md 46, 47)."""
        message = f"{kind}.{value}".encode("utf-8", "surrogatepass")
        return b64url(hmac.digest(self._secrets.key(PURPOSE), message, sha256))
