"""Ways to spoil JSON: every member of a document, its name, and the document as a whole, with what parsers disagree about."""

import copy
import json
from collections.abc import Iterator
from typing import Any

#: Raw JSON that takes the place of one value. The first ones are refused by whoever reads strictly, wherever they stand.
REFUSED_VALUES = {
    "a lone high surrogate": r'"\ud800"',
    "a lone low surrogate": r'"a\udfff"',
    "a pair the wrong way round": r'"\udc00\ud800"',
    "NUL": r'"a\u0000b"',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e400": "1e400",
    "-1e400": "-1e400",
    "1e308": "1e308",
    "10**400": "1" + "0" * 400,
    "five thousand digits": "7" * 5000,
    "2**53": str(2**53),
    "-2**53": str(-(2**53)),
    "2**63": str(2**63),
    "a member that comes twice": '{"a": 1, "a": 2}',
    "a member that comes twice by an escape": r'{"a": 1, "\u0061": 2}',
    "forty deep": "[" * 40 + "]" * 40,
    "ten thousand deep": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "a surrogate as a name": r'{"\ud800": 1}',
    "NUL as a name": r'{"\u0000": 1}',
    "a raw control character": '"a\x01b"',
}
#: And those that may fit somewhere: whatever comes of them is no failure of ours.
ODD_VALUES = {
    "null": "null",
    "true": "true",
    "false": "false",
    "0": "0",
    "-1": "-1",
    "0.5": "0.5",
    "-0.0": "-0.0",
    "1e-400": "1e-400",
    "2**53-1": str(2**53 - 1),
    "2**31": str(2**31),
    "an empty string": '""',
    "a space": '" "',
    "a long string": json.dumps("x" * 3000),
    "characters of all kinds": r'"\uffff\u202e\u2028ä\ud83d\ude00\u0007\u007f\r\n"',
    "a URL": '"https://[::1"',
    "an empty list": "[]",
    "a list in a list": "[[]]",
    "a list of null": "[null]",
    "a list of objects": "[{}]",
    "many values": json.dumps(["x"] * 500),
    "an empty object": "{}",
    "an object": '{"": {"": null}}',
}
_MARK = "\ue000 here \ue000"


def documents(good: Any, *, odd: bool = True) -> Iterator[tuple[str, bytes, bool]]:
    """`good` with one thing spoiled: what it is, the document, and whether every strict reader must refuse it."""
    values = [(name, raw, True) for name, raw in REFUSED_VALUES.items()]
    values += [(name, raw, False) for name, raw in ODD_VALUES.items()] if odd else []
    for path in _paths(good):
        where = ".".join(map(str, path)) or "the whole"
        for name, raw, refused in values:
            yield f"{where}: {name}", _with(good, path, raw), refused
        if path and isinstance(path[-1], str):
            yield f"{where}: twice", _twice(good, path), True
    text = json.dumps(good)
    yield "UTF-16", text.encode("utf-16"), True
    yield "UTF-16 without a mark", text.encode("utf-16-le"), True
    yield "UTF-32", text.encode("utf-32-be"), True
    yield "a byte order mark", b"\xef\xbb\xbf" + text.encode(), True
    yield "no UTF-8", text.encode()[:-1] + b' , "\xff": 1}', True
    yield "an encoded surrogate", b'{"a": "\xed\xa0\x80"}', True
    yield "an overlong NUL", b'{"a": "\xc0\x80"}', True
    yield "cut off", text.encode()[:-1], True
    yield "twice", text.encode() * 2, True
    yield "nothing", b"", True
    yield "brackets", b"[" * 60_000, True


def _paths(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield before
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _paths(each, (*before, name))
    if isinstance(value, list) and value:
        yield from _paths(value[0], (*before, 0))  # the others are like it


def _with(good: Any, path: tuple[str | int, ...], raw: str) -> bytes:
    if not path:
        return raw.encode()
    whole = copy.deepcopy(good)
    holder = whole
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = _MARK
    return json.dumps(whole).replace(json.dumps(_MARK), raw).encode()


def _twice(good: Any, path: tuple[str | int, ...]) -> bytes:
    """The member stands there a second time, with the same value."""
    holder = good
    for name in path:
        holder = holder[name]
    raw = f"{json.dumps(holder)}, {json.dumps(path[-1])}: {json.dumps(holder)}"
    return _with(good, path, raw)
