"""The keys of this process: parsed once (40 ms each), and asked by the clock at every signature."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from joserfc.jwk import ECKey, OKPKey, RSAKey

from idp.keys import rules
from idp.keys.rules import Key, KeyLifetime, KeyPolicy, KeyState
from idp.keys.signer import Signer
from idp.protocol import strict_json
from idp.protocol.signatures import ALGORITHMS
from idp.runtime.clock import Instant
from idp.runtime.inbound.documents import CachedDocument

Jwk: TypeAlias = RSAKey | ECKey | OKPKey
#: A key as the JWKS shows it (RFC 7517 §4): never a private member.
PublicJwk: TypeAlias = dict[str, str]
#: The types of key that sign by each algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
TYPES: dict[str, type[Jwk]] = {
    "RS256": RSAKey,
    "RS384": RSAKey,
    "RS512": RSAKey,
    "PS256": RSAKey,
    "ES256": ECKey,
    "EdDSA": OKPKey,
}
_GENERATE: dict[type[Jwk], Callable[[int], Jwk]] = {
    RSAKey: RSAKey.generate_key,
    ECKey: lambda _bits: ECKey.generate_key("P-256"),
    OKPKey: lambda _bits: OKPKey.generate_key("Ed25519"),
}


def generate(bits: int, alg: str) -> tuple[PublicJwk, bytes]:
    """A new key: its public JWK, whose `kid` is the RFC 7638 thumbprint, and its private half as PKCS#8 DER.

    `bits` is for RSA. A `kid` never begins with `-`, so that `idp key revoke KID` takes none for an option.
    """
    key = _GENERATE[TYPES[alg]](bits)
    public = public_jwk(key, alg)
    return generate(bits, alg) if public["kid"].startswith("-") else (public, key.as_der(private=True))  # one in 64


def public_jwk(key: Jwk, alg: str) -> PublicJwk:
    """The public half as the JWKS shows it."""
    members = {
        name: str(value) for name, value in key.as_dict(private=False).items() if name in {"kty", "n", "e", "crv", "x", "y"}
    }
    return members | {"kid": key.thumbprint(), "alg": alg, "use": "sig"}


class SigningKeyring:
    """A snapshot of the keys, one line for each algorithm. It is replaced as a whole, so that readers need no lock."""

    def __init__(
        self, keys: Sequence[Key], private: Mapping[str, Signer], policy: KeyPolicy, algorithms: Sequence[str]
    ) -> None:
        """`algorithms` are those that are switched on. Other lines live out their time."""
        known = {key.alg for key in keys} | set(algorithms)
        self.lines = {
            alg: rules.timeline(keys, alg, ends_after=None if alg in algorithms else policy.rotation_period)
            for alg in ALGORITHMS
            if alg in known
        }
        self.keys = list(keys)
        self.private = private
        self.policy = policy
        self._spans = {span.key.kid: span for span in self.spans}
        self._public = {
            kid: TYPES[span.key.alg].import_key(strict_json.stored(span.key.public)) for kid, span in self._spans.items()
        }
        self._document: tuple[Instant, Instant, CachedDocument] | None = None

    @property
    def spans(self) -> list[KeyLifetime]:
        """Every key, line by line."""
        return [span for line in self.lines.values() for span in line]

    def signing(self, alg: str, now: Instant) -> tuple[str, Signer] | None:
        """The `kid` of the key that signs by `alg` at `now`, and what signs with it; None when none can."""
        span = rules.signing(self.lines.get(alg, ()), now)
        return None if span is None or span.key.kid not in self.private else (span.key.kid, self.private[span.key.kid])

    def verifying(self, kid: str, alg: str, now: Instant, *, also_removed: bool = False) -> Jwk | None:
        """The key that `kid` names, if what it signed still counts. A `kid` is only ever looked up (RFC 8725 §3.10).

        `also_removed` is for hints, which prove nothing but who once issued them.
        """
        accepted = {KeyState.SIGNING, KeyState.VERIFYING} | ({KeyState.REMOVED} if also_removed else set())
        span = self._spans.get(kid)
        return self._public[kid] if span is not None and span.key.alg == alg and span.state(now) in accepted else None

    def document(self, now: Instant) -> CachedDocument:
        """The JWKS at `now`. It may be cached until it changes, though never for longer than the policy says.

        Its bytes are made anew only when a key changes its state; its `max-age` (RFC 9111 §5.2.2.1) near a change.
        """
        kept = self._document
        if kept is not None and kept[0] <= now < kept[1]:
            return kept[2]
        spans = self.spans
        longest = self.policy.max_age
        left = (rules.next_publication(spans, now) or float("inf")) - now
        public = [strict_json.stored(span.key.public) for span in rules.published(spans, now)]
        max_age = longest if left > longest else max(1, int(left))
        document = CachedDocument(json.dumps({"keys": public}, separators=(",", ":")).encode(), max_age)
        # Within `longest` of a change it is made anew each second, by and by allowing less.
        self._document = (now, now + (left - longest if left > longest else min(1.0, left)), document)
        return document
