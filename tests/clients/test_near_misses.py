"""What is registered and yet not meant: it is said, where it is registered by an operator and where a client does it itself."""

import pytest

from idp.clients.metadata_fields import MEMBERS
from idp.clients.similar import nearest
from tests.clients.registering import METADATA, Own, World, refused


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tokn_endpoint_auth_method", "token_endpoint_auth_method"),
        ("redirectUris", "redirect_uris"),
        ("Redirect-URIs", "redirect_uris"),
        ("redirect_uri", "redirect_uris"),
        ("post_logout_redirect_uri", "post_logout_redirect_uris"),
        ("grant_type", "grant_types"),
        ("scopes", "scope"),
        ("back_channel_logout_uri", "backchannel_logout_uri"),
        ("backchannel_logout_url", "backchannel_logout_uri"),
        ("jwksUri", "jwks_uri"),
        ("firstParty", "first_party"),
        ("access_token_format", None),
        ("metadata", None),
        ("x" * 10_000, None),
    ],
)
def test_the_member_that_was_likely_meant_is_found(written: str, meant: str | None) -> None:
    assert nearest(written, MEMBERS) == meant


def test_every_member_is_its_own_nearest() -> None:
    for member in MEMBERS:
        assert nearest(member.replace("_", ""), MEMBERS) == member


def test_a_client_that_mistypes_a_member_is_registered_and_told(world: World) -> None:
    answer = world.try_to_register(tokn_endpoint_auth_method="none", unheard_of=1)
    assert answer.status_code == 201
    mistyped, unknown = answer.headers["Warning"].split(", 299 - ")
    assert "tokn_endpoint_auth_method" in mistyped
    assert "did you mean token_endpoint_auth_method?" in mistyped
    assert "unheard_of" in unknown
    assert answer.json["token_endpoint_auth_method"] == "client_secret_basic"
    again = Own(world, answer.json).put(**{"client_nam#de": "Eine App"})
    assert "client_name#" in again.headers["Warning"]


def test_an_answer_that_comes_back_as_it_was_is_no_near_miss(world: World) -> None:
    answer = world.try_to_register(**{"client_name#de": "Eine App", "policy_uri#pt-BR": "https://app.example/p"})
    assert "Warning" not in answer.headers
    sent = {name: value for name, value in answer.json.items() if name not in {
        "registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at",
    }}  # fmt: skip
    again = Own(world, answer.json).put(**sent)
    assert again.status_code == 200
    assert "Warning" not in again.headers


def test_what_strangers_write_is_repeated_shortened_and_in_printable_characters(world: World) -> None:
    strange = {f'\x1b[31m\r\nSet-Cookie: x="é\\{"x" * 500}{number}': 1 for number in range(40)}
    answer = world.try_to_register(**strange)
    assert answer.status_code == 201
    warnings = answer.headers["Warning"].split(", 299 - ")
    assert len(warnings) == 8
    assert all(len(each) < 200 and each.isascii() and each.isprintable() for each in warnings)
    assert all(each.count('"') == 2 for each in warnings)
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"grant_types": ["authorisation_code"]}, "did you mean authorization_code?"),
        ({"grant_types": ["refresh-token"]}, "did you mean refresh_token?"),
        ({"token_endpoint_auth_method": "client_secret_basik"}, "did you mean client_secret_basic?"),
        ({"application_type": "nativ"}, "did you mean native?"),
        ({"subject_type": "pair-wise"}, "did you mean pairwise?"),
        ({"response_types": ["codes"]}, "did you mean code?"),
        ({"scope": "openid emial"}, "did you mean email?"),
    ],
)
def test_a_mistyped_value_is_refused_with_what_was_likely_meant(world: World, members: dict[str, object], word: str) -> None:
    refused(world.try_to_register(**members), "invalid_client_metadata", word)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("redirect_uris", "invalid_redirect_uri"),
        ("post_logout_redirect_uris", "invalid_client_metadata"),
        ("request_uris", "invalid_client_metadata"),
    ],
)
@pytest.mark.parametrize(
    "pattern",
    [
        "http://localhost:5001/*",
        "https://app.example/*",
        "https://app.example/callback*",
        "https://app.example/cb?next=*",
        "https://app.example/%2A",
        "https://app.example/%2a/cb",
    ],
)
def test_a_pattern_is_refused_wherever_addresses_are_compared_to_the_letter(
    world: World, name: str, error: str, pattern: str
) -> None:
    refused(world.try_to_register(**{name: [pattern]}), error, "wildcard", name)


def test_a_native_apps_pattern_is_refused_too(world: World) -> None:
    for uri in ("com.example.app:/*", "http://127.0.0.1/*", "http://[::1]:1/*"):
        refused(world.try_to_register(application_type="native", redirect_uris=[uri]), "invalid_redirect_uri", "wildcard")


WARNED = [
    ({"scope": "openid groups"}, "groups"),
    ({"scope": "openid profil"}, "did you mean profile?"),
    ({"scope": "openid offline_access"}, "refresh_token"),
    ({"scope": "openid ssf.read"}, "client_credentials"),
    ({"scope": "profile email"}, "openid"),
    ({"scope": "openid", "grant_types": ["client_credentials"]}, "speaks of a person"),
    ({"backchannel_logout_uri": "https://app.example/*"}, "wildcard"),
    ({"resources": ["https://api.example/*"]}, "wildcard"),
    ({"insecure_uris": True}, "network"),
    ({"resources": ["https://api.example"]}, "access_token_header_typ"),
]
QUIET = [
    {},
    {"scope": "openid profile email address phone"},
    {"scope": "openid offline_access", "grant_types": ["authorization_code", "refresh_token"]},
    {"scope": "openid orders.read", "resources": ["https://api.example"], "access_token_header_typ": "JWT"},
    {"scope": "openid orders.read", "resources": ["https://api.example"], "access_token_header_typ": "at+jwt"},
    {"scope": "orders.read ssf.read", "grant_types": ["client_credentials"]},
]


@pytest.mark.parametrize(("members", "word"), WARNED)
def test_a_scope_or_an_address_that_gives_nothing_is_warned_of(world: World, members: dict[str, object], word: str) -> None:
    assert any(word in sentence for sentence in world.provider.clients.warnings(METADATA | members))


@pytest.mark.parametrize("members", QUIET)
def test_what_gives_something_is_not(world: World, members: dict[str, object]) -> None:
    assert world.provider.clients.warnings(METADATA | members) == []
