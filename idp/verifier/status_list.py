"""One status list (Token Status List, IETF OAuth WG): read from its JWT, and asked for the status of one token."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from joserfc.jwk import RSAKey
from joserfc.util import urlsafe_b64decode

from idp.verifier import compact
from idp.verifier.claims import instant
from idp.verifier.errors import MalformedTokenError

_TYP = "statuslist+jwt"
_MAXIMUM_JWT = 1024 * 1024
_MAXIMUM_LIST = 4 * 1024 * 1024
_BITS = (1, 2, 4, 8)
#: Where a list does not say how long it may be kept.
_DEFAULT_TTL = 60.0

VALID, INVALID = 0, 1


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a token says that its status stands (§6.2)."""

    uri: str
    index: int

    @classmethod
    def of(cls, claims: Mapping[str, object]) -> "Reference | None":
        """The one of a token with these claims; None where it has none."""
        status = claims.get("status")
        found = status.get("status_list") if isinstance(status, dict) else None
        if not isinstance(found, dict):
            return None
        uri, index = found.get("uri"), found.get("idx")
        if not isinstance(uri, str) or not isinstance(index, int) or isinstance(index, bool) or index < 0:
            message = "its status cannot be read"
            raise MalformedTokenError(message)
        return cls(uri, index)


@dataclass(frozen=True, slots=True)
class StatusList:
    """`issued_at` and `expires_at` are the provider's clock; `ttl` is for how many seconds it may be kept."""

    bits: int
    statuses: bytes
    issued_at: float
    expires_at: float | None
    ttl: float

    def status(self, index: int) -> int:
        """The status of a token. One beyond the end of the list is not valid (§8.3)."""
        at, shift = divmod(index * self.bits, 8)
        return self.statuses[at] >> shift & (1 << self.bits) - 1 if at < len(self.statuses) else INVALID


def read(text: str, keys: Mapping[str, RSAKey], issuer: str, uri: str) -> StatusList:
    """Raises MalformedTokenError and its like (TokenError) for what is no status list of this issuer at this address (§8.3)."""
    claims, _ = compact.read(text, keys, _TYP, _MAXIMUM_JWT)
    listed, issued = claims.get("status_list"), instant(claims.get("iat"))
    if claims.get("sub") != uri or claims.get("iss", issuer) != issuer or issued is None or not isinstance(listed, dict):
        message = "not the status list of this address"
        raise MalformedTokenError(message)
    bits, packed, ttl = listed.get("bits"), listed.get("lst"), instant(claims.get("ttl"))
    if bits not in _BITS or not isinstance(packed, str):
        message = "a status list without bits or statuses"
        raise MalformedTokenError(message)
    statuses = _unpacked(packed)
    return StatusList(bits, statuses, issued, instant(claims.get("exp")), ttl or _DEFAULT_TTL)


def _unpacked(packed: str) -> bytes:
    """DEFLATE in the ZLIB format (§4.1), and never more of it than a list may have."""
    try:
        inflating = zlib.decompressobj()
        statuses = inflating.decompress(urlsafe_b64decode(packed.encode()), _MAXIMUM_LIST)
    except (zlib.error, ValueError):
        statuses, inflating = b"", None
    if inflating is None or not inflating.eof:
        message = "a status list that cannot be unpacked"
        raise MalformedTokenError(message)
    return statuses
