"""A provider's key and the logout tokens that it would sign, good ones and bad ones."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from examples.receiver import EVENT, Keys, Receiver, keys_of
from examples.sessions import Session, Sessions
from examples.settings import Settings

ISSUER = "http://localhost:8000"
CLIENT_ID = "notes-client"
NOW = 1_800_000_000.0


@pytest.fixture(scope="session")
def provider_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"})


@pytest.fixture(scope="session")
def keys(provider_key: RSAKey) -> Keys:
    return keys_of({"keys": [provider_key.as_dict(private=False)]})


@pytest.fixture
def claims() -> dict[str, Any]:
    """What a good logout token says at NOW."""
    return {
        "iss": ISSUER,
        "aud": CLIENT_ID,
        "iat": int(NOW),
        "exp": int(NOW) + 120,
        "jti": "jti-1",
        "sid": "sid-of-alice",
        "events": {EVENT: {}},
    }


@pytest.fixture
def sign(provider_key: RSAKey) -> Callable[..., str]:
    def signed(claims: Mapping[str, Any], key: RSAKey | None = None, **header: object) -> str:
        full = {"alg": "RS256", "kid": "k1", "typ": "logout+jwt", **header}
        return jwt.encode(
            {name: value for name, value in full.items() if value is not None}, claims, key or provider_key, default_type=None
        )

    return signed


@pytest.fixture
def sign_now(claims: dict[str, Any], sign: Callable[..., str]) -> Callable[..., str]:
    """A good logout token of this moment, with some claims changed."""

    def signed(**changed: object) -> str:
        instant = int(time.time())
        return sign({**claims, "iat": instant, "exp": instant + 120, **changed})

    return signed


@pytest.fixture
def settings() -> Settings:
    return Settings(ISSUER, CLIENT_ID, "secret", 8001)


@pytest.fixture
def receiver(keys: Keys) -> Receiver:
    return Receiver(issuer=ISSUER, client_id=CLIENT_ID, fetch=lambda _issuer: keys)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def alice(sessions: Sessions) -> Session:
    return sessions.start({"iss": ISSUER, "sid": "sid-of-alice", "sub": "alice", "name": "Alice"}, "id.token.alice")


@pytest.fixture
def bob(sessions: Sessions) -> Session:
    return sessions.start({"iss": ISSUER, "sid": "sid-of-bob", "sub": "bob"}, "id.token.bob")
