"""A JWT in compact form, taken apart strictly (RFC 7515 §3.1, RFC 8725 §2.4). Nothing in it is believed yet."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idp.protocol import strict_json
from idp.protocol.strict_json import JsonError

_PART = re.compile(rb"[A-Za-z0-9_-]*")
#: How a part may end, by how many characters it falls short of a multiple of four: the bits that are left over are none.
_LAST = tuple(
    frozenset(bytes([char]) for char in ends) | ({b""} if not missing else set())
    for missing, ends in enumerate(
        (
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
            b"AEIMQUYcgkosw048",
            b"AQgw",
            b"",
        )
    )
)
_PARTS = 3
_SHAPE = "it is not a JWT of three parts, in base64url and JSON, each member once"
#: A compact JWT names its type with a media type, of which this beginning may be left out (RFC 7515 §4.1.9).
_PREFIX = "application/"


class JwsError(ValueError):
    """A text that is no JWT, or is written ambiguously. Its text says why, without the token; `where` is `JsonError`'s."""

    def __init__(self, text: str, where: str = "") -> None:
        super().__init__(text)
        self.where = where


@dataclass(frozen=True, slots=True, repr=False)
class CompactJws:
    """The parts. `signed` is what the signature is over."""

    header: Mapping[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes

    @property
    def typ(self) -> str | None:
        """What kind of JWT it says that it is, in lower case and without `application/`; None where it does not say."""
        typ = self.header.get("typ")
        return None if typ is None else str(typ).lower().removeprefix(_PREFIX)

    def claims(self) -> dict[str, Any]:
        """Its claims. Raises JwsError."""
        return _object(self.payload, "claims")


def take_apart(token: str, maximum: int) -> CompactJws:
    """The parts of a JWT of at most `maximum` characters, its claims not read yet. Raises JwsError."""
    if len(token) > maximum:
        raise JwsError(f"it is longer than {maximum} characters")
    try:
        parts = token.encode("ascii").split(b".")
    except UnicodeEncodeError:
        raise JwsError(_SHAPE) from None
    if len(parts) != _PARTS:
        raise JwsError(_SHAPE)
    header, payload, signature = map(_octets, parts)
    members = _object(header, "header")
    if not isinstance(members.get("typ", ""), str):
        message = "the typ in its header must be a string"
        raise JwsError(message)
    return CompactJws(members, payload, b".".join(parts[:2]), signature)


def _octets(part: bytes) -> bytes:
    """Base64url without padding, of which there is one spelling only: or else one token could be sent as several."""
    missing = -len(part) % 4
    if not _PART.fullmatch(part) or part[-1:] not in _LAST[missing]:
        raise JwsError(_SHAPE)
    return urlsafe_b64decode(part + b"=" * missing)


def _object(octets: bytes, what: str) -> dict[str, Any]:
    try:
        return strict_json.load_object(octets, maximum=len(octets))
    except JsonError as error:
        raise JwsError(f"{_SHAPE} ({what}: {error})", error.where) from None
