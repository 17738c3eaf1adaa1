"""Public keys on the curves of RFC 7748 and RFC 8032 that are no keys: those of small order, and what is no point at all.

With such a key every signature, or every shared secret, can be guessed; OpenSSL reads it and fails when it is used.
"""

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey


@dataclass(frozen=True, slots=True)
class _Edwards:
    """The curve a·x² + y² = 1 + d·x²·y² over p. A point is `length` octets, and its cofactor is 2 to the `doublings`."""

    p: int
    a: int
    d: int
    length: int
    doublings: int

    def is_sound(self, octets: bytes) -> bool:
        """Whether they are a point whose order is large. `x` is only ever needed squared."""
        sign = 1 << (8 * self.length - 1)
        y = int.from_bytes(octets, "little") & ~sign
        if len(octets) != self.length or y >= self.p:
            return False
        x2 = (1 - y * y) * pow(self.a - self.d * y * y, -1, self.p) % self.p
        if pow(x2, (self.p - 1) // 2, self.p) not in {0, 1}:
            return False  # it has no root: there is no such point
        for _ in range(self.doublings):
            both = self.d * x2 * y * y
            x2, y = (
                4 * x2 * y * y * pow(1 + both, -2, self.p) % self.p,
                (y * y - self.a * x2) * pow(1 - both, -1, self.p) % self.p,
            )
        return (x2, y) != (0, 1)


_P25519 = 2**255 - 19
_EDWARDS = {
    "Ed25519": _Edwards(_P25519, -1, -121665 * pow(121666, -1, _P25519) % _P25519, 32, 3),
    "Ed448": _Edwards(2**448 - 2**224 - 1, 1, -39081, 57, 2),
}


def is_sound(crv: str, octets: bytes) -> bool:
    """Whether a public key on this curve can be used: a shared secret with it is not zero, or its order is large."""
    if crv in _EDWARDS:
        return _EDWARDS[crv].is_sound(octets)
    try:
        if crv == "X25519":
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(octets))
        elif crv == "X448":
            X448PrivateKey.generate().exchange(X448PublicKey.from_public_bytes(octets))
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True
