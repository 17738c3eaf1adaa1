"""Text from outside, made harmless for a terminal: no escape sequence, no direction override, no line of its own.

What is not printable (Unicode's control, format, surrogate, private and separator characters) never goes out as it is: a
receiver's error text, a client's name or a user agent could move the cursor, rename the window or forge a log line.
"""

import re

#: What stands bare in a log line; anything else is quoted, so that no value can pass for two fields.
_BARE = re.compile(r"[^\s\"'=\\]+")


def replaced(text: str) -> str:
    """`text` for a table or a sentence: what is not printable is U+FFFD."""
    if text.isprintable():  # most of it is: nothing to build
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def escaped(text: str) -> str:
    r"""`text` for a log line: what is not printable is written as Python writes it, such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def quoted(value: object) -> str:
    """A field's value for a log line: bare where that is clear, else as Python writes it."""
    shown = repr(value)
    if isinstance(value, str) and _BARE.fullmatch(value):
        return shown[1:-1]
    return escaped(shown)


def json_escaped(document: str) -> str:
    r"""A JSON document whose strings hold no character that is not printable: `\u` escapes stand for them (RFC 8259 §7)."""
    if document.isprintable():
        return document
    return "".join(char if char.isprintable() or char == "\n" else _json(ord(char)) for char in document)


def _json(code: int) -> str:
    if code < 0x10000:  # noqa: PLR2004 - beyond it, JSON writes two surrogates
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
