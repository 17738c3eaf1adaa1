"""Discovery tells the truth: every value that it announces is used with success, and its near neighbours are refused."""

import json
import secrets
from collections.abc import Callable, Iterator

import jwt
import pytest

from idp.protocol.signatures import ALGORITHMS
from tests.authorization.signing import Key as SigningKey
from tests.authorization.signing import key as signing_key
from tests.conformance.plans import CODE, Flow
from tests.conformance.rp import Rp
from tests.conformance.suite import CLAIMS, SETTINGS, decoded, discovery
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.jwe import KeyPair
from tests.support.relying_party import Receiver
from tests.support.serving import RunningProvider


class RefusedError(Exception):
    """The provider said no, in the way that the standard says. The text is the error code."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """A provider that announces all that it can."""
    settings = SETTINGS | {
        "KEYS_ALGORITHMS": "RS256,RS384,RS512,PS256,ES256,EdDSA",
        "SIGNALS_STATUS_LIST": "true",
    }
    running = RunningProvider(tmp_path_factory.mktemp("whole"), settings=settings)
    running.start().add_user()
    running.cli("user", "set", "alice", "--claims-file", "-", stdin=json.dumps(CLAIMS))
    yield running
    running.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """A provider as it comes: nothing is switched on."""
    running = RunningProvider(tmp_path_factory.mktemp("plain"))
    running.start().add_user()
    yield running
    running.close()


# -- ways of using a value: each raises RefusedError ---------------------------------------------------------------------


_CODE_FLOW = Flow(CODE)


def _registered(op: RunningProvider, flow: Flow = _CODE_FLOW, **members: object) -> Rp:
    sent = Rp.metadata(flow) | members
    answer = http.post(f"{op.issuer}/register", json=sent)
    if answer.status_code == 400:
        raise RefusedError(answer.json()["error"])
    assert answer.status_code == 201, answer.text
    party = Rp(op, flow, answer.json(), answer.json()["redirect_uris"][0])
    for name, value in members.items():
        assert party.registration[name] == value, name
    return party


def _asked(party: Rp, **extra: str | None) -> Page:
    """The page that the person is at, after signing in and allowing."""
    person = Person(party.op.issuer)
    page = party.through(person, party.ask(person, **extra))
    answer = page.query | page.fragment | (page.forms[0].fields if page.main == "form-post-page" else {})
    if "error" in answer:
        raise RefusedError(answer["error"])
    if page.main == "error-page":
        raise RefusedError(page.texts["error-code"].strip())
    return page


def _is_there(op: RunningProvider, address: str) -> None:
    assert address.startswith(op.issuer + "/")
    assert http.get(address).status_code not in {404, 500}


def _scope(op: RunningProvider, value: str) -> None:
    grants = ["authorization_code", "refresh_token"]
    party = _registered(op, grant_types=grants)
    given = party.finish(_asked(party, scope=f"openid {value}"))
    if value not in given.tokens.get("scope", "openid").split():
        raise RefusedError("invalid_scope")


def _response_type(op: RunningProvider, value: str) -> None:
    party = _registered(op, Flow(value))
    assert party.finish(_asked(party)).answer


def _asked_without_registration(op: RunningProvider, value: str) -> None:
    """A neighbour cannot be registered; neither can it be asked for."""
    with pytest.raises(RefusedError, match="invalid_client_metadata"):
        _response_type(op, value)
    _asked(_registered(op), response_type=value)


def _response_mode(op: RunningProvider, value: str) -> None:
    party = _registered(op)
    assert party.answered(_asked(party, response_mode=value), mode=value)["code"]


def _grant_type(op: RunningProvider, value: str) -> None:
    if value == "implicit":
        return _response_type(op, "id_token token")
    grants = ["authorization_code", "refresh_token"]
    party = _registered(op, grant_types=grants)
    if value == "authorization_code":
        return _response_type(op, CODE)
    fields = {"grant_type": value}
    if value == "client_credentials":  # for clients that the operator knows
        party.registration = op.add_client({"grant_types": [value], "scope": "api"})
    if value == "refresh_token":
        given = party.finish(_asked(party, scope="openid profile offline_access", prompt="consent"))
        fields["refresh_token"] = given.tokens["refresh_token"]
    answer = party.token(fields)
    if answer.status_code != 200:
        raise RefusedError(answer.json()["error"])
    return None


def _subject_type(op: RunningProvider, value: str) -> None:
    party = _registered(op, subject_type=value)
    sub = party.finish(_asked(party)).claims["sub"]
    other = _registered(op, subject_type=value, redirect_uris=["https://another.example.org/callback"])
    assert (other.finish(_asked(other)).claims["sub"] == sub) is (value == "public")


def _id_token_alg(op: RunningProvider, value: str) -> None:
    party = _registered(op, id_token_signed_response_alg=value)
    given = party.finish(_asked(party))
    assert jwt.get_unverified_header(given.id_token)["alg"] == value


def _userinfo_alg(op: RunningProvider, value: str) -> None:
    party = _registered(op, userinfo_signed_response_alg=value)
    assert decoded(op, _userinfo(party), party.client_id, alg=value)["sub"]


def _userinfo(party: Rp) -> str:
    token = party.finish(_asked(party)).access_token
    return http.get(f"{party.op.issuer}/userinfo", headers={"Authorization": f"Bearer {token}"}).text


def _encrypted(op: RunningProvider, what: str, alg: str, enc: str) -> None:
    pair = KeyPair.make(alg if alg in {"RSA-OAEP-256", "ECDH-ES"} else "RSA-OAEP-256")
    members = {f"{what}_encrypted_response_alg": alg, f"{what}_encrypted_response_enc": enc}
    party = _registered(op, jwks=pair.jwks, **members)
    if what == "userinfo":
        header, inside = pair.opened(_userinfo(party))
        assert json.loads(inside)["sub"]
    else:
        code = party.answered(_asked(party))["code"]
        header, inside = pair.opened(party.try_to_redeem(code).json()["id_token"])
        assert decoded(op, inside, party.client_id)["sub"]
    assert (header["alg"], header["enc"]) == (alg, enc)


def _authenticates(op: RunningProvider, endpoint: str, method: str, alg: str | None = None) -> None:
    """At this endpoint, by this method, with an assertion of this algorithm."""
    members: dict[str, object] = {"token_endpoint_auth_method": method}
    if alg is not None:
        members["token_endpoint_auth_signing_alg"] = alg
    own = None
    if method == "private_key_jwt":
        own = signing_key(alg if alg in ALGORITHMS else "RS256")
        members["jwks"] = {"keys": [own.jwk]}
    party = _registered(op, **members)
    form = {"token": "unknown", "grant_type": "authorization_code", "code": "unknown", "redirect_uri": party.redirect_uri}
    answer = http.post(f"{op.issuer}/{endpoint}", **_with_proof(party, method, alg, own, form))
    if answer.status_code == 401:
        raise RefusedError(answer.json()["error"])
    expected = {"token": (400, "invalid_grant"), "introspect": (200, None), "revoke": (200, None)}[endpoint]
    assert (answer.status_code, (answer.json() if answer.content else {}).get("error")) == expected


def _with_proof(party: Rp, method: str, alg: str | None, own: SigningKey | None, form: dict[str, str]) -> dict[str, object]:
    if method == "client_secret_basic":
        return {"data": form, "auth": (party.client_id, party.registration["client_secret"])}
    if method == "none":
        return {"data": form | {"client_id": party.client_id, "code_verifier": "v" * 43}}
    if method == "client_secret_post":
        return {"data": form | {"client_id": party.client_id, "client_secret": party.registration["client_secret"]}}
    claims = jwt.decode(party.assertion(), options={"verify_signature": False})
    if own is not None:
        assertion = jwt.encode(claims, own.private, alg or "RS256", headers={"kid": own.kid})
    else:
        assertion = jwt.encode(claims, party.registration["client_secret"], alg or "HS256")
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return {"data": form | {"client_assertion_type": kind, "client_assertion": assertion}}


def _by(endpoint: str) -> Callable[[RunningProvider, str], None]:
    return lambda op, value: _authenticates(op, endpoint, value)


def _by_alg(endpoint: str) -> Callable[[RunningProvider, str], None]:
    def use(op: RunningProvider, value: str) -> None:
        _authenticates(op, endpoint, "client_secret_jwt" if value.startswith("HS") else "private_key_jwt", value)

    return use


def _challenge_method(op: RunningProvider, value: str) -> None:
    party = _registered(op)
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636 Appendix B
    page = _asked(party, code_challenge=challenge, code_challenge_method=value)
    code = party.answered(page)["code"]
    assert party.redeem(code, code_verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").json()["access_token"]


def _prompt(op: RunningProvider, value: str) -> None:
    party, person = _registered(op), Person(op.issuer)
    party.finish(party.through(person, party.ask(person)))
    page = party.ask(person, prompt=value)
    if "error" in page.query:
        raise RefusedError(page.query["error"])
    shown = {"none": None, "login": "login-page", "consent": "consent-page", "select_account": "select-account-page"}
    assert page.main == shown[value]


def _acr(op: RunningProvider, value: str) -> None:
    party = _registered(op)
    essential = json.dumps({"id_token": {"acr": {"essential": True, "value": value}}})
    assert party.finish(_asked(party, claims=essential)).claims["acr"] == value


def _claim(op: RunningProvider, value: str) -> None:
    """In the ID token, or at userinfo, when every scope is asked for."""
    party = _registered(op)
    given = party.finish(_asked(party, scope="openid profile email address phone"))
    if value not in given.claims | party.userinfo(given.access_token):
        raise RefusedError("not there")


def _tolerated(name: str) -> Callable[[RunningProvider, str], None]:
    def use(op: RunningProvider, value: str) -> None:
        party = _registered(op)
        assert party.finish(_asked(party, **{name: value})).claims

    return use


def _request_object_alg(op: RunningProvider, value: str) -> None:
    own = signing_key(value) if value not in {"none", "HS256"} else signing_key()
    party = _registered(op, jwks={"keys": [own.jwk]})
    inside = party.parameters()
    secret = own.private if value not in {"none", "HS256"} else party.registration["client_secret"]
    token = jwt.encode(inside | {"aud": op.issuer}, secret if value != "none" else None, value)
    state, nonce, person = party.state, party.nonce, Person(op.issuer)
    page = party.through(person, party.ask(person, request=token))
    party.state, party.nonce = state, nonce
    if "error" in page.query:
        raise RefusedError(page.query["error"])
    assert party.finish(page).claims


def _claims_parameter(op: RunningProvider, _value: bool) -> None:
    party = _registered(op)
    given = party.finish(_asked(party, claims='{"userinfo": {"nickname": null}}'))
    assert party.userinfo(given.access_token)["nickname"] == CLAIMS["nickname"]


def _requires_registration(op: RunningProvider, _value: bool) -> None:
    with pytest.raises(RefusedError, match="invalid_request_uri"):
        _asked(_registered(op), request_uri="https://suite.example.org/not-registered")


def _names_the_issuer(op: RunningProvider, _value: bool) -> None:
    party = _registered(op)
    assert _asked(party).query["iss"] == op.issuer


def _backchannel(op: RunningProvider, _value: bool) -> None:
    receiver = Receiver()
    party = _registered(op, backchannel_logout_uri=receiver.uri, backchannel_logout_session_required=True)
    person = Person(op.issuer)
    given = party.finish(party.through(person, party.ask(person)))
    person.open(f"logout?id_token_hint={given.id_token}")
    assert decoded(op, receiver.wait()[0], party.client_id)["sid"] == given.claims["sid"]
    receiver.close()


def _frontchannel(op: RunningProvider, _value: bool) -> None:
    uri = "https://front.example.org/out"
    uris: dict[str, object] = {"redirect_uris": ["https://front.example.org/callback"], "frontchannel_logout_uri": uri}
    party, person = _registered(op, frontchannel_logout_session_required=True, **uris), Person(op.issuer)
    given = party.finish(party.through(person, party.ask(person)))
    page = person.open(f"logout?id_token_hint={given.id_token}")
    assert f"{uri}?" in page.response.text
    assert f"sid={given.claims['sid']}" in page.response.text


def _is_the_issuer(op: RunningProvider, value: str) -> None:
    assert value == op.issuer


def _nothing_more(_op: RunningProvider, _value: object) -> None:
    """Another member's uses show it."""


_ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "end_session_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "registration_endpoint",
    "check_session_iframe",
    "status_list_aggregation_endpoint",
)
#: How each member's values are used.
USES: dict[str, Callable[..., None]] = {
    "issuer": _is_the_issuer,
    **dict.fromkeys(_ENDPOINTS, _is_there),
    "scopes_supported": _scope,
    "response_types_supported": _response_type,
    "response_modes_supported": _response_mode,
    "grant_types_supported": _grant_type,
    "subject_types_supported": _subject_type,
    "id_token_signing_alg_values_supported": _id_token_alg,
    "userinfo_signing_alg_values_supported": _userinfo_alg,
    "id_token_encryption_alg_values_supported": lambda op, value: _encrypted(op, "id_token", value, "A256GCM"),
    "id_token_encryption_enc_values_supported": lambda op, value: _encrypted(op, "id_token", "ECDH-ES", value),
    "userinfo_encryption_alg_values_supported": lambda op, value: _encrypted(op, "userinfo", value, "A256GCM"),
    "userinfo_encryption_enc_values_supported": lambda op, value: _encrypted(op, "userinfo", "ECDH-ES", value),
    "token_endpoint_auth_methods_supported": _by("token"),
    "revocation_endpoint_auth_methods_supported": _by("revoke"),
    "introspection_endpoint_auth_methods_supported": _by("introspect"),
    "token_endpoint_auth_signing_alg_values_supported": _by_alg("token"),
    "revocation_endpoint_auth_signing_alg_values_supported": _by_alg("revoke"),
    "introspection_endpoint_auth_signing_alg_values_supported": _by_alg("introspect"),
    "code_challenge_methods_supported": _challenge_method,
    "prompt_values_supported": _prompt,
    "acr_values_supported": _acr,
    "claims_supported": _claim,
    "claim_types_supported": _nothing_more,
    "claims_parameter_supported": _claims_parameter,
    "display_values_supported": _tolerated("display"),
    "ui_locales_supported": _tolerated("ui_locales"),
    "request_parameter_supported": _nothing_more,
    "request_uri_parameter_supported": _nothing_more,
    "require_request_uri_registration": _requires_registration,
    "request_object_signing_alg_values_supported": _request_object_alg,
    "authorization_response_iss_parameter_supported": _names_the_issuer,
    "backchannel_logout_supported": _backchannel,
    "backchannel_logout_session_supported": _backchannel,
    "frontchannel_logout_supported": _frontchannel,
    "frontchannel_logout_session_supported": _frontchannel,
}
_UNFIT = "invalid_client_metadata"
#: Values that are not announced, by member, and how they are refused.
NEIGHBOURS: dict[str, tuple[Callable[..., None], str, tuple[str, ...]]] = {
    "scopes_supported": (_scope, "invalid_scope|invalid_client_metadata", ("groups", "roles", "offline", "OPENID ")),
    "response_types_supported": (
        _asked_without_registration,
        "unsupported_response_type",
        ("token", "none", "code id_token none", "Code", "device"),
    ),
    "response_modes_supported": (_response_mode, "invalid_request", ("jwt", "query.jwt", "web_message", "Query", "form")),
    "grant_types_supported": (
        _grant_type,
        "unsupported_grant_type",
        (
            "password",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "Refresh_Token",
        ),
    ),
    "subject_types_supported": (_subject_type, _UNFIT, ("ephemeral", "Pairwise", "private")),
    "id_token_signing_alg_values_supported": (
        _id_token_alg,
        _UNFIT,
        ("none", "HS256", "PS384", "PS512", "ES384", "ES512", "rs256"),
    ),
    "userinfo_signing_alg_values_supported": (_userinfo_alg, _UNFIT, ("none", "HS256", "ES512", "rs256")),
    "id_token_encryption_alg_values_supported": (
        USES["id_token_encryption_alg_values_supported"],
        _UNFIT,
        ("RSA1_5", "RSA-OAEP", "RSA-OAEP-512", "ECDH-ES+A256KW", "dir", "A256KW", "PBES2-HS256+A128KW"),
    ),
    "id_token_encryption_enc_values_supported": (
        USES["id_token_encryption_enc_values_supported"],
        _UNFIT,
        ("A128GCM", "A192GCM", "A128CBC-HS256", "A256CBC-HS512"),
    ),
    "userinfo_encryption_alg_values_supported": (
        USES["userinfo_encryption_alg_values_supported"],
        _UNFIT,
        ("RSA1_5", "RSA-OAEP", "dir"),
    ),
    "userinfo_encryption_enc_values_supported": (
        USES["userinfo_encryption_enc_values_supported"],
        _UNFIT,
        ("A128GCM", "A128CBC-HS256"),
    ),
    "token_endpoint_auth_methods_supported": (
        _by("token"),
        _UNFIT,
        ("tls_client_auth", "self_signed_tls_client_auth", "Client_Secret_Basic"),
    ),
    "revocation_endpoint_auth_methods_supported": (_by("revoke"), _UNFIT, ("tls_client_auth", "Client_Secret_Basic")),
    "introspection_endpoint_auth_methods_supported": (_by("introspect"), "invalid_client", ("none",)),
    "token_endpoint_auth_signing_alg_values_supported": (_by_alg("token"), _UNFIT, ("ES512", "PS512", "HS1", "EdDSA2")),
    "revocation_endpoint_auth_signing_alg_values_supported": (_by_alg("revoke"), _UNFIT, ("ES512", "HS1")),
    "introspection_endpoint_auth_signing_alg_values_supported": (_by_alg("introspect"), _UNFIT, ("ES512", "HS1")),
    "code_challenge_methods_supported": (_challenge_method, "invalid_request", ("plain", "s256", "S512")),
    "prompt_values_supported": (_prompt, "invalid_request", ("create", "None", "login_hint", "none login")),
    "acr_values_supported": (_acr, "unmet_authentication_requirements", ("0", "2", "urn:mace:incommon:iap:silver", "phr")),
    "claims_supported": (_claim, "not there", ("groups", "roles", "at_jkt", "username")),
    "request_object_signing_alg_values_supported": (_request_object_alg, "invalid_request_object", ("none", "HS256")),
}


