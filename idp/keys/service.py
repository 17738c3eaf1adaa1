"""Signing, verifying, rotating: what the rest of the provider asks of its keys."""

import json
import threading
from collections.abc import Mapping

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, extract_compact

from idp.keys import rules, sealing, store
from idp.keys.holders import AbsentSigner, DatabaseHolder, Holder, Signer, SigningUnavailableError
from idp.keys.ring import KeyRing
from idp.keys.rules import Key, Policy, Span, State, Wanted
from idp.runtime import audit
from idp.runtime.clock import Instant
from idp.runtime.database import Database
from idp.runtime.front import Ready
from idp.runtime.secrets import Secrets, b64url

ALG = "RS256"
REFRESH_SECONDS = 2.0
#: Nothing we sign is as long; a longer one is refused before any of it is parsed.
MAXIMUM_TOKEN_LENGTH = 8192
_HEADERS = {"alg", "kid", "typ"}


class InvalidTokenError(Exception):
    """A JWT that this provider did not sign, or not as what it is presented as. Its text is for the log."""


class KeyService:
    """The keys of one deployment as this process sees them."""

    def __init__(self, database: Database, secrets: Secrets, policy: Policy, rsa_bits: int, hsm: Holder | None = None) -> None:
        """`hsm` makes every new key where it is given; the database keeps those that it has."""
        self._database = database
        self._secrets = secrets
        local = DatabaseHolder(rsa_bits)
        self._maker = hsm or local
        self._holders: dict[str, Holder] = {each.name: each for each in (local, self._maker)}
        self._destroyed: set[str] = set()
        self._registry = JWSRegistry(algorithms=[ALG])
        self._stopping = threading.Event()
        self._loading = threading.Lock()
        self.policy = policy
        self._ring = KeyRing([], {}, policy, ALG)

    # -- what others use ------------------------------------------------------------------------------------------

    def sign(self, typ: str, claims: Mapping[str, object], now: Instant) -> str:
        """`claims` as a JWT of the type `typ`, signed RS256 by the key whose turn it is (RFC 7515, RFC 8725 §3.11).

        Raises SigningUnavailableError when the holder of the key does not answer.
        """
        kid, signer = self._ring.signing(now)
        message = f"{_encoded({'alg': ALG, 'kid': kid, 'typ': typ})}.{_encoded(claims)}"
        return f"{message}.{b64url(signer.sign(message.encode()))}"

    def verify(self, token: str, typ: str, now: Instant, *, as_hint: bool = False) -> dict[str, object]:
        """The claims of a JWT of the type `typ` that this provider signed. Expiry is the caller's to judge.

        `as_hint` accepts a key that was removed from the JWKS, though not one that was revoked. Raises
        InvalidTokenError for anything else: another type, algorithm or key, and garbage.
        """
        if len(token) > MAXIMUM_TOKEN_LENGTH:
            message = "longer than anything we sign"
            raise InvalidTokenError(message)
        try:
            header = extract_compact(token.encode()).headers()
            if set(header) != _HEADERS or header["alg"] != ALG or str(header["typ"]).lower() != typ.lower():
                message = "not of the type that is expected here"
                raise InvalidTokenError(message)
            key = self._ring.verifying(str(header["kid"]), now, also_removed=as_hint)
            if key is None:
                message = "signed by no key of ours"
                raise InvalidTokenError(message)
            return jwt.decode(token, key, registry=self._registry).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            message = f"not a JWT of ours ({type(error).__name__})"
            raise InvalidTokenError(message) from None

    def document(self) -> Ready:
        """The JWKS as it is sent now."""
        return self._ring.document(self._database.clock())

    def spans(self) -> list[Span]:
        """Every key with all of its instants, in the order in which they sign."""
        return self._ring.spans

    def problem(self) -> str | None:
        """What is wrong with the keys, as a sentence, or None."""
        now = self._database.clock()
        if rules.signing(self._ring.spans, now) is None:
            return "No key can sign."
        if rules.wanted(self._ring.spans, self.policy, now - 10 * REFRESH_SECONDS) is not None:
            return "The successor of the signing key is overdue."
        living = {State.PLANNED, State.ANNOUNCED, State.SIGNING}
        signers = [self._ring.private.get(span.key.kid) for span in self._ring.spans if span.state(now) in living]
        return next((problem for signer in signers if signer is not None and (problem := signer.problem())), None)

    # -- the schedule ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """See that the holders of private keys let us in. Raises OperatorError with the mend."""
        for holder in self._holders.values():
            holder.open()

    def load(self) -> None:
        """Read the keys; private halves that are new to this process are opened once. Raises UnsealError."""
        with self._loading:
            with self._database.reading() as tx:
                keys = store.every(tx)
            known = self._ring.private
            needed = {span.key.kid for span in self._needed(keys)}
            private = {key.kid: known.get(key.kid) or self._open(key) for key in keys if key.kid in needed}
            if keys != [span.key for span in self._ring.spans]:
                self._ring = KeyRing(keys, private, self.policy, ALG)

    def _needed(self, keys: list[Key]) -> list[Span]:
        now = self._database.clock()
        unneeded = {State.REMOVED, State.REVOKED}
        return [span for span in rules.timeline(keys, self.policy, ALG) if span.state(now) not in unneeded]

    def _open(self, key: Key) -> Signer:
        holder = self._holders.get(key.holder)
        if holder is None:
            return AbsentSigner(key.kid, key.holder)
        return holder.signer(sealing.unseal(self._secrets, key.kid, key.sealed), key.alg)

    def keep_up(self) -> None:
        """Follow what other instances did, and create what the schedule asks for. Any instance may; one will."""
        self.load()
        while (want := rules.wanted(self._ring.spans, self.policy, self._database.clock())) is not None:
            self._create(want)
            self.load()
        self._clear_away()

    def _create(self, want: Wanted) -> None:
        public, private = self._maker.generate(ALG)  # before the transaction: it takes up to 0.2 s, an HSM more
        kid = public["kid"]
        key = Key(
            kid=kid,
            alg=ALG,
            predecessor=want.predecessor,
            published_at=want.published_at,
            active_at=want.active_at,
            revoked_at=None,
            revoked_reason=None,
            public=json.dumps(public),
            sealed=sealing.seal(self._secrets, kid, private),
            holder=self._maker.name,
        )
        with self._database.writing() as tx:
            added = store.add(tx, key)
            if added:
                tx.after_commit(lambda: audit.record("key.created", kid=kid, active_at=want.active_at, holder=key.holder))
        if not added:
            self._maker.destroy(private)

    def _clear_away(self) -> None:
        """Destroy what holders other than the database still keep of keys that are removed or revoked."""
        now = self._database.clock()
        for span in self._ring.spans:
            key = span.key
            if key.holder in self._holders and key.holder != DatabaseHolder.name and rules.is_disposable(span, now):
                self._destroy(key)

    def _destroy(self, key: Key) -> None:
        if key.kid in self._destroyed:
            return
        try:
            found = self._holders[key.holder].destroy(sealing.unseal(self._secrets, key.kid, key.sealed))
        except sealing.UnsealError:  # its name in the holder is lost, and with it all that can be done from here
            audit.warn("key.not_destroyed", kid=key.kid, holder=key.holder)
        else:
            if found:
                audit.record("key.destroyed", kid=key.kid, holder=key.holder)
        self._destroyed.add(key.kid)

    def rotate(self) -> tuple[str, Instant]:
        """Let the announced successor sign as early as every verifier can know it: its `kid`, and that instant.

        Raises LookupError when no successor is announced.
        """
        self.keep_up()
        planned = rules.earliest_rotation(self._ring.spans, self.policy, self._database.clock())
        if planned is None:
            message = "no successor is announced yet"
            raise LookupError(message)
        successor, at = planned
        with self._database.writing() as tx:
            if store.activate(tx, successor.kid, at):
                tx.after_commit(lambda: audit.record("key.rotated", kid=successor.kid, active_at=at))
        self.keep_up()
        return successor.kid, min(at, successor.active_at)

    def start(self) -> None:
        """Keep up in the background, within seconds of a change, for as long as the process lives."""
        try:
            self.keep_up()
        except SigningUnavailableError as error:  # what is signed already can be verified all the same
            audit.warn("key.keep_up_failed", error=str(error))
        threading.Thread(target=self._follow, name="idp-keys", daemon=True).start()

    def stop(self) -> None:
        """Stop keeping up, and leave the holders of private keys."""
        self._stopping.set()
        self.close()

    def close(self) -> None:
        """Leave the holders of private keys."""
        for holder in self._holders.values():
            holder.close()

    def _follow(self) -> None:
        while not self._stopping.wait(REFRESH_SECONDS):
            try:
                self.keep_up()
            except SigningUnavailableError as error:
                audit.warn("key.keep_up_failed", error=str(error))
            except Exception as error:  # noqa: BLE001 - a database that is away for a moment must not end the schedule
                audit.warn("key.keep_up_failed", error=type(error).__name__)


def _encoded(part: Mapping[str, object]) -> str:
    """A part of a JWT: Base64url of compact JSON (RFC 7515 §3.1)."""
    return b64url(json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode())
