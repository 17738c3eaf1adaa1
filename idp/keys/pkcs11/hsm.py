"""Private keys that are made in a PKCS#11 token (an HSM) and never leave it: making, signing, destroying.

Needs the optional package python-pkcs11, which initialises a module without locking (PKCS#11 v3.1 §5.4.1: no two threads
may then call it at once) and logs in and out for the whole process. So each process has one lock, and one session.
"""

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, TypeVar, cast

import pkcs11
from pkcs11 import Attribute, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import (
    NoSuchKey,
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserAlreadyLoggedIn,
    UserPinNotInitialized,
)
from pkcs11.types import SignMixin

from idp.config import OperatorError
from idp.keys import keyring
from idp.keys.keyring import PublicJwk
from idp.keys.pkcs11 import mechanisms
from idp.keys.signer import SigningUnavailableError
from idp.runtime.clock import Clock, Instant

RETRY_SECONDS = 2
_REFERENCE_BYTES = 16
_PIN_REFUSED = (PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked, UserPinNotInitialized)
_PRIVATE = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
}
#: The public half is read once and kept in the database.
_PUBLIC = {Attribute.TOKEN: False}
_lock = threading.RLock()

_Result = TypeVar("_Result")


class HsmError(SigningUnavailableError):
    """The token does not do what it is asked at this moment. The text is for the log and holds no secret."""


class HsmSettingsError(OperatorError):
    """The token cannot be used as it is set up."""


@dataclass(frozen=True, slots=True)
class HsmSigner:
    """Signs with one private key in the token, by one JWS algorithm (RFC 7518 §3.1)."""

    hsm: "Hsm"
    reference: bytes
    alg: str

    def sign(self, message: bytes) -> bytes:
        """The signature as JWS has it. Raises HsmError."""
        return self.hsm.sign(self.reference, self.alg, message)

    def problem(self) -> str | None:
        """Why it cannot sign at this moment, as a sentence, or None."""
        try:
            held = self.hsm.holds(self.reference)
        except HsmError as error:
            return f"The HSM does not answer: {error}."
        return None if held else f"The HSM does not have the key idp {self.alg} {self.reference.hex()}."


