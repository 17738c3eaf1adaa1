"""A relying party on PyJWT's `PyJWKClient`. Called and answering as `tests.load.verifiers.watch` says."""

import sys
from collections.abc import Callable

import jwt

from tests.load.verifiers.watch import Demands, watch


def verifier(demands: Demands) -> Callable[[str], object]:
    """What verifies one token, or raises."""
    client = jwt.PyJWKClient(demands.jwks_uri, lifespan=demands.max_age, cooldown_duration=demands.cooldown)

    def verify(token: str) -> object:
        key = client.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["RS256"], audience=list(demands.audience), issuer=demands.issuer)

    return verify


if __name__ == "__main__":
    watch(verifier, sys.argv[1])
