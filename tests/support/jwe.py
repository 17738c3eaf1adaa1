"""A client's own key pair, and reading what is encrypted to it, by PyJWT's and joserfc's other side."""

import json
from dataclasses import dataclass
from typing import Any

from joserfc import jwe
from joserfc.jwk import ECKey, OKPKey, RSAKey

ALGORITHMS = ["RSA-OAEP-256", "ECDH-ES", "A256GCM"]


@dataclass(frozen=True)
class KeyPair:
    """A private key, and the JWK Set that a client registers."""

    key: RSAKey | ECKey | OKPKey

    @classmethod
    def make(cls, alg: str, **members: object) -> "KeyPair":
        every = {"kid": f"enc-{alg}", "use": "enc", **members}
        parameters: Any = {name: value for name, value in every.items() if value is not None}
        if alg == "RSA-OAEP-256":
            return cls(RSAKey.generate_key(2048, parameters))
        return cls(ECKey.generate_key("P-256", parameters))

    @property
    def jwks(self) -> dict[str, object]:
        return {"keys": [self.key.as_dict(private=False)]}

    def opened(self, token: str) -> tuple[dict[str, object], str]:
        """The header of a JWE, and what is inside."""
        assert token.count(".") == 4, "not encrypted"
        found = jwe.decrypt_compact(token, self.key, algorithms=ALGORITHMS)
        assert found.plaintext is not None
        return dict(found.protected), found.plaintext.decode()

    def opened_claims(self, token: str) -> dict[str, object]:
        """Claims that are encrypted and not signed."""
        return dict(json.loads(self.opened(token)[1]))
