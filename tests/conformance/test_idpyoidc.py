"""PyPI's idpyoidc as a relying party: discovery, registration, and every flow that both it and we have."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptojwt.key_jar import KeyJar, init_key_jar
from idpyoidc.client.exception import ResponseError
from idpyoidc.client.oauth2.stand_alone_client import backchannel_logout
from idpyoidc.client.oidc import RP
from idpyoidc.client.request_object import construct_request_parameter
from idpyoidc.client.rp_handler import RPHandler

from tests.clients.registering import site
from tests.conformance.suite import CLAIMS, PASSWORD
from tests.support.browsing import Person
from tests.support.relying_party import Receiver
from tests.support.serving import RunningProvider

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database

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
        "registration_read": "read_registration.RegistrationRead",
    }.items()
} | {
    name: {"class": f"idpyoidc.client.oauth2.{where}"}
    for name, where in {
        "introspection": "introspection.Introspection",
        "token_revocation": "token_revocation.TokenRevocation",
        "client_credentials": "client_credentials.CCAccessTokenRequest",
    }.items()
}
PKCE = {
    "function": "idpyoidc.client.oauth2.add_on.pkce.add_support",
    "kwargs": {"code_challenge_length": 64, "code_challenge_method": "S256"},
}
JAR = {
    "function": "idpyoidc.client.oauth2.add_on.jar.add_support",
    "kwargs": {"request_type": "request_parameter", "request_object_signing_alg": "RS256"},
}


@dataclass(frozen=True)
class Home:
    """Where the relying party is at home, its keys, and what else stands there."""

    address: str
    keys: KeyJar
    documents: dict[str, object]


@pytest.fixture
def home() -> Iterator[Home]:
    """The relying party's own server, which publishes its keys."""
    keys = init_key_jar(key_defs=KEYS, issuer_id="")
    documents: dict[str, object] = {"/jwks.json": keys.export_jwks()}
    with site(documents) as address:
        yield Home(address, keys, documents)


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
    return finished(op, party, person, begun(op, party, **asked))


def begun(op: RunningProvider, party: RPHandler, *, request_param: str | None = None, **asked: object) -> str:
    """The address of the first request; `request_param` says that a request object holds it, and how that comes."""
    how = {} if request_param is None else {"request_param": request_param}
    return str(party.begin(op.issuer, req_args={"scope": list(SCOPE), "prompt": "consent"} | asked, behaviour_args=how))


def finished(op: RunningProvider, party: RPHandler, person: Person, url: str) -> tuple[dict[str, Any], str]:
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
    read = client.do_request("registration_read", authn_method="client_secret_basic")
    assert read["client_id"] == client.get_client_id()


def client_of(party: RPHandler, op: RunningProvider) -> RP:
    return party.issuer2rp[op.issuer]


@pytest.mark.parametrize("method", METHODS)
def test_introspection_and_revocation_by_every_authentication(
    op: RunningProvider, home: Home, person: Person, method: str
) -> None:
    alg = "HS256" if method == "client_secret_jwt" else "RS256"
    known_as = known(op, home, token_endpoint_auth_method=method) | {"token_endpoint_auth_signing_alg_values_supported": [alg]}
    party = handler(op, home, **known_as)
    found, _ = walk(op, party, person)
    client, asked = client_of(party, op), {"token": found["token"]}
    before = client.do_request("introspection", request_args=asked, authn_method=method)
    assert (before["active"], before["sub"]) == (True, found["id_token"]["sub"])
    with pytest.raises(ResponseError):  # the library takes an answer without content for none; RFC 7009 §2.2 asks for none
        client.do_request("token_revocation", request_args=asked, authn_method=method)
    assert client.do_request("introspection", request_args=asked, authn_method=method)["active"] is False


def test_client_credentials(op: RunningProvider, home: Home) -> None:
    app = op.add_client({"grant_types": ["client_credentials"], "scope": "api"})
    party = handler(op, home, client_id=app["client_id"], client_secret=app["client_secret"])
    client = party.client_setup(op.issuer)
    given = client.do_request("client_credentials", request_args={"scope": "api"}, authn_method="client_secret_basic")
    assert given["scope"] == ["api"]
    assert client.do_request("introspection", request_args={"token": given["access_token"]})["scope"] == ["api"]


