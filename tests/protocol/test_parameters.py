"""Request parameters are read strictly: UTF-8, bounded, each name once (RFC 6749 §3.1, §3.2)."""

from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.protocol.parameters import MAXIMUM_PARAMETERS, MalformedParametersError, Parameters

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)


def test_values_are_read_as_they_were_sent() -> None:
    parameters = Parameters.parse(urlencode({"scope": "openid email", "state": "ä&=+%"}).encode())
    assert dict(parameters) == {"scope": "openid email", "state": "ä&=+%"}
    assert parameters.repeated == frozenset()


def test_a_parameter_without_a_value_counts_as_absent() -> None:
    parameters = Parameters.parse(b"state=&nonce&scope=openid")
    assert "state" not in parameters
    assert "nonce" not in parameters
    assert len(parameters) == 1


@pytest.mark.parametrize("encoded", [b"a=1&a=2", b"a=1&a=1", b"a=&a=1", b"a&a=1", b"a=1&a=", b"%61=1&a=1"])
def test_a_repeated_name_is_told_whatever_its_values(encoded: bytes) -> None:
    assert Parameters.parse(encoded).repeated == {"a"}


def test_of_a_repeated_name_the_first_value_is_kept_for_messages() -> None:
    assert Parameters.parse(b"a=first&a=second")["a"] == "first"


@pytest.mark.parametrize(
    "encoded",
    [
        b"a=\xff",
        b"a=%ff",
        b"a=%C0%80",
        b"a=%ED%A0%80",
        b"%ff=a",
        b"a=%00",
        b"%00=a",
        b"a=x%00y",
        b"a=\x00",
        "a=ä".encode(),
        b"&".join(b"n%d=1" % number for number in range(MAXIMUM_PARAMETERS + 1)),
    ],
)
def test_what_is_not_bounded_percent_encoded_utf_8_without_nul_is_refused(encoded: bytes) -> None:
    with pytest.raises(MalformedParametersError):
        Parameters.parse(encoded)


def test_as_many_parameters_as_allowed_are_read() -> None:
    encoded = b"&".join(b"n%d=1" % number for number in range(MAXIMUM_PARAMETERS))
    assert len(Parameters.parse(encoded)) == MAXIMUM_PARAMETERS


def test_a_semicolon_separates_nothing() -> None:
    assert dict(Parameters.parse(b"a=1;b=2")) == {"a": "1;b=2"}


@given(st.dictionaries(TEXT.filter(bool), TEXT.filter(bool), max_size=20))
@settings(deadline=None)
def test_whatever_was_encoded_comes_back(values: dict[str, str]) -> None:
    assert dict(Parameters.parse(urlencode(values).encode())) == values


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda raw: quote_from_bytes(raw, safe="&=%+").encode())))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused_and_what_is_read_is_clean(encoded: bytes) -> None:
    try:
        parameters = Parameters.parse(encoded)
    except MalformedParametersError:
        return
    for name, value in parameters.items():
        assert value
        assert "\x00" not in name + value
        (name + value).encode()
