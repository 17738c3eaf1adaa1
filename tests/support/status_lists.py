"""A reader of status lists of the tests' own, by the specification alone: PyJWT for the signature, zlib for the rest."""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt


@dataclass(frozen=True)
class StatusList:
    """A list that was verified. `claims` are all that it says."""

    claims: Mapping[str, object]
    array: bytes

    @classmethod
    def verified(cls, token: str, jwks: Mapping[str, object], uri: str) -> "StatusList":
        """The list at `uri` (Token Status List §8.3). Whether it has expired is left to who knows the time."""
        header = jwt.get_unverified_header(token)
        assert header["typ"] == "statuslist+jwt"
        key = jwt.PyJWKSet.from_dict(dict(jwks))[header["kid"]].key
        options: Any = {"verify_exp": False, "verify_iat": False, "require": ["sub", "iat", "exp", "ttl", "status_list"]}
        claims: dict[str, object] = jwt.decode(token, key, algorithms=["RS256"], subject=uri, options=options)
        assert claims["sub"] == uri
        inside = claims["status_list"]
        assert isinstance(inside, dict)
        assert inside["bits"] == 2
        return cls(claims, zlib.decompress(base64.urlsafe_b64decode(inside["lst"] + "==")))

    def __getitem__(self, index: int) -> int:
        return self.array[index // 4] >> 2 * (index % 4) & 3

    def __len__(self) -> int:
        return len(self.array) * 4

    @property
    def not_valid(self) -> dict[int, int]:
        return {index: self[index] for index in range(len(self)) if self[index]}


def reference(access_token: str) -> tuple[str, int]:
    """The `uri` and `idx` that an access token names."""
    inside = jwt.decode(access_token, options={"verify_signature": False})["status"]["status_list"]
    return str(inside["uri"]), int(inside["idx"])