def _values(op: RunningProvider, member: str) -> list[object]:
    announced = discovery(op)[member]
    return announced if isinstance(announced, list) else [announced]


def test_every_member_that_is_announced_is_used_here(whole: RunningProvider) -> None:
    assert set(discovery(whole)) == set(USES)


@pytest.mark.parametrize("member", USES)
def test_every_value_that_is_announced_works(whole: RunningProvider, member: str) -> None:
    for value in _values(whole, member):
        assert value is not False
        USES[member](whole, value)


@pytest.mark.parametrize("member", NEIGHBOURS)
def test_a_near_neighbour_that_is_not_announced_is_refused(whole: RunningProvider, member: str) -> None:
    use, error, neighbours = NEIGHBOURS[member]
    assert not set(neighbours) & set(_values(whole, member))
    for value in neighbours:
        with pytest.raises(RefusedError, match=error):
            use(whole, value)


def test_both_documents_say_the_same(whole: RunningProvider) -> None:
    other = http.get(f"{whole.issuer}/.well-known/oauth-authorization-server")
    assert other.json() == discovery(whole)


SWITCHED_OFF = {
    "registration_endpoint",
    "check_session_iframe",
    "status_list_aggregation_endpoint",
    "frontchannel_logout_supported",
    "frontchannel_logout_session_supported",
}


