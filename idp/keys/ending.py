"""Marking a key revoked. Only `logout`, the one door, may import this: whoever else did would forget what follows."""

from dataclasses import dataclass, replace

from idp.keys import rules, store
from idp.keys.rules import Key, KeyPolicy
from idp.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """A key that is dead now, and which key signs in its place: None where none is needed."""

    kid: str
    alg: str
    successor: str | None


def mark_revoked(tx: Transaction, policy: KeyPolicy, kid: str, reason: str, spare: Key | None) -> RevokedKey | None:
    """Revoke a key, and let its successor sign at once; None when it was revoked already, or never was.

    The successor is the one that is announced, else the `spare`. It signs from a little before now, so that an instance
    whose clock is behind can sign with it, too.
    """
    if not store.revoke(tx, kid, reason):
        return None
    line = _line_of(tx, kid)
    key = next(span.key for span in line if span.key.kid == kid)
    at = tx.now - policy.clock_skew
    goes_on = all(rules.signing(line, clock) is not None for clock in (at, tx.now))
    if key.active_at > tx.now or goes_on:
        return RevokedKey(kid, key.alg, None)
    if spare is not None and rules.successor(line, kid) is None:
        store.add(tx, replace(spare, predecessor=line[-1].key.kid, published_at=at, active_at=at))
        line = _line_of(tx, kid)
    successor = rules.successor(line, kid)
    if successor is None:
        return RevokedKey(kid, key.alg, None)
    store.activate(tx, successor.kid, at)
    return RevokedKey(kid, key.alg, successor.kid)


def _line_of(tx: Transaction, kid: str) -> list[rules.KeyLifetime]:
    keys = store.every(tx)
    return rules.timeline(keys, next(key.alg for key in keys if key.kid == kid))
