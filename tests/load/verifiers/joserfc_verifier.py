"""A relying party on joserfc, which leaves fetching to its user: by `Cache-Control`, and at an unknown `kid`.

Called and answering as `tests.load.verifiers.watch` says.
"""

import re
import sys
import time
from collections.abc import Callable

from joserfc import jwt
from joserfc.jwk import GuestProtocol, Key, KeySet

from tests.load.verifiers.watch import Demands, watch
from tests.support import http


class RemoteKeys:
    """The key set of an issuer, kept for as long as the issuer says."""

    def __init__(self, uri: str, cooldown: float) -> None:
        self._uri = uri
        self._cooldown = cooldown
        self._fetch()

    def _fetch(self) -> None:
        answer = http.get(self._uri).raise_for_status()
        self._fetched = time.monotonic()
        self._lifespan = int(re.search(r"max-age=(\d+)", answer.headers["Cache-Control"])[1])
        self._keys = KeySet.import_key_set(answer.json())

    def find(self, token: GuestProtocol) -> Key:
        """The key that the token's header names (a callable, as joserfc takes one)."""
        age = time.monotonic() - self._fetched
        kid = token.headers()["kid"]
        if age >= self._lifespan or (age >= self._cooldown and kid not in {key.kid for key in self._keys.keys}):
            self._fetch()
        return self._keys.get_by_kid(kid)


def verifier(demands: Demands) -> Callable[[str], object]:
    """What verifies one token, or raises."""
    keys = RemoteKeys(demands.jwks_uri, demands.cooldown)
    claims = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": demands.issuer}, aud={"essential": True, "values": list(demands.audience)}
    )

    def verify(token: str) -> object:
        decoded = jwt.decode(token, keys.find, algorithms=["RS256"])
        return claims.validate(decoded.claims)

    return verify


if __name__ == "__main__":
    watch(verifier, sys.argv[1])