class Hsm:
    """The token named `label` behind the PKCS#11 library `module`. Any thread may use it; one does at a time.

    Whatever goes wrong, the session is opened anew once. If that does not help either, nothing is tried for
    RETRY_SECONDS. A PIN that was refused is never sent again: a few more refusals would lock the token.
    """

    name: ClassVar[str] = "pkcs11"

    def __init__(self, module: str, label: str, pin: str, rsa_bits: int, clock: Clock) -> None:
        self._module = module
        self._label = label
        self._pin = pin
        self._rsa_bits = rsa_bits
        self._clock = clock
        self._session: Session | None = None
        self._handles: dict[bytes, SignMixin] = {}
        self._not_before: Instant = 0.0
        self._failure = ""

    def open(self) -> None:
        """See that the token is there and lets us in. Raises HsmSettingsError with the mend."""
        with _lock:
            try:
                self._open()
            except _PIN_REFUSED as error:
                self._close()
                message = (
                    f"The HSM token {self._label} refused IDP_KEYS_PKCS11_PIN ({_named(error)}): correct it, then start again."
                )
            except PKCS11Error as error:
                self._close()
                message = (
                    f"The HSM token {self._label} cannot be used through {self._module} ({_named(error)}): see that"
                    " IDP_KEYS_PKCS11_MODULE and IDP_KEYS_PKCS11_TOKEN are right and that the HSM answers."
                )
            else:
                return
        raise HsmSettingsError(message)

    def generate(self, alg: str) -> tuple[PublicJwk, bytes]:
        """A new key for a JWS algorithm: its public JWK, and what names the private half in the token.

        Raises as `make` does.
        """
        public, reference = self.make(alg)
        jwk = keyring.public_jwk(keyring.TYPES[alg].import_key(public), alg)
        if jwk["kid"].startswith("-"):  # see `keyring.generate`
            self.destroy(reference)
            return self.generate(alg)
        return jwk, reference

    def make(self, alg: str) -> tuple[bytes, bytes]:
        """A new key: its public half as SubjectPublicKeyInfo (DER), and what names the private half in the token.

        Raises HsmError, and HsmSettingsError when the token would let the private half out.
        """

        def work(session: Session) -> tuple[bytes, bytes]:
            reference = secrets.token_bytes(_REFERENCE_BYTES)
            public, private = mechanisms.generator(session, alg, self._rsa_bits)(
                id=reference,
                label=f"idp {alg} {reference.hex()}",
                store=True,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                public_template=_PUBLIC,
                private_template=_PRIVATE,
            )
            if not private[Attribute.NEVER_EXTRACTABLE] or not private[Attribute.ALWAYS_SENSITIVE]:
                private.destroy()
                message = (
                    f"The HSM token {self._label} makes keys that can be taken out of it: allow none, or use another token."
                )
                raise HsmSettingsError(message)
            return mechanisms.public_half(public), reference

        return self._use(work)

    def signer(self, private: bytes, alg: str) -> HsmSigner:
        """What signs with the key that `private` names."""
        return HsmSigner(self, private, alg)

    def sign(self, reference: bytes, alg: str, message: bytes) -> bytes:
        """The signature over `message` as JWS has it (RFC 7518 §3.1). Raises HsmError."""
        mechanism = mechanisms.SIGNING[alg]
        data = mechanism.prepare(message)

        def work(session: Session) -> bytes:
            if reference not in self._handles:
                self._handles[reference] = cast(SignMixin, _private_key(session, reference))
            key = self._handles[reference]
            return bytes(key.sign(data, mechanism=mechanism.name, mechanism_param=mechanism.parameter))

        return self._use(work)

    def holds(self, reference: bytes) -> bool:
        """Whether the token answers, and has this key. Raises HsmError when it does not answer."""

        def work(session: Session) -> bool:
            try:
                _private_key(session, reference)
            except NoSuchKey:
                return False
            return True

        return self._use(work)

    def destroy(self, private: bytes) -> bool:
        """Remove a key from the token; whether it was there. Raises HsmError."""

        def work(session: Session) -> bool:
            self._handles.pop(private, None)
            try:
                _private_key(session, private).destroy()
            except NoSuchKey:
                return False
            return True

        return self._use(work)

    def close(self) -> None:
        """Give the session back."""
        with _lock:
            self._close()

    def _use(self, work: Callable[[Session], _Result]) -> _Result:
        with _lock:
            if self._clock() < self._not_before:
                message = f"{self._failure}, and it is too early to try again"
                raise HsmError(message)
            if self._session is not None:
                try:
                    return work(self._session)
                except PKCS11Error:
                    self._close()
            try:
                return work(self._open())
            except PKCS11Error as error:
                self._close()
                again = float("inf") if isinstance(error, _PIN_REFUSED) else self._clock() + RETRY_SECONDS
                self._not_before, self._failure = again, _named(error)
                raise HsmError(self._failure) from None

    def _open(self) -> Session:
        library = pkcs11.lib(self._module)
        token = library.get_token(token_label=self._label)
        try:
            self._session = token.open(rw=True, user_pin=self._pin)
        except UserAlreadyLoggedIn:  # by another session of this process, and that counts for all of them
            self._session = token.open(rw=True)
        return self._session

    def _close(self) -> None:
        """Forget the session, and end the library: some know of a token that came back only when they begin afresh."""
        self._session = None
        self._handles.clear()
        with suppress(PKCS11Error):
            pkcs11.lib(self._module).finalize()


def _private_key(session: Session, reference: bytes) -> pkcs11.Key:
    """Search for a key. Raises NoSuchKey.

    A search that cannot begin prints a stack trace when python-pkcs11 tidies up; a lost session is found out before.
    """
    session.generate_random(8)
    return session.get_key(object_class=ObjectClass.PRIVATE_KEY, id=reference)


def _named(error: PKCS11Error) -> str:
    """What PKCS#11 calls the failure; a library that cannot be loaded has a sentence of its own."""
    return type(error).__name__ if type(error) is not PKCS11Error else str(error)
