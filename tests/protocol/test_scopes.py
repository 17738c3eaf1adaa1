"""Scopes and the claims that they ask for (RFC 6749 §3.3, OpenID Connect Core 1.0 §5.4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.protocol import scopes


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (None, ()),
        ("", ()),
        ("  ", ()),
        ("openid", ("openid",)),
        ("openid email openid", ("openid", "email")),
        ("email  openid", ("email", "openid")),
        ("OpenID", ("OpenID",)),
    ],
)
def test_a_scope_is_its_tokens_each_once_in_order(text: str | None, tokens: tuple[str, ...]) -> None:
    assert scopes.parse(text) == tokens


@given(st.text(max_size=60))
@settings(deadline=None)
def test_joining_and_parsing_are_inverse(text: str) -> None:
    tokens = scopes.parse(text)
    assert scopes.parse(scopes.join(tokens)) == tokens


@pytest.mark.parametrize("name", ["", "a b", 'a"', "a\\", "ä", "a\n", "\x7f", "a" * 129])
def test_what_rfc_6749_forbids_is_no_scope_token(name: str) -> None:
    assert not scopes.is_scope_token(name)


def test_every_scope_of_ours_is_a_token_with_a_sentence_for_people() -> None:
    for name in scopes.SUPPORTED:
        assert scopes.is_scope_token(name)
        assert scopes.SENTENCES[name]


def test_openid_alone_asks_for_nothing_but_the_subject() -> None:
    assert scopes.claims_of(["openid"]) == {"sub"}
    assert scopes.claims_of(["openid", "unknown", "offline_access"]) == {"sub"}
    assert scopes.claims_of(["email"]) == {"email", "email_verified"}
