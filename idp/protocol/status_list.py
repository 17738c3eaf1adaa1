"""Token Status List (draft-ietf-oauth-status-list-21): the statuses of very many tokens, a few bits for each.

A *byte array* holds them: index 0 stands in the lowest bits of the first byte (§4.1). A list is that array, compressed
with zlib and written in base64url (§4.2).
"""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Mapping

#: The `typ` of a Status List Token (§5.1), and what it is served as (§8.2).
TYP = "statuslist+jwt"
MEDIA_TYPE = "application/statuslist+jwt"

#: Status types (§7.1). The last one means what its application says; here: ask the provider.
VALID, INVALID, APPLICATION_SPECIFIC = 0, 1, 3

_BITS = (1, 2, 4, 8)
_IN_A_BYTE = 8


class StatusListError(ValueError):
    """What should be a status list is none: no statement about any token can be made (§8.3)."""


def packed(statuses: Mapping[int, int], size: int, bits: int) -> bytes:
    """The byte array of `size` tokens of which those in `statuses` are not valid. `bits` is 1, 2, 4 or 8."""
    array = bytearray(-(-size * bits // _IN_A_BYTE))
    for index, status in statuses.items():
        byte, bit = divmod(index * bits, _IN_A_BYTE)
        array[byte] |= status << bit
    return bytes(array)


def encode(array: bytes) -> str:
    """A byte array as the member `lst`."""
    return urlsafe_b64encode(zlib.compress(array, zlib.Z_BEST_COMPRESSION)).rstrip(b"=").decode("ascii")


def decode(lst: str, most: int) -> bytes:
    """The byte array of a member `lst`. Raises StatusListError, also for one of more than `most` bytes."""
    unpacking = zlib.decompressobj()
    try:
        array = unpacking.decompress(urlsafe_b64decode(lst + "=" * (-len(lst) % 4)), most + 1)
    except (zlib.error, Error, ValueError) as error:
        raise StatusListError("lst is not base64url of what zlib makes") from error
    if len(array) > most or not unpacking.eof:
        raise StatusListError("lst is longer than it may be, or cut off")
    return array


def status(array: bytes, bits: int, index: int) -> int:
    """The status at `index`. Raises StatusListError for one that is out of bounds: its token must be refused (§8.3)."""
    if bits not in _BITS or not 0 <= index < len(array) * _IN_A_BYTE // bits:
        raise StatusListError("there is no such index in the list")
    byte, bit = divmod(index * bits, _IN_A_BYTE)
    return array[byte] >> bit & (1 << bits) - 1
