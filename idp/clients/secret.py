"""A client's secret: what is stored of it, and when another one is made."""

from dataclasses import dataclass

from idp.clients import store
from idp.clients.rules import Client, ClientRecord
from idp.runtime import secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.runtime.secrets import Secrets

#: 64 characters: the key of an HMAC must be as long as its hash, and the longest is SHA-512's (RFC 7518 §3.2).
SECRET_BYTES = 48
PURPOSE = "client secret"
#: The methods that need the secret itself: as the key of an HMAC (OIDC Core §9). For others a hash will do.
_AS_A_KEY = frozenset({"client_secret_jwt"})
_WITHOUT = frozenset({"none", "private_key_jwt"})


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """`shown` is the secret itself, the one time that it is seen; None when there is none, or an old one is kept."""

    shown: str | None = None
    hash: str | None = None
    sealed: bytes | None = None


class SecretKeeper:
    """Makes secrets, and opens those that are kept. Without the deployment's `own`, none can be kept that must be opened."""

    def __init__(self, own: Secrets | None = None) -> None:
        self._own = own

    def secret_for(self, client_id: str, method: str, before: Client | None = None) -> Secret:
        """The secret that a client needs for `method`. The one that it had `before` is kept where that is possible."""
        if method in _WITHOUT:
            return Secret()
        if before is not None and before.secret_hash is not None:
            if method not in _AS_A_KEY:
                return Secret(hash=before.secret_hash)
            if before.secret_sealed is not None:
                return Secret(hash=before.secret_hash, sealed=before.secret_sealed)
        made = secrets.token(SECRET_BYTES)
        if method not in _AS_A_KEY:
            return Secret(made, secrets.digest(made))
        if self._own is None:
            message = "a secret cannot be sealed without one of the deployment"
            raise TypeError(message)
        return Secret(made, secrets.digest(made), self._own.seal(PURPOSE, client_id, made.encode()))

    def opened(self, client_id: str, secret_sealed: bytes | None) -> bytes | None:
        """A secret that is kept; None when there is none, or no secret of the deployment opens it."""
        if secret_sealed is None or self._own is None:
            return None
        return self._own.unseal(PURPOSE, client_id, secret_sealed)

    def of(self, client: Client, now: Instant) -> list[bytes]:
        """The secrets of a client that count and that are kept sealed, the current one first."""
        previous = client.retiring_sealed if client.previous_secret_until(now) is not None else None
        opened = (self.opened(client.client_id, each) for each in (client.secret_sealed, previous))
        return [secret for secret in opened if secret is not None]

    def reseal(self, tx: Transaction) -> tuple[int, int]:
        """Seal what is kept under the first secret of the deployment: how many were, and how many there are.

        One that no secret of the deployment opens is left as it is.
        """
        every, done = _every(store.sealed(tx)), 0
        for client_id, sealed, retiring in self._older(every):
            secret = self.opened(client_id, sealed)
            if secret is not None and self._own is not None:
                anew = self._own.seal(PURPOSE, client_id, secret)
                done += store.reseal(tx, client_id, sealed, anew, retiring=retiring)
        return done, len(every)

    def under_an_older_secret(self, tx: Transaction) -> int:
        """How many are not sealed under the first secret of the deployment."""
        return len(self._older(_every(store.sealed(tx))))

    def _older(self, every: list[tuple[str, bytes, bool]]) -> list[tuple[str, bytes, bool]]:
        own = self._own
        return [each for each in every if own is not None and not own.is_current(PURPOSE, each[0], each[1])]


def _every(records: list[ClientRecord]) -> list[tuple[str, bytes, bool]]:
    """Each secret that is kept sealed: whose it is, its sealing, and whether it is the one before the last rotation."""
    both = ((each, sealed, retiring) for each in records for sealed, retiring in _sealings(each))
    return [(record.client_id, sealed, retiring) for record, sealed, retiring in both if sealed is not None]


def _sealings(record: ClientRecord) -> tuple[tuple[bytes | None, bool], ...]:
    return (record.secret_sealed, False), (record.retiring_sealed, True)
