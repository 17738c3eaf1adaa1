"""Every value that a request brought: what an error's text may not quote in the log."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote_plus

from idp.protocol import strict_json

#: Headers in which people and clients prove who they are.
_PROOFS = frozenset({"authorization", "proxy-authorization", "cookie", "dpop"})
#: A string as it stands in JSON (RFC 8259 §7).
_WRITTEN = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PARTS = re.compile(r"[\s,;]+")


def values(headers: Iterable[tuple[str, str]], query: str, body: bytes) -> set[str]:
    """All of them, as they came and as they are read: parameters, JSON's strings, credentials, cookies."""
    text = body.decode("utf-8", "replace")
    return {
        *(value for encoded in (query, text) for _, value in _pairs(encoded)),
        *_strings(text),
        *(value for name, header in headers if name.lower() in _PROOFS for value in _proofs(header)),
    }


def _pairs(encoded: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(encoded, errors="surrogateescape")
    except ValueError:  # more parameters than anybody reads
        return [("", encoded)]


def _strings(document: str) -> Iterator[str]:
    """The strings of a JSON document, as they are written and as they are read. What is refused as JSON was never read."""
    yield from _WRITTEN.findall(document)
    try:
        left = [strict_json.loads(document)]
    except strict_json.JsonError:
        return
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += value.values()


def _proofs(header: str) -> Iterator[str]:
    """A header's parts, cookies without their names, and what a Basic one says (RFC 7617 §2)."""
    for part in _PARTS.split(header):
        yield part
        yield part.partition("=")[2]
        try:
            said = base64.b64decode(part, validate=True).decode()
        except (binascii.Error, ValueError):
            continue
        name, _, secret = said.partition(":")
        yield from (said, name, secret, unquote_plus(name), unquote_plus(secret))
