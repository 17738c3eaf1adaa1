"""Private keys at rest: AES-256-GCM under a key derived from the deployment's secret, bound to the `kid`."""

from idp.config import OperatorError
from idp.keys import store
from idp.runtime.database import Transaction
from idp.runtime.secrets import Secrets

PURPOSE = "key sealing"


class UnsealError(OperatorError):
    """A private key was sealed under another secret."""


def seal(secrets: Secrets, kid: str, private_der: bytes) -> bytes:
    """Encrypt a private key (PKCS#8 DER). A sealed key cannot be put under another `kid`."""
    return secrets.seal(PURPOSE, kid, private_der)


def is_current(secrets: Secrets, kid: str, sealed: bytes) -> bool:
    """Whether the first secret opens it, so that no older one is needed for it."""
    return secrets.is_current(PURPOSE, kid, sealed)


def unseal(secrets: Secrets, kid: str, sealed: bytes) -> bytes:
    """The private key (PKCS#8 DER) again. Raises UnsealError when no secret of this deployment opens it."""
    if (opened := secrets.unseal(PURPOSE, kid, sealed)) is not None:
        return opened
    message = (
        f"The signing key {kid} was sealed under another IDP_SECRET_KEY: set the secret that this database was made with"
        " (several may be given, separated by commas; the first is used for new keys)."
    )
    raise UnsealError(message)


def check(tx: Transaction, secrets: Secrets) -> None:
    """Raise UnsealError when no secret of this deployment opens the newest key: what is sealed now would be lost later."""
    living = [key for key in store.every(tx) if key.revoked_at is None]
    if living:
        unseal(secrets, living[-1].kid, living[-1].sealed)
