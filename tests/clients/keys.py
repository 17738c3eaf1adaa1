"""Keys of relying parties, and what they sign."""

import time
from functools import cache
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from idp.clients.assertions import TYPE
from idp.runtime import secrets


@cache
def rsa(name: str = "rsa") -> RSAKey:
    """An RSA key of this name, which is its `kid`."""
    return RSAKey.generate_key(2048, {"kid": name})


@cache
def ec(name: str = "ec") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name})


@cache
def okp(name: str = "okp") -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": name})


def public(*keys: RSAKey | ECKey | OKPKey) -> dict[str, Any]:
    """A JWK Set."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


def claims(client_id: str, audience: object, **changed: object) -> dict[str, object]:
    """The claims of a good assertion, changed; a change to None leaves a member out."""
    now = int(time.time())
    whole = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token(16),
    } | changed
    return {name: value for name, value in whole.items() if value is not None}


def signed(body: dict[str, object], key: Key, alg: str = "RS256", **header: object) -> str:
    kid = {"kid": key.kid} if key.kid else {}
    return jwt.encode({"alg": alg, **kid, **header}, body, key, algorithms=[alg])


def with_secret(secret: str) -> OctKey:
    return OctKey.import_key(secret)


def form(assertion: str) -> dict[str, str]:
    return {"client_assertion_type": TYPE, "client_assertion": assertion}
