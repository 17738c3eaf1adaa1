"""The rows of signing keys, as the schedule wants them: read, made, rotated, sealed anew, and cleared away.

Any number of instances may keep the same rows at once: a constraint lets each key have one successor.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from idp.keys import rules, sealing, store
from idp.keys.backends import AbsentSigner, DatabaseHolder, Holder
from idp.keys.keyring import SigningKeyring
from idp.keys.rules import Key, KeyPolicy, KeyState, WantedKeys
from idp.keys.signer import Signer
from idp.runtime import audit
from idp.runtime.clock import Instant
from idp.runtime.database import Database
from idp.runtime.figures import Gauge
from idp.runtime.secrets import Secrets

_KEYS = Gauge("idp_keys", "Signing keys by what they do now", ["alg", "state"], multiprocess_mode="livemostrecent")
_NEXT_CHANGE = Gauge(
    "idp_keys_next_change_seconds", "Seconds until a signing key changes its state", multiprocess_mode="livemostrecent"
)


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many keys were sealed anew, and how many of all need no older secret."""

    resealed: int
    keys: int


class KeySchedule:
    """Keeps one deployment's keys. `ring` is what this process knows of them."""

    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        policy: KeyPolicy,
        rsa_bits: int,
        algorithms: Sequence[str],
        hsm: Holder | None,
    ) -> None:
        self.policy = policy
        self.algorithms = tuple(algorithms)
        self.ring = SigningKeyring([], {}, policy, self.algorithms)
        self._database = database
        self._secrets = secrets
        local = DatabaseHolder(rsa_bits)
        self._maker = hsm or local
        self._holders: dict[str, Holder] = {each.name: each for each in (local, self._maker)}
        self._destroyed: set[str] = set()
        self._states: dict[str, KeyState] = {}
        self._loading = threading.Lock()

    def open(self) -> None:
        """See that the holders of private keys let us in. Raises OperatorError with the mend."""
        for holder in self._holders.values():
            holder.open()

    def close(self) -> None:
        """Leave the holders of private keys."""
        for holder in self._holders.values():
            holder.close()

    def load(self) -> None:
        """Read the keys; private halves that are new to this process are opened once. Raises UnsealError."""
        with self._loading:
            with self._database.reading() as tx:
                keys = store.every(tx)
            if keys == self.ring.keys:
                return
            ring = SigningKeyring(keys, self.ring.private, self.policy, self.algorithms)
            now = self._database.clock()
            needed = [span.key for span in ring.spans if span.state(now) not in {KeyState.REMOVED, KeyState.REVOKED}]
            ring.private = {key.kid: self.ring.private.get(key.kid) or self._open(key) for key in needed}
            self.ring = ring

    def keep_up(self) -> None:
        """Follow what other instances did, and create what the schedule asks for. Any instance may; one will."""
        self.load()
        self._live_under_our_policy()
        if not self.ring.keys:
            self._create(self.algorithms)
        for alg in self.algorithms:
            while self._create([alg]):
                pass
        now = self._database.clock()
        self._end_lines_that_are_switched_off(now)
        self._clear_away(now)
        self._tell(now)

    def wanted(self, alg: str, now: Instant) -> WantedKeys | None:
        """The next key of a line to create."""
        caches = rules.announcement_of(self.ring.spans, now)
        return rules.wanted(self.ring.lines.get(alg, ()), self.policy, now, caches=caches)

    def rotate(self, alg: str) -> tuple[str, Instant]:
        """Let the announced successor sign as early as every verifier can know it: its `kid`, and that instant.

        Raises LookupError when no successor is announced.
        """
        self.keep_up()
        planned = rules.earliest_rotation(self.ring.lines.get(alg, ()), self.policy, self._database.clock())
        if planned is None:
            message = f"no successor of the {alg} key is announced yet"
            raise LookupError(message)
        successor, at = planned
        with self._database.writing() as tx:
            if store.activate(tx, successor.kid, at):
                tx.after_commit(lambda: audit.record("key.rotated", kid=successor.kid, active_at=at))
        self.keep_up()
        return successor.kid, min(at, successor.active_at)

    def reseal(self) -> Resealed:
        """Seal every private half under the first secret, so that the others can be taken away. Raises UnsealError."""
        with self._database.writing() as tx:
            tx.take_time()
            keys = store.every(tx)
            older = [key for key in keys if not sealing.is_current(self._secrets, key.kid, key.sealed)]
            for key in older:
                private = sealing.unseal(self._secrets, key.kid, key.sealed)
                store.reseal(tx, key, sealing.seal(self._secrets, key.kid, private))
            tx.after_commit(lambda: audit.record("key.resealed", count=len(older)))
        return Resealed(len(older), len(keys))

    def under_an_older_secret(self) -> int:
        """How many of the keys that are known cannot be opened by the first secret."""
        return sum(not sealing.is_current(self._secrets, key.kid, key.sealed) for key in self.ring.keys)

    def spare(self, alg: str) -> Key:
        """A key that stands in no row yet. It takes up to 0.2 s, an HSM more: call it outside of any transaction."""
        public, private = self._maker.generate(alg)
        kid = public["kid"]
        return Key(
            kid=kid,
            alg=alg,
            predecessor="",
            published_at=0.0,
            active_at=0.0,
            revoked_at=None,
            revoked_reason=None,
            public=json.dumps(public),
            sealed=sealing.seal(self._secrets, kid, private),
            holder=self._maker.name,
            announcement=self.policy.announcement,
            retention=self.policy.retention,
        )

    def discard(self, spare: Key) -> None:
        """Destroy the private half of a key that came into no row."""
        self._maker.destroy(sealing.unseal(self._secrets, spare.kid, spare.sealed))

    def _open(self, key: Key) -> Signer:
        holder = self._holders.get(key.holder)
        if holder is None:
            return AbsentSigner(key.kid, key.holder)
        return holder.signer(sealing.unseal(self._secrets, key.kid, key.sealed), key.alg)

    def _live_under_our_policy(self) -> None:
        """Write down what this policy promises to caches and tokens, before anything is served or signed under it."""
        ours = self.policy.announcement, self.policy.retention
        living = [key for key in self.ring.keys if key.revoked_at is None]
        if all(key.announcement >= ours[0] and key.retention >= ours[1] for key in living):
            return
        with self._database.writing() as tx:
            store.live_under(tx, *ours)
        self.load()

    def _create(self, algorithms: Sequence[str]) -> bool:
        """Make what these lines want, all at once or, where another instance was faster, nothing; whether there was any."""
        now = self._database.clock()
        wants = [(alg, want) for alg in algorithms if (want := self.wanted(alg, now)) is not None]
        keys = [
            replace(self.spare(alg), predecessor=want.predecessor, published_at=want.published_at, active_at=want.active_at)
            for alg, want in wants
        ]
        added: list[Key] = []
        if keys:
            with self._database.writing() as tx:
                for key in keys:
                    if not store.add(tx, key):
                        break
                    added.append(key)
                    tx.after_commit(partial(_tell_of_new, key))
            self.load()
        for key in keys[len(added) :]:
            self.discard(key)
        return bool(keys)

    def _end_lines_that_are_switched_off(self, now: Instant) -> None:
        """A line that lived out its time is closed, so that whoever switches it on again announces a new key first."""
        for alg, line in self.ring.lines.items():
            if alg not in self.algorithms and line and line[-1].state(now) is KeyState.REMOVED:
                with self._database.writing() as tx:
                    store.revoke(tx, line[-1].key.kid, rules.SWITCHED_OFF)

    def _clear_away(self, now: Instant) -> None:
        """Destroy what holders other than the database still keep of keys that are removed or revoked."""
        for span in self.ring.spans:
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

    def _tell(self, now: Instant) -> None:
        """Log what every key has become since this process last looked, and count them."""
        states = {span.key.kid: span.state(now) for span in self.ring.spans}
        if self._states:
            for span in self.ring.spans:
                if self._states.get(span.key.kid) is not states[span.key.kid]:
                    _tell_of(span.key, states[span.key.kid])
        self._states = states
        for alg, line in self.ring.lines.items():
            for state in KeyState:
                _KEYS.labels(alg, state).set(sum(states[span.key.kid] is state for span in line))
        change = rules.next_change(self.ring.spans, now)
        _NEXT_CHANGE.set(change - now if change is not None else float("inf"))


def _tell_of_new(key: Key) -> None:
    audit.record("key.created", kid=key.kid, alg=key.alg, active_at=key.active_at, holder=key.holder)


def _tell_of(key: Key, become: KeyState) -> None:
    """One constant name for each event, so that a log can be searched for them."""
    match become:
        case KeyState.ANNOUNCED:
            audit.record("key.announced", kid=key.kid, alg=key.alg, active_at=key.active_at)
        case KeyState.SIGNING:
            audit.record("key.signing", kid=key.kid, alg=key.alg)
        case KeyState.VERIFYING:
            audit.record("key.verifying", kid=key.kid, alg=key.alg)
        case KeyState.REMOVED:
            audit.record("key.removed", kid=key.kid, alg=key.alg)
        case KeyState.REVOKED:
            audit.warn("key.revoked", kid=key.kid, alg=key.alg, reason=key.revoked_reason)
        case KeyState.PLANNED:
            audit.record("key.planned", kid=key.kid, alg=key.alg, published_at=key.published_at)
