"""What signs with one private key, wherever that is kept."""

from typing import Protocol


class SigningUnavailableError(Exception):
    """A key cannot sign at this moment, and may later. Its text is for the log and holds no secret."""


class Signer(Protocol):
    """Signs with one private key, by one JWS algorithm."""

    def sign(self, message: bytes) -> bytes:
        """The signature as JWS has it (RFC 7518 §3.1). Raises SigningUnavailableError."""
        ...

    def problem(self) -> str | None:
        """Why it cannot sign at this moment, as a sentence, or None."""
        ...
