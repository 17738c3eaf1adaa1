"""One status list (draft-ietf-oauth-status-list-21): read from its JWT, and asked for the status of one token."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from joserfc.jwk import RSAKey

from idp.protocol import status_list
from idp.protocol.status_list import INVALID, TYP, StatusListError
from idp.verifier import compact
from idp.verifier.claims import instant
from idp.verifier.errors import MalformedTokenError

_MAXIMUM_JWT = 1024 * 1024
_MAXIMUM_LIST = 4 * 1024 * 1024
#: Where a list does not say how long it may be kept.
_DEFAULT_TTL = 60.0


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
class FetchedStatusList:
    """`issued_at` and `expires_at` are the provider's clock; `ttl` is for how many seconds it may be kept."""

    bits: int
    array: bytes
    issued_at: float
    expires_at: float | None
    ttl: float

    def status(self, index: int) -> int:
        """The status of a token. One beyond the end of the list is not valid (§8.3)."""
        try:
            return status_list.status(self.array, self.bits, index)
        except StatusListError:
            return INVALID

    def ended_since(self, old: "FetchedStatusList | None") -> Iterator[int]:
        """The places at which tokens have ended since an older list was made, and perhaps some at which they had before."""
        before = old.array if old is not None and old.bits == self.bits else b""
        in_a_byte = 8 // self.bits
        for number, byte in enumerate(self.array):
            if byte and byte != (before[number] if number < len(before) else 0):
                places = range(number * in_a_byte, (number + 1) * in_a_byte)
                yield from (index for index in places if self.status(index) == INVALID)


def read(text: str, keys: Mapping[str, RSAKey], issuer: str, uri: str) -> FetchedStatusList:
    """Raises MalformedTokenError and its like (TokenError) for what is no status list of this issuer at this address (§8.3)."""
    claims, _ = compact.read(text, keys, TYP, _MAXIMUM_JWT)
    listed, issued = claims.get("status_list"), instant(claims.get("iat"))
    if claims.get("sub") != uri or claims.get("iss", issuer) != issuer or issued is None or not isinstance(listed, dict):
        message = "not the status list of this address"
        raise MalformedTokenError(message)
    said, packed, ttl = listed.get("bits"), listed.get("lst"), instant(claims.get("ttl"))
    bits = said if isinstance(said, int) else 0
    try:
        array = status_list.decode(str(packed), _MAXIMUM_LIST)
        status_list.status(array, bits, 0)
    except StatusListError as error:
        raise MalformedTokenError(str(error)) from None
    return FetchedStatusList(bits, array, issued, instant(claims.get("exp")), ttl or _DEFAULT_TTL)
