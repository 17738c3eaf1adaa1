"""PyPI's idpyoidc as a relying party: discovery, registration, and every flow that both it and we have."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptojwt.key_jar import KeyJar, init_key_jar
from idpyoidc.client.rp_handler import RPHandler

from tests.clients.registering import site
from tests.conformance.suite import CLAIMS, PASSWORD
from tests.support.browsing import Person
from tests.support.serving import RunningProvider

KEYS = [{"type": "RSA", "use": ["sig"]}, {"type": "RSA", "use": ["enc"]}]
SCOPE = ("openid", "profile", "email", "offline_access")
METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt")
SERVICES = {
    name: {"class": f"idpyoidc.client.oidc.{where}"}
    for name, where in {
        "discovery": "provider_info_discovery.ProviderInfoDiscovery",
        "registration": "registration.Registration",
        "authorization": "authorization.Authorization",
        "access_token": "access_token.AccessToken",
        "refresh_access_token": "refresh_access_token.RefreshAccessToken",
        "userinfo": "userinfo.UserInfo",
        "end_session": "end_session.EndSession",
    }.items()
}
PKCE = {
    "function": "idpyoidc.client.oauth2.add_on.pkce.add_support",
    "kwargs": {"code_challenge_length": 64, "code_challenge_method": "S256"},
}


@dataclass(frozen=True)
class Home:
    """Where the relying party is at home, and its keys."""

    address: str
    keys: KeyJar


@pytest.fixture
def home() -> Iterator[Home]:
    """The relying party's own server, which publishes its keys."""
    keys = init_key_jar(key_defs=KEYS, issuer_id="")
    with site({"/jwks.json": keys.export_jwks()}) as address:
        yield Home(address, keys)


def handler(op: RunningProvider, home: Home, response_type: str = "code", **more: object) -> RPHandler:
    """A relying party for one response type. It registers itself unless `more` holds its `client_id`."""
    chosen: dict[str, object] = {
        "client_type": "oidc",
        "issuer": op.issuer,
        "client_name": "Python",
        "application_type": "web",
        "redirect_uris": [f"{home.address}/callback"],
        "post_logout_redirect_uris": [f"{home.address}/bye"],
        "response_types_supported": [response_type],
        "grant_types_supported": grants(response_type),
        "scopes_supported": list(SCOPE),
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["public"],
        "client_authn_methods": [*METHODS, "bearer_header"],
        "token_endpoint_auth_methods_supported": [more.get("token_endpoint_auth_method", "client_secret_basic")],
        "services": SERVICES,
        "add_ons": {"pkce": PKCE} if response_type.startswith("code") else {},
    }
    clients = {op.issuer: chosen | more}
    return RPHandler(home.address, client_configs=clients, services=SERVICES, keyjar=home.keys, jwks_path="jwks.json")


def grants(response_type: str) -> list[str]:
    """The grants that go with a response type."""
    code = ["authorization_code", "refresh_token"] if response_type.startswith("code") else []
    return [*code, *([] if response_type == "code" else ["implicit"])]


def known(op: RunningProvider, home: Home, response_type: str = "code", **members: object) -> dict[str, object]:
    """A client that the operator registered, as the library is configured with it."""
    app = op.add_client(
        {
            "redirect_uris": [f"{home.address}/callback"],
            "post_logout_redirect_uris": [f"{home.address}/bye"],
            "grant_types": grants(response_type),
            "response_types": [response_type],
            "jwks_uri": f"{home.address}/jwks.json",
        }
        | members
    )
    return {name: app[name] for name in ("client_id", "client_secret", *members) if name in app}


def walk(op: RunningProvider, party: RPHandler, person: Person, **asked: object) -> tuple[dict[str, Any], str]:
    """From the first request to what the library found, and its name for the walk."""
    url = party.begin(op.issuer, req_args={"scope": list(SCOPE), "prompt": "consent"} | asked)
    page = person.open(url)
    if page.main == "login-page":
        page = person.sign_in(page, "alice", PASSWORD)
    if page.main == "consent-page":
        page = person.submit(page, "consent-allow")
    answer = page.query | page.fragment | (page.forms[0].fields if page.main == "form-post-page" else {})
    found = party.finalize(op.issuer, answer)
    assert "error" not in found, found
    return found, answer["state"]


@pytest.mark.parametrize("method", METHODS)
def test_code_userinfo_refresh_and_logout_by_every_authentication(
    op: RunningProvider, home: Home, person: Person, method: str
) -> None:
    alg = "HS256" if method == "client_secret_jwt" else "RS256"  # the library would sign with RS256 in any case
    client = known(op, home, token_endpoint_auth_method=method) | {"token_endpoint_auth_signing_alg_values_supported": [alg]}
    party = handler(op, home, **client)
    found, state = walk(op, party, person)
    assert found["userinfo"]["name"] == CLAIMS["name"]
    again = party.refresh_access_token(state)
    assert again["__verified_id_token"]["sub"] == found["id_token"]["sub"]
    assert again["access_token"] != found["token"]
    page = person.open(party.logout(state, post_logout_redirect_uri=f"{home.address}/bye")["url"])
    assert page.url.startswith(f"{home.address}/bye?state=")


@pytest.mark.parametrize("response_type", ["id_token", "id_token token", "code id_token", "code token", "code id_token token"])
def test_tokens_through_the_browser(op: RunningProvider, home: Home, person: Person, response_type: str) -> None:
    party = handler(op, home, response_type, **known(op, home, response_type))
    found, _ = walk(op, party, person, response_type=response_type)
    assert found["userinfo"]["name"] == CLAIMS["name"]
    if "id_token" in response_type:
        assert found["id_token"]["sub"] == found["userinfo"]["sub"]


def test_an_answer_by_form_post(op: RunningProvider, home: Home, person: Person) -> None:
    found, _ = walk(op, handler(op, home, **known(op, home)), person, response_mode="form_post")
    assert found["userinfo"]["name"] == CLAIMS["name"]


def test_claims_by_name(op: RunningProvider, home: Home, person: Person) -> None:
    asked = {"userinfo": {"nickname": {"essential": True}}, "id_token": {"auth_time": {"essential": True}}}
    found, _ = walk(op, handler(op, home, **known(op, home)), person, scope=["openid"], claims=asked)
    assert found["userinfo"]["nickname"] == CLAIMS["nickname"]
    assert "name" not in found["userinfo"]
    assert found["id_token"]["auth_time"]


def test_one_that_registers_itself(op: RunningProvider, home: Home, person: Person) -> None:
    """For `openid` alone: idpyoidc 5.0.0 takes no other `scope` in the answer, however it is configured."""
    party = handler(op, home)
    client = party.init_client(op.issuer)
    client.do_provider_info()
    client.do_client_registration(request_args={"scope": "openid", "userinfo_signed_response_alg": "RS256"})
    party.issuer2rp[op.issuer] = client
    found, _ = walk(op, party, person, scope=["openid"])
    assert found["userinfo"]["sub"] == found["id_token"]["sub"]
