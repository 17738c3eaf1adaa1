"""Where private halves are, and what signs with them: in the database, sealed; or in a place that they never leave.

A key's row names its holder, so that keys of several holders serve side by side: moving from one to another is a
planned rotation.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from joserfc.jws import JWSRegistry

from idp.keys import keyring
from idp.keys.keyring import Jwk, PublicJwk
from idp.keys.signer import Signer, SigningUnavailableError


class Holder(Protocol):
    """Makes and keeps private keys. What stands sealed in a row, `private`, is the holder's to understand."""

    name: ClassVar[str]

    def open(self) -> None:
        """See that keys can be used. Raises OperatorError with the mend."""
        ...

    def generate(self, alg: str) -> tuple[PublicJwk, bytes]:
        """A new key: its public JWK, and `private`. Raises SigningUnavailableError."""
        ...

    def signer(self, private: bytes, alg: str) -> Signer:
        """What signs with a key."""
        ...

    def destroy(self, private: bytes) -> bool:
        """Remove what is kept outside the database; whether there was anything. Raises SigningUnavailableError."""
        ...

    def close(self) -> None:
        """Give back what was opened. It is opened again when it is needed."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """Signs in this process."""

    key: Jwk
    alg: str

    def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        return JWSRegistry.algorithms[self.alg].sign(message, self.key)

    def problem(self) -> None:
        """It always can."""


class DatabaseHolder:
    """Private keys stand in the database, sealed: `private` is PKCS#8 (DER)."""

    name: ClassVar[str] = "database"

    def __init__(self, rsa_bits: int) -> None:
        self._rsa_bits = rsa_bits

    def open(self) -> None:
        """Nothing more is needed."""

    def generate(self, alg: str) -> tuple[PublicJwk, bytes]:
        """See `Holder`."""
        return keyring.generate(self._rsa_bits, alg)

    def signer(self, private: bytes, alg: str) -> LocalSigner:
        """See `Holder`."""
        return LocalSigner(keyring.TYPES[alg].import_key(private), alg)

    def destroy(self, private: bytes) -> bool:  # noqa: ARG002
        """The row is all there is, and it stays."""
        return False

    def close(self) -> None:
        """Nothing was opened."""


@dataclass(frozen=True, slots=True)
class AbsentSigner:
    """Stands for a key whose holder is not set up."""

    kid: str
    holder: str

    def sign(self, message: bytes) -> bytes:  # noqa: ARG002
        """Raises SigningUnavailableError."""
        raise SigningUnavailableError(self.problem())

    def problem(self) -> str:
        """What is missing."""
        return (
            f"The key {self.kid} is held by {self.holder}, which is not set up: see the settings IDP_KEYS_PKCS11_MODULE and on."
        )
