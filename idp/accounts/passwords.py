"""Argon2id (RFC 9106, OWASP Password Storage), and never more of it at once than this process can bear (docs/threats.md 49)."""

import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from idp.accounts.errors import PasswordsBusyError
from idp.accounts.password_rules import normalised
from idp.accounts.rules import PasswordHash
from idp.runtime.inbound.threads import release_thread

AT_ONCE = 4
WAITING = 32
#: Seconds a caller waits for a place, and how soon one that was sent away may come again.
PATIENCE = 5
_NO_ROOM = {"Memory allocation error", "Threading failure"}
_SALT_BYTES = 16
_HASH_BYTES = 32


class Passwords:
    """Makes and checks password hashes. At most `at_once` computations run, and `waiting` callers wait for a place.

    Other requests of the process go on meanwhile: never call it inside a transaction.
    """

    def __init__(
        self, *, memory_kib: int, time_cost: int, parallelism: int, at_once: int = AT_ONCE, waiting: int = WAITING
    ) -> None:
        self._hasher = PasswordHasher(time_cost, memory_kib, parallelism, _HASH_BYTES, _SALT_BYTES)
        self._changed = Condition()
        self._free = at_once
        self._waiting = 0
        self._most_waiting = waiting
        # A hash of no password: its bytes are random, and checking against it costs what checking always costs.
        salt, digest = _b64(os.urandom(_SALT_BYTES)), _b64(os.urandom(_HASH_BYTES))
        self._nobodys = f"$argon2id$v=19$m={memory_kib},t={time_cost},p={parallelism}${salt}${digest}"

    def hash(self, password: str) -> PasswordHash:
        """The hash of a password that holds to the rules. Raises PasswordsBusyError."""
        with release_thread(), self._place():
            try:
                return PasswordHash(self._hasher.hash(normalised(password)))
            except HashingError:  # no memory for it
                raise PasswordsBusyError(PATIENCE) from None

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether `stored` is the hash of `password`. One computation in every case; None stands for nobody's hash.

        Raises PasswordsBusyError.
        """
        with release_thread(), self._place():
            try:
                return self._hasher.verify(stored or self._nobodys, normalised(password))
            except (VerifyMismatchError, InvalidHashError):
                return False
            except VerificationError as error:
                if str(error) in _NO_ROOM:
                    raise PasswordsBusyError(PATIENCE) from None
                return False  # a damaged hash

    def needs_rehash(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than those in force."""
        return self._hasher.check_needs_rehash(stored)

    @contextmanager
    def _place(self) -> Iterator[None]:
        with self._changed:
            if self._free == 0 and self._waiting >= self._most_waiting:
                raise PasswordsBusyError(PATIENCE)
            self._waiting += 1
            try:
                if not self._changed.wait_for(lambda: self._free > 0, PATIENCE):
                    raise PasswordsBusyError(PATIENCE)
                self._free -= 1
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify()


def _b64(data: bytes) -> str:
    """Base64 as the PHC string format has it: without padding."""
    return b64encode(data).rstrip(b"=").decode("ascii")
