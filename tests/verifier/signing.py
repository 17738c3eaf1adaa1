"""Keys and tokens of the tests' own, signed as the provider signs."""

import json
import secrets
import time
from base64 import urlsafe_b64encode
from functools import cache
from threading import Lock

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import RSAKey

AUDIENCE = "https://api.example"
CLIENT = "follower"


_making = Lock()


def key(kid: str) -> RSAKey:
    """The key of that name: one for all threads."""
    with _making:
        return _key(kid)


@cache
def _key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


def b64(data: bytes | str) -> str:
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def with_signature(body: str, kid: str) -> str:
    return f"{body}.{b64(key(kid).private_key.sign(body.encode(), padding.PKCS1v15(), SHA256()))}"


def signed(claims: object, typ: object = "at+jwt", kid: str = "one", by: str | None = None, **header: object) -> str:
    """`claims` as a JWT whose header names `kid`, signed by the key `by` (that one if not given)."""
    whole = {"alg": "RS256", "kid": kid, "typ": typ} | header
    return with_signature(f"{b64(json.dumps(whole))}.{b64(json.dumps(claims))}", by or kid)


def token_claims(issuer: str, **claims: object) -> dict[str, object]:
    now = int(time.time())
    made = {
        "iss": issuer,
        "sub": "alice",
        "aud": [issuer, AUDIENCE],
        "client_id": "app",
        "iat": now,
        "exp": now + 300,
        "jti": f"{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(12)}",
        "sid": secrets.token_urlsafe(24),
        "scope": "openid",
    }
    return {name: value for name, value in (made | claims).items() if value is not None}


def access_token(issuer: str, kid: str = "one", **claims: object) -> str:
    return signed(token_claims(issuer, **claims), kid=kid)


def event_claims(issuer: str, event: str, subject: object, **claims: object) -> dict[str, object]:
    """What a SET says."""
    now = int(time.time())
    details = {"event_timestamp": now, "tokens_until": now + 300, "reason_admin": {"en": "a test"}}
    made = {
        "iss": issuer,
        "iat": now,
        "jti": secrets.token_urlsafe(16),
        "aud": CLIENT,
        "sub_id": subject,
        "events": {event: details},
    }
    return {name: value for name, value in (made | claims).items() if value is not None}


def opaque(name: str) -> dict[str, str]:
    return {"format": "opaque", "id": name}


def session(sid: str) -> dict[str, object]:
    return {"format": "complex", "session": opaque(sid), "user": {"format": "iss_sub", "iss": "x", "sub": "alice"}}
