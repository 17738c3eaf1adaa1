"""JWTs are taken apart in one way only."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.protocol import jws
from idp.protocol.jws import JwsError


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


HEADER, CLAIMS = b64(b'{"alg":"RS256","typ":"application/AT+jwt"}'), b64(b'{"sub":"a"}')


def test_the_parts_are_what_was_written() -> None:
    parts = jws.take_apart(f"{HEADER}.{CLAIMS}.AQ", 1000)
    assert (parts.typ, parts.claims(), parts.signature) == ("at+jwt", {"sub": "a"}, b"\x01")
    assert parts.signed == f"{HEADER}.{CLAIMS}".encode()
    assert jws.take_apart(f"{b64(b'{}')}..", 1000).typ is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        f"{HEADER}.{CLAIMS}",
        f"{HEADER}.{CLAIMS}.AQ.AQ",
        f"{HEADER}.{CLAIMS}.AR",  # one signature, a second spelling
        f"{HEADER}.{CLAIMS}.AQ==",
        f"{HEADER}.{CLAIMS}.A",
        f"{HEADER}.{CLAIMS}.+/8",
        f" {HEADER}.{CLAIMS}.AQ",
        f"{HEADER}\n.{CLAIMS}.AQ",
        f"{HEADER}.{CLAIMS}.\xe4",
        f"{b64(b'[]')}.{CLAIMS}.AQ",
        f"{b64(b'')}.{CLAIMS}.AQ",
        f"{b64(b'{')}.{CLAIMS}.AQ",
        f"{b64(b'{}' + b' ' * 2000)}.{CLAIMS}.AQ",
        b64(b'{"alg":"RS256","alg":"none"}') + f".{CLAIMS}.AQ",
        b64(b'{"typ":5}') + f".{CLAIMS}.AQ",
        b64(b'{"typ":null}') + f".{CLAIMS}.AQ",
        b64(b'{"typ":["JWT"]}') + f".{CLAIMS}.AQ",
    ],
)
def test_what_is_written_ambiguously_is_refused(token: str) -> None:
    with pytest.raises(JwsError):
        jws.take_apart(token, 1000)


@pytest.mark.parametrize("claims", [b"", b"[]", b'{"a":1,"a":1}', b'{"exp":1e400}', b'{"sub":"\\ud800"}', b'{"sub":"\\u0000"}'])
def test_claims_are_read_as_strictly(claims: bytes) -> None:
    parts = jws.take_apart(f"{HEADER}.{b64(claims)}.AQ", 1000)
    with pytest.raises(JwsError):
        parts.claims()


@given(st.text(st.characters(codec=None)))
def test_nothing_but_a_jws_error_comes_of_anything(text: str) -> None:
    for token in (text, f"{HEADER}.{text}.AQ", f"{text}.{CLAIMS}.AQ", f"{HEADER}.{CLAIMS}.{text}"):
        try:
            jws.take_apart(token, 1000).claims()
        except JwsError as error:
            assert str(error)


@given(st.binary(max_size=40))
def test_every_octet_comes_through_and_has_one_spelling(octets: bytes) -> None:
    text = b64(octets)
    assert jws.take_apart(f"{HEADER}.{text}.", 1000).payload == octets
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        other = text[:-1] + last
        try:
            read = jws.take_apart(f"{HEADER}.{other}.", 1000).payload
        except JwsError:
            continue
        assert b64(read) == other