def test_a_signed_request_object(op: RunningProvider, home: Home, person: Person) -> None:
    party = handler(op, home, add_ons={"pkce": PKCE, "jar": JAR}, **known(op, home, request_object_signing_alg="RS256"))
    url = begun(op, party)
    assert "nonce" not in asked_in(url)
    found, _ = finished(op, party, person, url)
    assert found["userinfo"]["name"] == CLAIMS["name"]


def test_a_signed_request_object_by_reference(
    op: RunningProvider, home: Home, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library writes it to a file of the name that it registered, in the current folder.

    idpyoidc 5.0.0 would say `aud: request_uri`, since the parameter's name stands in the place of the audience; mended here.
    """

    def for_the_issuer(service: Any, asked: Any, _name: str, **how: Any) -> str:
        return str(construct_request_parameter(service, asked, **how))

    monkeypatch.setattr("idpyoidc.client.oidc.authorization.construct_request_parameter", for_the_issuer)
    monkeypatch.chdir(tmp_path)
    uri = f"{home.address}/request.jwt"
    party = handler(op, home, **known(op, home, request_uris=[uri], request_object_signing_alg="RS256"))
    party.client_setup(op.issuer).get_context().set_usage("request_uris", [uri])
    url = begun(op, party, request_param="request_uri")
    assert asked_in(url)["request_uri"] == uri
    home.documents["/request.jwt"] = (tmp_path / "request.jwt").read_bytes()
    found, _ = finished(op, party, person, url)
    assert found["userinfo"]["name"] == CLAIMS["name"]


def asked_in(url: str) -> dict[str, str]:
    """What stands in the address of a request."""
    return dict(parse_qsl(urlsplit(url).query))


def test_pairwise_subjects(op: RunningProvider, home: Home, person: Person) -> None:
    """Two clients of one sector know a person by one name, and one of another sector by another."""
    home.documents["/sector.json"] = [f"{home.address}/callback"]
    sector = {"subject_type": "pairwise", "sector_identifier_uri": f"{home.address}/sector.json"}
    names = []
    for members in (sector, sector, {}):
        party = handler(op, home, **known(op, home, **members))
        found, state = walk(op, party, person)
        again = party.refresh_access_token(state)
        assert found["userinfo"]["sub"] == found["id_token"]["sub"] == again["__verified_id_token"]["sub"]
        names.append(found["id_token"]["sub"])
    assert names[0] == names[1] != names[2]


def test_userinfo_that_is_signed_and_encrypted(op: RunningProvider, home: Home, person: Person) -> None:
    """Encrypted ID tokens it does not read: idpyoidc 5.0.0 takes them for no JWT at all."""
    wishes = {"userinfo_encrypted_response_alg": "RSA-OAEP-256", "userinfo_encrypted_response_enc": "A256GCM"}
    party = handler(op, home, **known(op, home, userinfo_signed_response_alg="RS256", **wishes))
    found, _ = walk(op, party, person)
    assert found["userinfo"]["name"] == CLAIMS["name"]


def test_an_id_token_of_another_algorithm(op: RunningProvider, home: Home, person: Person) -> None:
    party = handler(op, home, **known(op, home, id_token_signed_response_alg="ES256"))
    found, _ = walk(op, party, person)
    assert found["id_token"].jws_header["alg"] == "ES256"


def test_a_logout_token(op: RunningProvider, home: Home, person: Person) -> None:
    """With `sub`: idpyoidc 5.0.0 keeps no `sid`, since it looks for its support under another name in discovery."""
    receiver = Receiver()
    members = {"backchannel_logout_uri": receiver.uri, "backchannel_logout_include_sub": True}
    party = handler(op, home, **known(op, home, **members))
    _, state = walk(op, party, person)
    person.open(party.logout(state)["url"])
    (token,) = receiver.wait()
    assert backchannel_logout(client_of(party, op), request_args={"logout_token": token}) == state
    receiver.close()
