"""Reading client metadata: every member checked, and no JSON whatever breaks it (RFC 7591 §2, §3.2.2)."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idp.clients.metadata import MAXIMUM_LIST, MAXIMUM_STRING, MetadataError, parse
from idp.clients.metadata_fields import MEMBERS
from idp.clients.rules import AUTH_METHODS, Client, ClientRecord, registered
from idp.protocol.response_types import RESPONSE_TYPES
from idp.protocol.signatures import ALGORITHMS
from idp.protocol.uris import is_wellformed
from tests.clients.keys import ec, okp, public, rsa

MINIMAL = {"redirect_uris": ["https://app.example/callback"]}
KEYS = public(rsa(), ec(), okp())

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PLAUSIBLE = st.sampled_from(
    [
        "https://app.example/callback",
        "http://localhost:8001/x",
        "com.example.app:/x",
        "javascript:alert(1)",
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "none",
        "client_secret_post",
        "native",
        "code",
        "at+jwt",
        "openid",
        "private_key_jwt",
        "pairwise",
        "RS256",
        {"keys": [{"kty": "RSA", "n": "x", "e": "AQAB"}]},
        True,
        60,
    ]
)
METADATA = st.dictionaries(
    st.sampled_from(sorted(MEMBERS)) | st.text(max_size=10),
    JSON | PLAUSIBLE | st.lists(PLAUSIBLE | JSON, max_size=4),
    max_size=8,
)


def read(**members: object) -> dict[str, object]:
    return parse(MINIMAL | members, loopback_http=False)


def test_the_least_that_can_be_registered_gets_its_defaults() -> None:
    assert read() == MINIMAL | {"grant_types": ["authorization_code"], "response_types": ["code"]}


def test_a_member_that_is_null_or_unknown_is_left_out() -> None:
    assert read(client_name=None, jwks_uri=None, tls_client_certificate_bound_access_tokens=True, x="y") == read()


GOOD: list[tuple[str, object]] = [
    ("redirect_uris", ["https://a.example/cb", "https://a.example/cb?x=1"]),
    ("post_logout_redirect_uris", ["https://a.example/bye"]),
    *(("token_endpoint_auth_method", method) for method in AUTH_METHODS if method != "private_key_jwt"),
    *(("token_endpoint_auth_signing_alg", alg) for alg in ("HS256", *ALGORITHMS)),
    ("jwks", KEYS),
    ("jwks_uri", "https://app.example/jwks.json"),
    ("software_id", "4NRB1-0XZABZI9E6-5SM3R"),
    ("software_version", "2.1"),
    ("subject_type", "public"),
    ("subject_type", "pairwise"),
    ("sector_identifier_uri", "https://sector.example/uris.json"),
    ("id_token_signed_response_alg", "RS256"),
    ("userinfo_signed_response_alg", "RS256"),
    ("request_object_signing_alg", "none"),
    ("request_uris", ["https://app.example/request#hash", "https://app.example/other"]),
    ("initiate_login_uri", "https://app.example/begin?at=idp"),
    ("default_acr_values", ["urn:one", "two"]),
    ("require_auth_time", True),
    ("grant_types", ["authorization_code", "refresh_token"]),
    ("grant_types", ["authorization_code", "client_credentials"]),
    ("response_types", ["code"]),
    ("scope", "openid email reports:read"),
    ("application_type", "web"),
    ("application_type", "native"),
    ("client_name", "Ä name"),
    ("client_uri", "https://a.example/"),
    ("logo_uri", "https://a.example/logo.png"),
    ("policy_uri", "https://a.example/policy"),
    ("tos_uri", "https://a.example/tos"),
    ("contacts", ["ops@a.example"]),
    ("default_max_age", 0),
    ("default_max_age", 3600),
    ("backchannel_logout_uri", "https://a.example/backchannel?logout=backchannel"),
    ("backchannel_logout_session_required", True),
    ("backchannel_logout_include_sub", False),
    ("frontchannel_logout_uri", "https://app.example/out?x=1"),
    ("frontchannel_logout_session_required", True),
    ("first_party", True),
    ("access_token_header_typ", "JWT"),
    ("access_token_header_typ", "at+jwt"),
    ("resources", ["https://api.example/"]),
    ("id_token_scope_claims", True),
    ("insecure_uris", True),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_good_value_is_kept_as_it_is(name: str, value: object) -> None:
    assert read(**{name: value})[name] == value


def test_every_member_has_a_good_and_a_bad_example_here() -> None:
    with_keys = {name for name in MEMBERS if name.endswith(("encrypted_response_alg", "encrypted_response_enc"))}
    assert {name for name, _ in GOOD} | with_keys == {name for name, _ in BAD} == set(MEMBERS)


_URI_LISTS = ("redirect_uris", "post_logout_redirect_uris", "resources", "request_uris")
_URIS = (
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "backchannel_logout_uri",
    "frontchannel_logout_uri",
    "jwks_uri",
    "sector_identifier_uri",
    "initiate_login_uri",
)
_BOOLEANS = (
    "require_auth_time",
    "backchannel_logout_session_required",
    "backchannel_logout_include_sub",
    "frontchannel_logout_session_required",
    "first_party",
)
BAD: list[tuple[str, object]] = [
    *(
        (name, value)
        for name in _URI_LISTS
        for value in ("https://a.example/cb", {}, 1, [1], [None], [["x"]], [{}], ["x"], ["https://a.example/ä"])
    ),
    *((name, ["https://a.example/"] * 1 + [f"https://a.example/{n}" for n in range(MAXIMUM_LIST)]) for name in _URI_LISTS),
    *(
        (name, value)
        for name in _URIS
        for value in (
            ["https://a.example/"],
            1,
            "",
            "x",
            "javascript:alert(1)",
            "https://u@a.example/",
            "http://a.example/",
            "https://a.example/#x",
        )
    ),
    *((name, value) for name in _BOOLEANS for value in ("true", 1, 0, [], {})),
    *(
        (name, value)
        for name in MEMBERS
        if name.endswith(("_alg", "_enc"))
        for value in ("HS1", "dir", "none ", 1, ["RS256"], {})
    ),
    *(("jwks", value) for value in ({}, [], {"keys": []}, {"keys": {}}, {"keys": [1]}, {"keys": [{"kty": "x"}]}, "x", 1)),
    ("jwks", {"keys": [rsa().as_dict(private=True)]}),
    ("jwks", {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
    ("jwks", {"keys": [KEYS["keys"][0] | {"n": "AQAB"}]}),
    ("jwks", {"keys": [KEYS["keys"][0] | {"n": "_" * 4000}]}),
    ("jwks", {"keys": [KEYS["keys"][0] | {"e": "_" * 200}]}),
    ("jwks", {"keys": [KEYS["keys"][1] | {"x": KEYS["keys"][1]["y"]}]}),
    ("jwks", {"keys": KEYS["keys"] * 11}),
    ("software_id", ""),
    ("software_version", 2),
    ("subject_type", "private"),
    ("default_acr_values", "x"),
    ("default_acr_values", ["a\nb"]),
    ("token_endpoint_auth_method", "private_key_jwt"),
    ("token_endpoint_auth_method", "tls_client_auth"),
    ("token_endpoint_auth_method", ["none"]),
    ("token_endpoint_auth_method", True),
    ("token_endpoint_auth_method", {}),
    ("grant_types", "authorization_code"),
    ("grant_types", ["password"]),
    ("grant_types", ["implicit"]),
    ("grant_types", [["authorization_code"]]),
    ("grant_types", [{}]),
    ("grant_types", ["refresh_token"]),
    ("response_types", ["token"]),
    ("response_types", ["code token"]),
    ("response_types", []),
    ("response_types", [{}]),
    ("scope", ["openid"]),
    ("scope", 1),
    ("scope", ""),
    ("scope", "openid ä"),
    ("scope", 'openid "'),
    ("scope", "a" * 129),
    ("scope", "a" * (MAXIMUM_STRING + 1)),
    ("application_type", "desktop"),
    ("client_name", 1),
    ("client_name", ""),
    ("client_name", "a" * (MAXIMUM_STRING + 1)),
    ("client_name", "a\nb"),
    ("client_name", "a\x00"),
    ("client_name", ["x"]),
    ("contacts", "ops@a.example"),
    ("contacts", [1]),
    ("contacts", [{}]),
    ("contacts", [["ops@a.example"]]),
    ("contacts", ["a\nb"]),
    ("default_max_age", -1),
    ("default_max_age", 1.5),
    ("default_max_age", "60"),
    ("default_max_age", True),
    ("default_max_age", 10**30),
    ("access_token_header_typ", "at+JWT"),
    ("access_token_header_typ", "logout+jwt"),
    ("id_token_scope_claims", "yes"),
    ("insecure_uris", 1),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_and_the_member_named(name: str, value: object) -> None:
    with pytest.raises(MetadataError, match=name) as refused:
        read(**{name: value})
    assert refused.value.error in {"invalid_client_metadata", "invalid_redirect_uri"}


@pytest.mark.parametrize("name", ["\ud800", "a\x7f", "a\x85", "a\u2028b", "Evil\u202egpj.exe", "a\u2066b", "\ufeff", "\u200b"])
def test_a_client_name_that_prints_as_something_else_or_cannot_be_printed_is_refused(name: str) -> None:
    with pytest.raises(MetadataError, match="client_name"):
        read(client_name=name)


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://a.example/cb",
        "https://*.a.example/cb",
        "https://a.example/cb#x",
        "com.example.app:/cb",
    ],
)
def test_a_redirect_uri_that_is_unsafe_has_its_own_error_code(uri: str) -> None:
    with pytest.raises(MetadataError) as refused:
        read(redirect_uris=[uri])
    assert refused.value.error == "invalid_redirect_uri"
    with pytest.raises(MetadataError, match="post_logout_redirect_uris"):
        read(post_logout_redirect_uris=[uri])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_client_that_lives_on_the_persons_machine_alone_may_use_http_and_any_port_there(host: str) -> None:
    """Agents and command lines register so, and say nothing of their `application_type`."""
    known = read(redirect_uris=[f"http://{host}:8400/callback"], token_endpoint_auth_method="none")
    client = Client.of(ClientRecord("c", json.dumps(known), None, 0.0, None))
    assert client.check_redirect_uri(f"http://{host}:51234/callback")
    assert client.check_redirect_uri(f"http://{host}/callback")
    for other in (f"http://{host}:51234/other", f"https://{host}:51234/callback", "http://127.0.0.2:51234/callback"):
        assert not client.check_redirect_uri(other)


def test_a_client_that_also_lives_elsewhere_comes_back_to_the_letter() -> None:
    mixed = ["https://app.example/cb", "http://localhost:8400/cb"]
    with pytest.raises(MetadataError, match="loopback interface of native apps"):
        read(redirect_uris=mixed)
    with pytest.raises(MetadataError, match="loopback interface of native apps"):
        parse(
            {"redirect_uris": mixed[1:], "grant_types": ["implicit"], "response_types": ["id_token"]},
            loopback_http=False,
            response_types=RESPONSE_TYPES,
        )
    known = parse({"redirect_uris": mixed}, loopback_http=True)
    client = Client.of(ClientRecord("c", json.dumps(known), None, 0.0, None))
    assert client.check_redirect_uri(mixed[1])
    assert not client.check_redirect_uri("http://localhost:51234/cb")


LOCAL = [
    "http://192.168.1.20:8123/cb",
    "http://nas/cb",
    "http://photos.home.arpa/cb",
    "http://[fd00::1]:80/cb",
    "http://printer.local/cb",
]
PRIVATE = ["audiobookshelf://oauth", "myapp:/cb", "com.example.app:/cb"]


@pytest.mark.parametrize("uri", [*LOCAL, *PRIVATE])
def test_what_only_the_operator_can_vouch_for_takes_the_operators_word(uri: str) -> None:
    with pytest.raises(MetadataError) as refused:
        read(redirect_uris=[uri])
    assert refused.value.error == "invalid_redirect_uri"
    assert read(redirect_uris=[uri], insecure_uris=True)["redirect_uris"] == [uri]
    assert read(redirect_uris=["https://a.example/cb", uri], post_logout_redirect_uris=[uri], insecure_uris=True)


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example/cb", "http://8.8.8.8/cb", "http://local.evil.example/cb", "http://home.arpa.evil.example/cb",
        "http://[2001:4860:4860::8888]/cb", "http://0.0.0.0/cb", "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x",
        "file:///etc/passwd", "intent:x", "urn:ietf:wg:oauth:2.0:oob", "view-source:x", "blob:https://a.example/x", "ws://nas/cb",
        "http://*.local/cb", "http://nas/cb#x",
    ],
)  # fmt: skip
def test_the_operators_word_does_not_open_the_rest_of_the_world(uri: str) -> None:
    with pytest.raises(MetadataError):
        read(redirect_uris=[uri], insecure_uris=True)


def test_an_app_in_the_local_network_hears_of_endings_by_http_where_the_operator_allows_it() -> None:
    uri = "http://192.168.1.20:8123/backchannel"
    with pytest.raises(MetadataError, match="backchannel_logout_uri"):
        read(backchannel_logout_uri=uri)
    assert read(backchannel_logout_uri=uri, insecure_uris=True)["backchannel_logout_uri"] == uri
    for name in ("jwks_uri", "sector_identifier_uri", "logo_uri"):  # what we fetch and believe stays https
        with pytest.raises(MetadataError, match=name):
            read(**{name: "http://192.168.1.20/x", "insecure_uris": True})


@pytest.mark.parametrize("metadata", [None, [], "x", 1, True, {}, {"redirect_uris": []}])
def test_what_is_no_object_or_names_no_redirect_uri_is_refused(metadata: object) -> None:
    with pytest.raises(MetadataError):
        parse(metadata, loopback_http=True)


def test_a_client_for_machines_only_needs_no_redirect_uri() -> None:
    known = parse({"grant_types": ["client_credentials"]}, loopback_http=False)
    assert known["response_types"] == []


def test_a_public_client_gets_no_token_for_itself() -> None:
    with pytest.raises(MetadataError, match="client_credentials"):
        read(grant_types=["authorization_code", "client_credentials"], token_endpoint_auth_method="none")


def test_a_value_that_is_repeated_is_kept_once() -> None:
    assert read(redirect_uris=["https://a.example/cb"] * 3)["redirect_uris"] == ["https://a.example/cb"]


@given(METADATA | JSON, st.booleans())
@example({"redirect_uris": [{}]}, False)
@example({"contacts": [[{}]]}, False)
@example({"redirect_uris": ["https://a.example/cb"], "client_name": "\ud800"}, False)
@example({"redirect_uris": ["https://a.example/cb"], "default_max_age": float("nan")}, False)
@settings(deadline=None, max_examples=300)
def test_any_json_is_registered_or_refused_with_a_metadata_error(metadata: object, loopback_http: bool) -> None:
    try:
        known = parse(metadata, loopback_http=loopback_http)
    except MetadataError as refused:
        assert str(refused)
        return
    stored = json.dumps(known)
    client = Client.of(ClientRecord("id", stored, None, 0.0, None))
    assert all(is_wellformed(uri) for uri in client.redirect_uris)
    json.dumps(registered(client), ensure_ascii=False).encode()


@given(st.sampled_from(sorted(MEMBERS)), JSON | PLAUSIBLE | st.lists(PLAUSIBLE | JSON, max_size=3))
@settings(deadline=None, max_examples=300)
def test_any_value_of_any_member_is_kept_or_refused(name: str, value: object) -> None:
    try:
        known = read(**{name: value})
    except MetadataError:
        return
    Client.of(ClientRecord("id", json.dumps(known), None, 0.0, None))


def test_every_good_value_comes_back_as_it_was_registered() -> None:
    for name, value in GOOD:
        client = Client.of(ClientRecord("id", json.dumps(read(**{name: value})), None, 0.0, None))
        assert registered(client)[name] == value


@pytest.mark.parametrize("response_type", RESPONSE_TYPES)
def test_a_response_type_is_registered_where_it_is_switched_on_with_the_grants_that_it_needs(response_type: str) -> None:
    with_code, implicit = "code" in response_type.split(), response_type != "code"
    grants = ["authorization_code"] * with_code + ["implicit"] * implicit
    for sent in (response_type, " ".join(reversed(response_type.split()))):
        known = parse(MINIMAL | {"response_types": [sent]}, loopback_http=False, response_types=RESPONSE_TYPES)
        assert known["response_types"] == [response_type]
        assert known["grant_types"] == grants
    if response_type != "code":
        with pytest.raises(MetadataError, match="response_types"):
            read(response_types=[response_type], grant_types=grants)
        with pytest.raises(MetadataError, match="do not agree"):
            parse(
                MINIMAL
                | {"response_types": [response_type], "grant_types": ["authorization_code", "implicit"][::-1][with_code:]},
                loopback_http=False,
                response_types=RESPONSE_TYPES,
            )


@pytest.mark.parametrize(
    "sent", ["code code", "id_token id_token", "code id_token code", "", " ", "none", "Code", "code,token"]
)
def test_a_response_type_that_authorize_would_refuse_is_not_registered(sent: str) -> None:
    with pytest.raises(MetadataError, match="response_types: must be among code, id_token") as refused:
        parse(
            MINIMAL | {"response_types": [sent], "grant_types": ["authorization_code", "implicit"]},
            loopback_http=False,
            response_types=RESPONSE_TYPES,
        )
    assert refused.value.error == "invalid_client_metadata"


@pytest.mark.parametrize("method", ["client_secret_jwt", "private_key_jwt"])
def test_an_assertion_algorithm_must_go_with_its_method(method: str) -> None:
    right, wrong = ("HS512", "RS256") if method == "client_secret_jwt" else ("ES256", "HS256")
    assert read(token_endpoint_auth_method=method, token_endpoint_auth_signing_alg=right, jwks=KEYS)
    with pytest.raises(MetadataError, match="token_endpoint_auth_signing_alg"):
        read(token_endpoint_auth_method=method, token_endpoint_auth_signing_alg=wrong, jwks=KEYS)


@pytest.mark.parametrize(
    "member",
    [
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"id_token_encrypted_response_alg": "RSA-OAEP-256"},
        {"userinfo_encrypted_response_alg": "ECDH-ES"},
        {"request_object_signing_alg": "RS256"},
    ],
)
def test_whoever_needs_keys_must_register_them_by_one_way(member: dict[str, object]) -> None:
    with pytest.raises(MetadataError, match="jwks or jwks_uri"):
        read(**member)
    assert read(**member, jwks=KEYS)
    assert read(**member, jwks_uri="https://app.example/jwks")
    with pytest.raises(MetadataError, match="only one"):
        read(**member, jwks=KEYS, jwks_uri="https://app.example/jwks")


def test_an_encryption_gets_the_content_encryption_that_is_offered() -> None:
    for kind in ("id_token", "userinfo"):
        alg, enc = f"{kind}_encrypted_response_alg", f"{kind}_encrypted_response_enc"
        assert read(jwks=KEYS, **{alg: "ECDH-ES"})[enc] == "A256GCM"
        with pytest.raises(MetadataError, match=enc):
            read(jwks=KEYS, **{enc: "A256GCM"})


def test_only_the_public_half_and_plain_members_of_a_key_are_kept() -> None:
    assert read(jwks={"keys": [KEYS["keys"][0] | {"x": {"deep": [1]}}], "more": 1})["jwks"] == {"keys": [KEYS["keys"][0]]}


def test_a_key_of_a_type_that_nobody_here_knows_is_no_obstacle() -> None:
    assert read(jwks={"keys": [*KEYS["keys"], {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"}]})


def test_a_software_statement_is_refused_by_its_own_code() -> None:
    with pytest.raises(MetadataError, match="software_statement") as refused:
        read(software_statement="e30.e30.")
    assert refused.value.error == "unapproved_software_statement"


def test_pairwise_subjects_need_one_host_or_a_sector() -> None:
    uris = ["https://a.example/cb", "https://b.example/cb"]
    with pytest.raises(MetadataError, match="sector_identifier_uri"):
        read(subject_type="pairwise", redirect_uris=uris)
    sector = "https://sector.example/uris"
    known = read(subject_type="pairwise", redirect_uris=uris, sector_identifier_uri=sector)
    assert Client.of(ClientRecord("id", json.dumps(known), None, 0.0, None)).sector == "sector.example"
    known = read(subject_type="pairwise", redirect_uris=[uris[0], uris[0] + "2"])
    assert Client.of(ClientRecord("id", json.dumps(known), None, 0.0, None)).sector == "a.example"


@pytest.mark.parametrize(
    ("member", "value", "good"),
    [
        ("client_name#de", "Ein Name", True),
        ("logo_uri#pt-BR", "https://app.example/logo", True),
        ("tos_uri#ja", "http://app.example/tos", False),
        ("tos_uri#ja", "javascript:alert(1)", False),
        ("client_name#<script>", "x", False),
        ("client_name#", "x", False),
        ("client_name#de", "a\u202eb", False),
        ("policy_uri#de", 1, False),
    ],
)
def test_localised_members_are_held_to_what_the_member_is_held_to(member: str, value: object, good: bool) -> None:
    if good:
        client = Client.of(ClientRecord("id", json.dumps(read(**{member: value})), None, 0.0, None))
        assert registered(client)[member] == value
        return
    with pytest.raises(MetadataError, match=member.partition("#")[0]):
        read(**{member: value})


def test_what_is_no_localised_member_is_ignored() -> None:
    assert read(**{"scope#de": "x", "redirect_uris#de": 1}) == read()


def test_metadata_is_bounded_as_a_whole() -> None:
    with pytest.raises(MetadataError, match="longer than"):
        read(redirect_uris=[f"https://app.example/{'x' * 1500}{n}" for n in range(32)])
