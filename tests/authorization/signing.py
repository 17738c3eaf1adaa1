"""A client's own keys, and request objects signed with them by an independent library (PyJWT)."""

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

TYP = "oauth-authz-req+jwt"


@dataclass(frozen=True)
class Key:
    """A private key, and its public half as a JWK."""

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    kid: str
    alg: str

    @property
    def jwk(self) -> dict[str, object]:
        made = jwt.get_algorithm_by_name(self.alg).to_jwk(self.private.public_key(), as_dict=True)
        members = {name: value for name, value in made.items() if name != "key_ops"}
        return members | {"kid": self.kid, "use": "sig"}

    def sign(self, claims: dict[str, object], *, alg: str | None = None, **headers: object) -> str:
        return jwt.encode(claims, self.private, alg or self.alg, headers={"kid": self.kid, "typ": TYP} | headers)


@cache
def key(alg: str = "RS256", kid: str = "one") -> Key:
    """The same key for the same name: making one takes long."""
    if alg.startswith(("RS", "PS")):
        return Key(rsa.generate_private_key(65537, 2048), kid, alg)
    return Key(ec.generate_private_key(ec.SECP256R1()) if alg == "ES256" else ed25519.Ed25519PrivateKey.generate(), kid, alg)


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(claims: dict[str, object], **headers: object) -> str:
    return f"{part({'alg': 'none'} | headers)}.{part(claims)}."


def soon(seconds: int = 60) -> int:
    return int(time.time()) + seconds
