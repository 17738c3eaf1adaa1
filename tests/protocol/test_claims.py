"""The `claims` parameter (OpenID Connect Core 1.0 §5.5): what may be asked for by name, and how it is kept."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.protocol import claims, scopes
from idp.protocol.claims import ClaimRequest, ClaimsError


def test_the_example_of_the_specification_is_read() -> None:
    text = """{
       "userinfo": {"given_name": {"essential": true}, "nickname": null, "email": {"essential": true},
                    "email_verified": {"essential": true}, "picture": null, "http://example.info/claims/groups": null},
       "id_token": {"auth_time": {"essential": true},
                    "acr": {"values": ["urn:mace:incommon:iap:silver"]}}}"""
    asked = claims.parse(text)
    assert asked["userinfo"]["given_name"] == ClaimRequest(essential=True)
    assert asked["userinfo"]["nickname"] == ClaimRequest()
    assert asked["id_token"]["acr"] == ClaimRequest(values=("urn:mace:incommon:iap:silver",))
    assert claims.dump(asked, scopes.claims_of(scopes.SUPPORTED) | claims.OF_THE_SIGN_IN) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"userinfo"',
        "{",
        '{"userinfo": []}',
        '{"userinfo": {"email": true}}',
        '{"userinfo": {"email": {"essential": "yes"}}}',
        '{"userinfo": {"email": {"values": "one"}}}',
        '{"userinfo": {"email": {"value": 1, "values": [1]}}}',
        '{"userinfo": {"email": {"value": {"nested": 1}}}}',
        '{"userinfo": {"email": {"value": NaN}}}',
        '{"userinfo": {"email": {"value": 1e999}}}',
        '{"userinfo": {"' + "n" * 129 + '": null}}',
        json.dumps({"userinfo": {f"c{number}": None for number in range(65)}}),
        json.dumps({"id_token": {"sub": {"values": ["x"] * 33}}}),
        "[" * 5000,
        '{"userinfo": {"email": ' + "[" * 4000 + "]" * 4000 + "}}",
        '{"userinfo": {"email": null}, "pad": "' + "x" * 9000 + '"}',
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ClaimsError, match=r"^claims"):
        claims.parse(text)


def test_unknown_places_and_members_are_ignored() -> None:
    assert claims.parse('{"elsewhere": {"email": null}, "userinfo": {"email": {"purpose": "news"}}}') == {
        "userinfo": {"email": ClaimRequest()}
    }


def test_two_requests_for_the_same_are_kept_as_the_same_text() -> None:
    one = claims.dump(claims.parse('{"userinfo":{"name":null,"email":{"value":"a"}},"id_token":{}}'))
    two = claims.dump(claims.parse('{"userinfo": {"email": {"values": ["a"], "x": 1}, "name": {"essential": false}}}'))
    assert one == two == '{"userinfo":{"email":{"values":["a"]},"name":null}}'


def test_nothing_asked_for_is_kept_as_nothing() -> None:
    assert claims.dump(claims.parse('{"userinfo": {}, "id_token": null}')) is None
    assert claims.dump(claims.parse('{"userinfo": {"email": null}}'), allowed=set()) is None
    assert claims.requested(None, "userinfo") == {}
    assert claims.scopes_behind(None) == ()


def test_a_person_is_shown_the_scopes_that_hold_what_is_asked_for_by_name() -> None:
    stored = claims.dump(claims.parse('{"userinfo":{"nickname":null,"phone_number":null},"id_token":{"sub":{"value":"s"}}}'))
    assert claims.scopes_behind(stored) == ("profile", "phone")


#: Whatever can be asked for: `parse` refuses NUL and half a character (test_strict_json).
_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")


@given(
    st.dictionaries(
        st.sampled_from(claims.PLACES),
        st.dictionaries(
            st.text(_CHARACTERS, max_size=20),
            st.builds(ClaimRequest, st.booleans(), st.lists(st.text(_CHARACTERS, max_size=5), max_size=3).map(tuple)),
            max_size=5,
        ),
    )
)
@settings(deadline=None)
def test_what_is_kept_is_read_back_as_it_was(asked: dict[str, dict[str, ClaimRequest]]) -> None:
    stored = claims.dump(asked)
    read = {} if stored is None else claims.parse(stored)
    assert read == {place: found for place, found in asked.items() if found}
    assert stored is None or stored.isascii()
    for place in claims.PLACES:
        assert claims.requested(stored, place) == asked.get(place, {})


def test_a_value_that_was_not_asked_for_is_not_accepted() -> None:
    assert ClaimRequest().accepts("anything")
    assert ClaimRequest(values=("a", "b")).accepts("b")
    assert not ClaimRequest(values=("a",)).accepts("b")
