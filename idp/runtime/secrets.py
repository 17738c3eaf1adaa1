"""Keys derived from the deployment's secret, one for each purpose, so that none can stand in for another.

`IDP_SECRET_KEY` may hold several secrets: the first makes everything new, all of them are tried when reading.
"""

import hmac
import os
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


@dataclass(frozen=True)
class Secrets:
    """The deployment's secrets, from which every key is derived (HKDF, RFC 5869)."""

    roots: tuple[bytes, ...]

    def keys(self, purpose: str) -> tuple[bytes, ...]:
        """The 32-byte keys for `purpose`, the one in use first."""
        return tuple(_derive(root, purpose) for root in self.roots)

    def key(self, purpose: str) -> bytes:
        """The 32-byte key in use for `purpose`."""
        return _derive(self.roots[0], purpose)

    def seal(self, purpose: str, name: str, secret: bytes) -> bytes:
        """Encrypt (AES-256-GCM). The `name` is associated data: what was sealed cannot be put under another name."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.key(purpose)).encrypt(nonce, secret, name.encode())

    def unseal(self, purpose: str, name: str, sealed: bytes) -> bytes | None:
        """What was sealed under this name; None when no secret of this deployment opens it."""
        return next((opened for key in self.keys(purpose) if (opened := _opened(key, name, sealed)) is not None), None)

    def is_current(self, purpose: str, name: str, sealed: bytes) -> bool:
        """Whether the first secret opens it, so that no older one is needed for it."""
        return _opened(self.key(purpose), name, sealed) is not None


def _opened(key: bytes, name: str, sealed: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to be sealed at all
        return None


@cache
def _derive(root: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"idp {purpose}".encode()).derive(root)


def token(size: int = 32) -> str:
    """A random string of `size` bytes in base64url: for codes, secrets and identifiers that nobody may guess.

    It never begins with `-`, so that no command line takes it for an option.
    """
    while (made := secrets.token_urlsafe(size)).startswith("-"):
        pass
    return made


def digest(secret: str) -> str:
    """What is stored of a *random* secret: SHA-256 in base64url. People's passwords need argon2 instead."""
    return b64url(sha256(secret.encode()).digest())


def same(left: str, right: str) -> bool:
    """Whether two strings are equal, compared in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 4648 §5)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
