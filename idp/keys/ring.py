"""The keys of this process: parsed once (40 ms each), and asked by the clock at every signature."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import RSAKey

from idp.keys import rules
from idp.keys.rules import Key, Policy, Span, State
from idp.runtime.clock import Instant
from idp.runtime.front import Ready

if TYPE_CHECKING:
    from idp.keys.holders import Signer


class PublicJwk(TypedDict):
    """A key as the JWKS shows it (RFC 7517 §4): never a private member."""

    kty: str
    n: str
    e: str
    kid: str
    alg: str
    use: str


def generate(bits: int, alg: str) -> tuple[PublicJwk, bytes]:
    """A new RSA key: its public JWK, whose `kid` is the RFC 7638 thumbprint, and its private half as PKCS#8 DER.

    A `kid` never begins with `-`, so that `idp key revoke KID` takes none for an option.
    """
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = public_jwk(RSAKey.import_key(der), alg)
    return generate(bits, alg) if public["kid"].startswith("-") else (public, der)  # one in 64


def public_jwk(key: RSAKey, alg: str) -> PublicJwk:
    """The public half as the JWKS shows it."""
    members = key.as_dict(private=False)
    return PublicJwk(kty="RSA", n=str(members["n"]), e=str(members["e"]), kid=key.thumbprint(), alg=alg, use="sig")


class KeyRing:
    """A snapshot of the keys. It is replaced as a whole, so that readers need no lock."""

    def __init__(self, keys: Sequence[Key], private: Mapping[str, "Signer"], policy: Policy, alg: str) -> None:
        self.spans: list[Span] = rules.timeline(keys, policy, alg)
        self.private = private
        self.policy = policy
        self._public = {span.key.kid: RSAKey.import_key(json.loads(span.key.public)) for span in self.spans}
        self._document: tuple[Instant, Instant, Ready] | None = None

    def signing(self, now: Instant) -> tuple[str, "Signer"]:
        """The `kid` of the key that signs at `now`, and what signs with it. Raises LookupError when none can."""
        span = rules.signing(self.spans, now)
        if span is None or span.key.kid not in self.private:
            message = "no key can sign: see `idp doctor`"
            raise LookupError(message)
        return span.key.kid, self.private[span.key.kid]

    def verifying(self, kid: str, now: Instant, *, also_removed: bool = False) -> RSAKey | None:
        """The key that `kid` names, if what it signed still counts. A `kid` is only ever looked up (RFC 8725 §3.10).

        `also_removed` is for hints, which prove nothing but who once issued them.
        """
        accepted = {State.SIGNING, State.VERIFYING} | ({State.REMOVED} if also_removed else set())
        for span in self.spans:
            if span.key.kid == kid and span.state(now) in accepted:
                return self._public[kid]
        return None

    def document(self, now: Instant) -> Ready:
        """The JWKS at `now`: made anew only when a key changes its state."""
        kept = self._document
        if kept is not None and kept[0] <= now < kept[1]:
            return kept[2]
        public = [json.loads(span.key.public) for span in rules.published(self.spans, now)]
        document = Ready(json.dumps({"keys": public}, separators=(",", ":")).encode(), self.policy.max_age)
        self._document = (now, rules.next_change(self.spans, now) or float("inf"), document)
        return document
