"""Private keys at rest: AES-256-GCM under a key derived from the deployment's secret, bound to the `kid`."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from idp.config import OperatorError
from idp.runtime.secrets import Secrets

PURPOSE = "key sealing"
_NONCE_BYTES = 12


class UnsealError(OperatorError):
    """A private key was sealed under another secret."""


def seal(secrets: Secrets, kid: str, private_der: bytes) -> bytes:
    """Encrypt a private key (PKCS#8 DER). The `kid` is associated data: a sealed key cannot be put under another name."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(secrets.key(PURPOSE)).encrypt(nonce, private_der, kid.encode())


def is_current(secrets: Secrets, kid: str, sealed: bytes) -> bool:
    """Whether the first secret opens it, so that no older one is needed for it."""
    return _opened(secrets.key(PURPOSE), kid, sealed) is not None


def unseal(secrets: Secrets, kid: str, sealed: bytes) -> bytes:
    """The private key (PKCS#8 DER) again. Raises UnsealError when no secret of this deployment opens it."""
    for key in secrets.keys(PURPOSE):
        if (opened := _opened(key, kid, sealed)) is not None:
            return opened
    message = (
        f"The signing key {kid} was sealed under another IDP_SECRET_KEY: set the secret that this database was made with"
        " (several may be given, separated by commas; the first is used for new keys)."
    )
    raise UnsealError(message)


def _opened(key: bytes, kid: str, sealed: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], kid.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to be sealed at all
        return None
