"""What may stand in an `error_description` (RFC 6749 §5.2): no quote, backslash, control or non-ASCII character."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from idp.protocol.errors import description

ALLOWED = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]*")


@given(st.text(max_size=600))
@settings(deadline=None)
def test_every_description_is_made_of_allowed_characters_and_bounded(text: str) -> None:
    made = description(text)
    assert ALLOWED.fullmatch(made)
    assert len(made) == min(len(text), 500)


def test_an_allowed_text_is_kept_to_the_letter() -> None:
    assert description("scope must hold at least one of: openid.") == "scope must hold at least one of: openid."


def test_a_line_break_cannot_end_a_header() -> None:
    assert description('a\r\nSet-Cookie: x="1"\\') == "a??Set-Cookie: x='1'?"
