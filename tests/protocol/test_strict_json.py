"""The one reader of JSON from outside: what it gives can be stored, compared, signed and computed with."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.protocol import strict_json
from idp.protocol.strict_json import MAXIMUM_DEPTH, MAXIMUM_NUMBER, MAXIMUM_SIZE, JsonError

#: A text that is refused, and a word of the reason.
REFUSED: list[tuple[str | bytes, str]] = [
    ("", "Expecting"),
    ("{", "Expecting"),
    ("{} {}", "Extra"),
    ("'a'", "Expecting"),
    ('{"a": 1,}', ""),
    ('{"a": 1, "a": 1}', "a comes twice"),
    ('[{"b": {"a": 1, "a": 2}}]', "a comes twice"),
    ('{"a": 1, "\\u0061": 1}', "a comes twice"),
    ('{"exp": NaN}', "exp: NaN"),
    ("[Infinity]", "[0]: Infinity"),
    ("-Infinity", "-Infinity"),
    ('{"exp": 1e400}', "exp: a number"),
    ('{"exp": -1e400}', "exp: a number"),
    ('{"exp": 1e300}', "exp: a number"),
    ('{"exp": 9007199254740993.0}', "exp: a number"),
    (f'{{"exp": {10**400}}}', "exp: a number"),
    ('{"exp": ' + "1" * 5000 + "}", "exp: a number"),
    (f'{{"a": [{{"exp": {MAXIMUM_NUMBER + 1}}}]}}', "a[0].exp: a number"),
    (f'{{"exp": {-MAXIMUM_NUMBER - 1}}}', "exp: a number"),
    ('{"sub": "\\ud800"}', "sub: a string holds half a character"),
    ('{"sub": "\\udfff\\ud800"}', "half a character"),
    ('{"\\ud83d": 1}', "half a character"),
    ('{"sub": "\ud800"}', "UTF-8"),
    ('{"sub": "a\\u0000b"}', "sub: a string holds a NUL"),
    ('{"a\\u0000": 1}', "NUL"),
    ('{"sub": "a\x00b"}', "control character"),
    ('{"sub": "a\nb"}', "control character"),
    (b'{"sub": "\xff"}', "UTF-8"),
    (b'{"sub": "\xed\xa0\x80"}', "UTF-8"),
    (b'{"sub": "\xc0\x80"}', "UTF-8"),
    (b'\xef\xbb\xbf{"sub": "a"}', ""),
    ('{"sub": "a"}'.encode("utf-16"), "UTF-8"),
    ('{"sub": "a"}'.encode("utf-16-le"), ""),
    ('{"sub": "a"}'.encode("utf-32-le"), ""),
    ("[" * (MAXIMUM_DEPTH + 1) + "]" * (MAXIMUM_DEPTH + 1), "deeper"),
    ('{"a":' * 5000 + "1" + "}" * 5000, "deeper"),
    ("[" * 30_000, "deeper"),
    (" " * (MAXIMUM_SIZE + 1) + "1", "longer"),
]


@pytest.mark.parametrize(("text", "word"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_plain_is_refused_with_its_place_and_reason(text: str | bytes, word: str) -> None:
    with pytest.raises(JsonError) as refused:
        strict_json.loads(text)
    assert word in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -0.5,
        MAXIMUM_NUMBER,
        -MAXIMUM_NUMBER,
        1e-300,
        "ä😀\u2028",
        {"a": [1, {"b": ["[[[[", "{{{{"] * 20}]},
        [[[]] * 40],
        {},
    ],
)
def test_what_is_plain_is_read_as_it_is(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value).encode()):
        assert strict_json.loads(text) == value


def test_a_name_that_cannot_be_shown_is_not_repeated() -> None:
    with pytest.raises(JsonError) as refused:
        strict_json.loads(json.dumps({"\x1b[31m" + "x" * 5000: 10**20}))
    assert str(refused.value) == "?: a number is beyond 2^53 - 1"


def test_an_object_is_an_object() -> None:
    assert strict_json.load_object(b'{"a": 1}') == {"a": 1}
    for text in ("[]", '"a"', "null", "1"):
        with pytest.raises(JsonError, match="no JSON object"):
            strict_json.load_object(text)


def test_what_we_wrote_ourselves_is_read_as_it_was_written() -> None:
    assert strict_json.stored('{"a": "\\ud800", "b": 100000000000000000000}') == {"a": "\ud800", "b": 10**20}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(st.characters(codec=None), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None), max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_VALUES)
def test_whatever_is_read_can_be_written_as_utf8_without_nul_and_fits_a_double(value: object) -> None:
    try:
        read = strict_json.loads(json.dumps(value))
    except JsonError:
        return
    assert read == value
    written = json.dumps(read, ensure_ascii=False, allow_nan=False).encode()
    assert b"\\u0000" not in written
    assert json.loads(written, parse_int=float) == json.loads(written)


@given(st.binary(max_size=200) | st.text(st.characters(codec=None), max_size=200))
def test_nothing_but_a_json_error_comes_of_anything(sent: bytes | str) -> None:
    try:
        strict_json.loads(sent)
    except JsonError as error:
        assert str(error)
