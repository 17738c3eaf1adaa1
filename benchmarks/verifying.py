"""A sample of the issued tokens, verified by a library that is not ours: PyJWT, with the keys that the JWKS publishes."""

import json
from collections.abc import Iterable

import jwt

from tests.support import http

_ACCESS, _ID = "at+jwt", "JWT"


class BadTokenError(Exception):
    """An issued token does not verify."""


def verify(bodies: Iterable[bytes], issuer: str) -> int:
    """Verify every token in these answers of `/token`; how many there were. Raises BadTokenError."""
    keys = jwt.PyJWKSet.from_dict(http.get(f"{issuer}/jwks").json())
    seen: set[str] = set()
    for body in bodies:
        answer = json.loads(body)
        access = _claims(answer["access_token"], _ACCESS, keys, issuer, audience=issuer)
        tokens = [access]
        if "id_token" in answer:
            tokens.append(_claims(answer["id_token"], _ID, keys, issuer, audience=access["client_id"]))
        for claims in tokens:
            if claims["jti"] in seen:
                message = f"two tokens have the jti {claims['jti']}"
                raise BadTokenError(message)
            seen.add(claims["jti"])
    return len(seen)


def _claims(token: str, typ: str, keys: jwt.PyJWKSet, issuer: str, audience: str) -> dict[str, str]:
    try:
        header = jwt.get_unverified_header(token)
        required = {"require": ["iss", "aud", "exp", "iat", "sub", "jti"]}
        claims = jwt.decode(
            token, keys[header["kid"]].key, algorithms=["RS256"], audience=audience, issuer=issuer, options=required
        )
    except (jwt.PyJWTError, KeyError) as error:
        message = f"a {typ} does not verify ({type(error).__name__}: {error})"
        raise BadTokenError(message) from None
    if header.get("typ") != typ:
        message = f"a token of the type {header.get('typ')!r} where {typ!r} was to come"
        raise BadTokenError(message)
    return claims
