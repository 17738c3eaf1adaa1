"""Signing and verifying, and the schedule behind them: what the rest of the provider asks of its keys."""

import json
import time
from collections.abc import Mapping, Sequence
from functools import cache

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from idp.keys import rules
from idp.keys.backends import Holder
from idp.keys.rules import REFRESH_SECONDS, Key, KeyLifetime, KeyPolicy, KeyState
from idp.keys.schedule import KeySchedule, Resealed
from idp.keys.signer import SigningUnavailableError
from idp.protocol import jws
from idp.protocol.signatures import DEFAULT_ALG
from idp.runtime import audit
from idp.runtime.availability import is_told
from idp.runtime.clock import Instant
from idp.runtime.database import Database
from idp.runtime.inbound.documents import CachedDocument
from idp.runtime.outage import DatabaseUnavailableError
from idp.runtime.periodic import Periodic
from idp.runtime.secrets import Secrets, b64url

#: Nothing we sign is as long; a longer one is refused before any of it is parsed.
MAXIMUM_TOKEN_LENGTH = 8192
#: How late the schedule may be before that is a fault, in seconds.
_OVERDUE = 10 * REFRESH_SECONDS
#: How long the start waits for a database that went away since it was prepared, and how long between two looks.
_START_SECONDS, _START_PAUSE = 30.0, 0.5
_HEADERS = {"alg", "kid", "typ"}
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class InvalidTokenError(Exception):
    """A JWT that this provider did not sign, or not as what it is presented as. Its text is for the log."""


