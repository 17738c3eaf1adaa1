"""The refresh token itself: opaque to clients, and self-authenticating to us.

Its bytes are family ‖ generation ‖ secret ‖ tag. Stored is only the SHA-256 of the live secret. A successor's secret is
derived from its parent's with a keyed function: a client that retries at once because the answer was lost gets the *same*
successor, and nothing readable need be stored for it. By the same function a stored successor shows whose it is, so
that only its own parent may be sent again. The tag shows that a token with an old generation was once ours,
so that a thief's late use ends the family, and a stranger who learned the family's name cannot (docs/adr/0004).
"""

import hmac
import secrets
from base64 import urlsafe_b64decode
from binascii import Error
from dataclasses import dataclass
from hashlib import sha256

from idp.runtime.secrets import Secrets, b64url
from idp.tokens.rules import FAMILY_ID_BYTES

_GENERATION_BYTES = 4
_SECRET_BYTES = 32
_TAG_BYTES = 16
_LENGTH = FAMILY_ID_BYTES + _GENERATION_BYTES + _SECRET_BYTES + _TAG_BYTES
_TEXT_LENGTH = 91
_TAG = "refresh token tag"
_SUCCESSOR = "refresh token successor"


@dataclass(frozen=True, slots=True, repr=False)
class RefreshToken:
    """A refresh token, read. Its `repr` shows no secret."""

    family_id: str
    generation: int
    secret: bytes

    @property
    def stored(self) -> str:
        """What the database keeps of it."""
        return b64url(sha256(self.secret).digest())

    @classmethod
    def first(cls, family_id: str) -> "RefreshToken":
        """The first of a family."""
        return cls(family_id, 0, secrets.token_bytes(_SECRET_BYTES))

    def successors(self, keys: Secrets, generation: int | None = None) -> list["RefreshToken"]:
        """Its successor; the first is the one to use, the others would have been made under secrets now retired.

        `generation` is that of the successor: the next one, or a later one where earlier answers were given up as lost.
        """
        following = self.generation + 1
        generation = following if generation is None else generation
        message = self._body() + (b"" if generation == following else generation.to_bytes(_GENERATION_BYTES, "big"))
        return [RefreshToken(self.family_id, generation, hmac.digest(key, message, sha256)) for key in keys.keys(_SUCCESSOR)]

    def text(self, keys: Secrets) -> str:
        """The token as a client gets it."""
        return b64url(self._body() + self._tag(keys.key(_TAG)))

    def _body(self) -> bytes:
        name = urlsafe_b64decode(self.family_id + "==")
        return name + self.generation.to_bytes(_GENERATION_BYTES, "big") + self.secret

    def _tag(self, key: bytes) -> bytes:
        return hmac.digest(key, self._body(), sha256)[:_TAG_BYTES]


def read(text: str, keys: Secrets) -> RefreshToken | None:
    """The token that `text` is, if we made it; None for anything else."""
    if len(text) != _TEXT_LENGTH or not text.isascii():
        return None
    try:
        raw = urlsafe_b64decode(text + "=")
    except (Error, ValueError):
        return None
    if len(raw) != _LENGTH or b64url(raw) != text:  # one token, one spelling
        return None
    start = FAMILY_ID_BYTES + _GENERATION_BYTES
    token = RefreshToken(
        family_id=b64url(raw[:FAMILY_ID_BYTES]),
        generation=int.from_bytes(raw[FAMILY_ID_BYTES:start], "big"),
        secret=raw[start : start + _SECRET_BYTES],
    )
    tags = [token._tag(key) for key in keys.keys(_TAG)]  # noqa: SLF001 - its own module
    return token if any(hmac.compare_digest(tag, raw[-_TAG_BYTES:]) for tag in tags) else None
