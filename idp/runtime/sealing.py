"""What must be read again and may not be read in the database: AES-256-GCM under a key derived from the deployment's secret."""

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from idp.runtime.secrets import Secrets

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals for one purpose. A name is associated data: what is sealed cannot be put under another name."""

    secrets: Secrets
    purpose: str

    def seal(self, name: str, data: bytes) -> bytes:
        """Encrypt under the first secret."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.secrets.key(self.purpose)).encrypt(nonce, data, name.encode())

    def is_current(self, name: str, sealed: bytes) -> bool:
        """Whether the first secret opens it, so that no older one is needed for it."""
        return _opened(self.secrets.key(self.purpose), name, sealed) is not None

    def unseal(self, name: str, sealed: bytes) -> bytes | None:
        """What was sealed; None when no secret of this deployment opens it."""
        opened = (_opened(key, name, sealed) for key in self.secrets.keys(self.purpose))
        return next((data for data in opened if data is not None), None)


def _opened(key: bytes, name: str, sealed: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to be sealed at all
        return None