class KeyService:
    """The keys of one deployment as this process sees them."""

    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        policy: KeyPolicy,
        rsa_bits: int,
        *,
        algorithms: Sequence[str] = (DEFAULT_ALG,),
        hsm: Holder | None = None,
    ) -> None:
        """`hsm` makes every new key where it is given; the database keeps those that it has."""
        self._keeper = KeySchedule(database, secrets, policy, rsa_bits, algorithms, hsm)
        self._database = database
        self.rounds = Periodic("idp-keys", REFRESH_SECONDS, self.keep_up, _failed)
        self.policy = policy
        self.algorithms = tuple(algorithms)

    # -- what others use ------------------------------------------------------------------------------------------

    def sign(self, typ: str, claims: Mapping[str, object], now: Instant, alg: str = DEFAULT_ALG) -> str:
        """`claims` as a JWT of the type `typ`, signed by the key of the line `alg` whose turn it is (RFC 7515).

        Raises SigningUnavailableError when no key can sign, or its holder does not answer.
        """
        found = self._keeper.ring.signing(alg, now)
        if found is None:
            message = f"no {alg} key can sign: see `idp key list`"
            raise SigningUnavailableError(message)
        kid, signer = found
        message = f"{_header(alg, kid, typ)}.{_encoded(claims)}"
        return f"{message}.{b64url(signer.sign(message.encode()))}"

    def signing_kid(self, alg: str = DEFAULT_ALG) -> str | None:
        """The key of the line `alg` that signs now; None when none can."""
        found = self._keeper.ring.signing(alg, self._database.clock())
        return None if found is None else found[0]

    def can_sign(self, alg: str) -> bool:
        """Whether a key of the line `alg` signs now."""
        return self.signing_kid(alg) is not None

    def verify(self, token: str, typ: str, now: Instant, *, as_hint: bool = False) -> dict[str, object]:
        """The claims of a JWT of the type `typ` that this provider signed. Expiry is the caller's to judge.

        `as_hint` accepts a key that was removed from the JWKS, though not one that was revoked. Raises
        InvalidTokenError for anything else: another type or key, another algorithm than the key's, and garbage.
        """
        if len(token) > MAXIMUM_TOKEN_LENGTH:
            message = "longer than anything we sign"
            raise InvalidTokenError(message)
        try:
            parts = jws.take_apart(token, MAXIMUM_TOKEN_LENGTH)
            header, claims = parts.header, parts.claims()
            if set(header) != _HEADERS or str(header["typ"]).lower() != typ.lower():
                message = "not of the type that is expected here"
                raise InvalidTokenError(message)
            kid, alg = str(header["kid"]), str(header["alg"])
            key = self._keeper.ring.verifying(kid, alg, now, also_removed=as_hint)
            if key is None:
                message = "signed by no key of ours"
                raise InvalidTokenError(message)
            if not JWSRegistry.algorithms[alg].verify(parts.signed, parts.signature, key):
                message = "its signature is wrong"
                raise InvalidTokenError(message)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            message = f"not a JWT of ours ({type(error).__name__})"
            raise InvalidTokenError(message) from None
        return claims

    def document(self) -> CachedDocument:
        """The JWKS as it is sent now."""
        return self._keeper.ring.document(self._database.clock())

    def spans(self) -> list[KeyLifetime]:
        """Every key with all of its instants, line by line, in the order of succession."""
        return self._keeper.ring.spans

    def problem(self) -> str | None:
        """What is wrong with the keys, as a sentence, or None."""
        now = self._database.clock()
        problems = (self._problem_of(alg, now) for alg in self.algorithms)
        return next((problem for problem in problems if problem is not None), None)

    def _problem_of(self, alg: str, now: Instant) -> str | None:
        ring = self._keeper.ring
        line = ring.lines.get(alg, [])
        if rules.signing(line, now) is None and not any(span.state(now) is KeyState.ANNOUNCED for span in line):
            return f"No {alg} key can sign."
        if self._keeper.wanted(alg, now - _OVERDUE) is not None:
            return f"The successor of the {alg} key that signs is overdue."
        living = {KeyState.PLANNED, KeyState.ANNOUNCED, KeyState.SIGNING}
        signers = [ring.private.get(span.key.kid) for span in line if span.state(now) in living]
        return next((problem for signer in signers if signer is not None and (problem := signer.problem())), None)

    # -- the schedule ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """See that the holders of private keys let us in. Raises OperatorError with the mend."""
        self._keeper.open()

    def close(self) -> None:
        """Leave the holders of private keys."""
        self._keeper.close()

    def load(self) -> None:
        """Read the keys. Raises UnsealError."""
        self._keeper.load()

    def keep_up(self) -> None:
        """Follow what other instances did, and create what the schedule asks for. Any instance may; one will."""
        self._keeper.keep_up()

    def rotate(self, alg: str = DEFAULT_ALG) -> tuple[str, Instant]:
        """See `KeySchedule.rotate`."""
        return self._keeper.rotate(alg)

    def reseal(self) -> Resealed:
        """See `KeySchedule.reseal`."""
        return self._keeper.reseal()

    def under_an_older_secret(self) -> int:
        """How many keys cannot be opened by the first secret."""
        return self._keeper.under_an_older_secret()

    def spare_for(self, kid: str) -> Key | None:
        """A key to follow `kid` if it is revoked, where none is announced. Call it outside of any transaction.

        Raises LookupError when there is no such key.
        """
        self.load()
        key = next((span.key for span in self.spans() if span.key.kid == kid), None)
        if key is None:
            message = f"There is no key {kid!r}"
            raise LookupError(message)
        needed = key.alg in self.algorithms and rules.successor(self._keeper.ring.lines[key.alg], kid) is None
        return self._keeper.spare(key.alg) if needed else None

    def discard(self, spare: Key) -> None:
        """Destroy a spare that was not needed after all."""
        self._keeper.discard(spare)

    def start(self) -> None:
        """Keep up in the background, within seconds of a change, for as long as the process lives.

        Raises DatabaseUnavailableError where it did not come for half a minute: without keys a process would publish an
        empty JWKS, and verifiers would believe it.
        """
        until = time.monotonic() + _START_SECONDS
        while not self._has_begun(until):
            time.sleep(_START_PAUSE)
        self.rounds.start()

    def _has_begun(self, until: float) -> bool:
        try:
            self.keep_up()
        except SigningUnavailableError as error:  # what is signed already can be verified all the same
            _failed(error)
        except DatabaseUnavailableError:
            if not self._keeper.ring.keys and time.monotonic() >= until:
                raise
            return bool(self._keeper.ring.keys)
        return True

    def stop(self) -> None:
        """Stop keeping up, and leave the holders of private keys."""
        self.rounds.stop()
        self.close()


def _failed(error: Exception) -> None:
    """The text of what a holder says is for the log; a database's may hold more."""
    if is_told(error):
        return
    said = str(error) if isinstance(error, SigningUnavailableError) else type(error).__name__
    audit.warn("key.keep_up_failed", error=said)


def _encoded(part: Mapping[str, object]) -> str:
    """A part of a JWT: Base64url of compact JSON (RFC 7515 §3.1)."""
    return b64url(_compact(part).encode())


@cache
def _header(alg: str, kid: str, typ: str) -> str:
    """There are as many as there are keys and types."""
    return _encoded({"alg": alg, "kid": kid, "typ": typ})