def test_what_is_off_is_not_announced(plain: RunningProvider) -> None:
    found = discovery(plain)
    assert set(found) == set(USES) - SWITCHED_OFF
    assert found["response_types_supported"] == ["code"]
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
    assert "implicit" not in found["grant_types_supported"]
    assert found["request_uri_parameter_supported"] is False


def test_what_is_off_is_refused(plain: RunningProvider) -> None:
    app = plain.add_client({"redirect_uris": ["https://app.example.org/callback"], "client_name": secrets.token_hex(4)})
    party = Rp(plain, Flow(CODE), app, "https://app.example.org/callback")
    for response_type in ("id_token", "id_token token", "code id_token", "code token", "code id_token token"):
        with pytest.raises(RefusedError, match="unsupported_response_type"):
            _asked(party, response_type=response_type)
    with pytest.raises(RefusedError, match="request_uri_not_supported"):
        _asked(party, request_uri="https://app.example.org/object")
    for path in ("/register", "/check_session", "/status"):
        assert http.request("POST" if path == "/register" else "GET", plain.issuer + path, json={}).status_code == 404
    for alg in ("ES256", "PS256", "EdDSA"):
        with pytest.raises(ValueError, match=alg):
            plain.add_client({"redirect_uris": ["https://app.example.org/callback"], "id_token_signed_response_alg": alg})
