"""Texts that may stand in `error_description` (RFC 6749 §5.2), and in a header."""


def description(text: str) -> str:
    """`text` with every character that the specs forbid in an `error_description` replaced, at most 500 long."""
    return "".join("'" if char == '"' else char if " " <= char <= "~" and char != "\\" else "?" for char in text[:500])
