"""One key signs JWTs of several kinds: each is taken for its own kind alone (RFC 8725 §3.11, §3.12; docs/threats.md 14, 15)."""

import json
import time
from base64 import urlsafe_b64encode

import httpx
import pytest
from joserfc.jws import JWSRegistry

from tests.clients.keys import claims, form, public, rsa, signed
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

CALLBACK = "https://kinds.example.org/callback"
#: What our documents say may stand there, and what stands in JWTs of other kinds.
OF_ASSERTIONS = ("JWT", "jwt", "application/jwt", "client-authentication+jwt", "application/client-authentication+JWT")
OF_REQUEST_OBJECTS = ("JWT", "oauth-authz-req+jwt", "application/oauth-authz-req+jwt")
OF_OTHERS = ("at+jwt", "logout+jwt", "secevent+jwt", "statuslist+jwt", "dpop+jwt", "JOSE", "id+jwt", "", "text/jwt", "x")


@pytest.fixture(scope="module")
def client(provider: RunningProvider) -> str:
    made = provider.add_client(
        {
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "client_credentials"],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": public(rsa()),
        }
    )
    return str(made["client_id"])


def authenticated(provider: RunningProvider, assertion: str, endpoint: str = "token") -> httpx.Response:
    asked = {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "x"}
    return http.post(f"{provider.issuer}/{endpoint}", data=asked | form(assertion), timeout=30)


def asked(provider: RunningProvider, client_id: str, text: str) -> str:
    """Where `/authorize` sends a browser with this request object."""
    outer = {"client_id": client_id, "response_type": "code", "scope": "openid", "redirect_uri": CALLBACK, "request": text}
    return str(http.get(f"{provider.issuer}/authorize", params=outer, timeout=30).headers["Location"])


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def untyped(body: dict[str, object]) -> str:
    """A JWT without `typ`; joserfc would write one."""
    message = f"{part({'alg': 'RS256', 'kid': 'rsa'})}.{part(body)}"
    return f"{message}.{part(JWSRegistry.algorithms['RS256'].sign(message.encode(), rsa()))}"


def request_claims(provider: RunningProvider, client_id: str, **more: object) -> dict[str, object]:
    pkce = {"code_challenge": "a" * 43, "code_challenge_method": "S256"}
    return {"iss": client_id, "aud": provider.issuer, "client_id": client_id, "exp": int(time.time()) + 60, **pkce, **more}


@pytest.mark.parametrize("typ", OF_ASSERTIONS)
def test_a_client_assertion_says_that_it_is_one_or_nothing(provider: RunningProvider, client: str, typ: str) -> None:
    assert authenticated(provider, signed(claims(client, provider.issuer), rsa(), typ=typ)).status_code == 200


@pytest.mark.parametrize("endpoint", ["token", "introspect", "revoke"])
@pytest.mark.parametrize("typ", [*OF_OTHERS, "oauth-authz-req+jwt", "application/oauth-authz-req+jwt"])
def test_what_says_that_it_is_something_else_is_no_client_assertion(
    provider: RunningProvider, client: str, typ: str, endpoint: str
) -> None:
    answer = authenticated(provider, signed(claims(client, provider.issuer), rsa(), typ=typ), endpoint)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert "typ" in answer.json()["error_description"]


def test_what_does_not_say_what_it_is_is_judged_by_its_claims(provider: RunningProvider, client: str) -> None:
    assert authenticated(provider, untyped(claims(client, provider.issuer))).status_code == 200
    assert "login?request=" in asked(provider, client, untyped(request_claims(provider, client)))
    assert authenticated(provider, untyped(request_claims(provider, client, jti="x"))).status_code == 401
    assert "error=invalid_request_object" in asked(provider, client, untyped(claims(client, provider.issuer)))


@pytest.mark.parametrize("typ", [5, None, ["JWT"], {"a": 1}, True])
def test_a_type_that_is_no_text_is_none(provider: RunningProvider, client: str, typ: object) -> None:
    whole = signed(claims(client, provider.issuer), rsa())
    assertion = f"{part({'alg': 'RS256', 'typ': typ})}.{whole.partition('.')[2]}"
    assert authenticated(provider, assertion).status_code == 401
    assert "error=invalid_request_object" in asked(provider, client, assertion)


@pytest.mark.parametrize("typ", OF_REQUEST_OBJECTS)
def test_a_request_object_says_that_it_is_one_or_nothing(provider: RunningProvider, client: str, typ: str) -> None:
    assert "login?request=" in asked(provider, client, signed(request_claims(provider, client), rsa(), typ=typ))


@pytest.mark.parametrize("typ", [*OF_OTHERS, "client-authentication+jwt", "application/client-authentication+jwt"])
def test_what_says_that_it_is_something_else_is_no_request_object(provider: RunningProvider, client: str, typ: str) -> None:
    refused = asked(provider, client, signed(request_claims(provider, client), rsa(), typ=typ))
    assert "error=invalid_request_object" in refused


def test_a_good_assertion_is_no_request_object_and_the_other_way_round(provider: RunningProvider, client: str) -> None:
    """Whichever type they have in common."""
    for typ in ("JWT", "jwt"):
        assertion = signed(claims(client, provider.issuer), rsa(), typ=typ)
        assert "error=invalid_request_object" in asked(provider, client, assertion)
        object_ = signed(request_claims(provider, client, jti="x"), rsa(), typ=typ)
        assert authenticated(provider, object_).status_code == 401


def test_no_token_of_ours_is_taken_for_another_kind(provider: RunningProvider, person: Person) -> None:
    """With an access token of the type `JWT`, which an ID token and a signed answer of `/userinfo` have as well."""
    app = RelyingParty.register(provider, access_token_header_typ="JWT", userinfo_signed_response_alg="RS256")
    tokens = app.sign_in(person)
    told = app.userinfo(tokens["access_token"]).text
    services = provider.services
    services.keys.load()
    now = time.time()
    id_claims = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
    kinds = {"logout+jwt", "secevent+jwt", "statuslist+jwt", "at+jwt", "x"}
    others = {typ: services.keys.sign(typ, {**id_claims, "client_id": app.client_id}, now) for typ in kinds}
    as_access = {"the ID token": tokens["id_token"], "userinfo": told, **others}
    for what, token in as_access.items():
        assert app.userinfo(token).status_code == 401, what
        assert app.introspect(token) == {"active": False}, what
    as_hint = {"the access token": tokens["access_token"], "userinfo": told, **others}
    for what, token in as_hint.items():
        answer = person.open(app.authorization_url(prompt="none", id_token_hint=token))
        assert answer.query.get("error") == "invalid_request", what
    assert "code" in person.open(app.authorization_url(prompt="none", id_token_hint=tokens["id_token"])).query
