"""What an app learns of a person at `/userinfo`: by scope, as JSON, as a signed JWT, or for its key alone (OIDC Core §5)."""

import json
import secrets

import jwt
import pytest

from tests.accounts.test_profile import WHOLE
from tests.support import http
from tests.support.browsing import Person
from tests.support.jwe import KeyPair
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

EVERY_SCOPE = "openid profile email address phone"
PASSWORD = "correct horse battery staple"


def add_jane(provider: RunningProvider) -> str:
    name = f"jane-{secrets.token_hex(4)}"
    accounts = provider.services.accounts
    with provider.services.database.writing() as tx:
        accounts.add(tx, accounts.prepare(name, PASSWORD, claims=WHOLE))
    return name


def test_every_scope_tells_its_claims_in_their_types(provider: RunningProvider, person: Person) -> None:
    jane, app = add_jane(provider), RelyingParty.register(provider)
    told = app.userinfo(app.sign_in(person, jane, scope=EVERY_SCOPE)["access_token"]).json()
    assert {name: told[name] for name in WHOLE} == WHOLE
    assert told["preferred_username"] == jane
    assert isinstance(told["updated_at"], int)
    assert set(told) == {*WHOLE, "sub", "preferred_username", "updated_at"}


@pytest.mark.parametrize(("scope", "claims"), [("address", {"address"}), ("phone", {"phone_number", "phone_number_verified"})])
def test_a_scope_tells_no_more_than_its_own(provider: RunningProvider, person: Person, scope: str, claims: set[str]) -> None:
    jane, app = add_jane(provider), RelyingParty.register(provider)
    told = app.userinfo(app.sign_in(person, jane, scope=f"openid {scope}")["access_token"]).json()
    assert set(told) == {"sub", *claims}


def test_the_id_token_stays_small_whatever_the_scopes(provider: RunningProvider, person: Person) -> None:
    jane, app = add_jane(provider), RelyingParty.register(provider)
    tokens = app.sign_in(person, jane, scope=EVERY_SCOPE)
    claims = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
    assert not set(claims) & {*WHOLE, "preferred_username", "updated_at"}


def test_a_client_that_reads_nothing_but_the_id_token_finds_the_claims_of_its_scopes_there(
    provider: RunningProvider, person: Person
) -> None:
    """kube-apiserver, Proxmox and Vault never ask `/userinfo`."""
    jane, app = add_jane(provider), RelyingParty.register(provider, id_token_scope_claims=True)
    first = app.sign_in(person, jane, scope="openid profile email")
    second = app.refresh(first["refresh_token"]).json()
    for tokens in (first, second):
        claims = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
        assert (claims["preferred_username"], claims["email"]) == (jane, WHOLE["email"])
        assert not set(claims) & {"address", "phone_number"}  # what was not asked for is not told
    narrow = app.refresh(second["refresh_token"], scope="openid").json()
    assert "email" not in app.verified(narrow["id_token"], audience=app.client_id, typ="JWT")


def test_a_change_is_told_at_once_and_dated(provider: RunningProvider, person: Person) -> None:
    jane, app = add_jane(provider), RelyingParty.register(provider)
    token = app.sign_in(person, jane, scope="openid profile")["access_token"]
    before = app.userinfo(token).json()
    provider.cli("user", "set", jane, "--claims-file", "-", stdin='{"nickname": "Janie", "picture": null}')
    after = app.userinfo(token).json()
    assert after["nickname"] == "Janie"
    assert "picture" not in after
    assert after["updated_at"] >= before["updated_at"]


def test_the_token_may_come_by_header_or_form_and_never_by_query(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    token, at = app.sign_in(person)["access_token"], f"{provider.issuer}/userinfo"
    assert http.post(at, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert http.post(at, data={"access_token": token}).status_code == 200
    for refused in (http.get(at, params={"access_token": token}), http.post(at, params={"access_token": token})):
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="userinfo"'
    twice = http.post(at, data={"access_token": token}, headers={"Authorization": f"Bearer {token}"})
    assert twice.json()["error"] == "invalid_request"


def test_a_token_without_openid_is_told_which_scope_is_needed(provider: RunningProvider, person: Person) -> None:
    """RFC 6750 §3: the challenge comes with 403 too."""
    token = RelyingParty.register(provider).sign_in(person, scope="profile")["access_token"]
    answer = http.get(f"{provider.issuer}/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert "openid" in answer.json()["error_description"]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="userinfo", error="insufficient_scope", scope="openid"'


def test_who_sends_no_token_is_told_how_and_of_no_error(provider: RunningProvider) -> None:
    answer = http.get(f"{provider.issuer}/userinfo")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="userinfo"')
    assert "Authorization: Bearer" in answer.json()["error_description"]


def test_a_client_may_have_it_signed(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, userinfo_signed_response_alg="RS256")
    tokens = app.sign_in(person)
    answer = app.userinfo(tokens["access_token"])
    assert answer.headers["Content-Type"] == "application/jwt"
    assert answer.headers["Cache-Control"] == "no-store"
    told = app.verified(answer.text, audience=app.client_id, typ="JWT")
    assert told["email"] == "alice@example.org"
    assert told["iss"] == provider.issuer
    assert told["sub"] == app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["sub"]
    assert not {"exp", "nonce", "at_hash", "auth_time", "sid"} & set(told)


@pytest.mark.parametrize("alg", ["RSA-OAEP-256", "ECDH-ES"])
def test_a_client_may_have_it_for_its_key_alone(provider: RunningProvider, person: Person, alg: str) -> None:
    pair = KeyPair.make(alg)
    app = RelyingParty.register(provider, userinfo_encrypted_response_alg=alg, jwks=pair.jwks)
    answer = app.userinfo(app.sign_in(person)["access_token"])
    assert answer.headers["Content-Type"] == "application/jwt"
    assert "alice" not in answer.text
    header, inside = pair.opened(answer.text)
    assert (header["alg"], header["enc"], header["kid"]) == (alg, "A256GCM", f"enc-{alg}")
    assert "zip" not in header
    assert json.loads(inside)["email"] == "alice@example.org"


def test_signed_comes_before_encrypted(provider: RunningProvider, person: Person) -> None:
    pair = KeyPair.make("ECDH-ES")
    app = RelyingParty.register(
        provider, userinfo_signed_response_alg="RS256", userinfo_encrypted_response_alg="ECDH-ES", jwks=pair.jwks
    )
    header, inside = pair.opened(app.userinfo(app.sign_in(person)["access_token"]).text)
    assert header["cty"] == "JWT"
    assert app.verified(inside, audience=app.client_id, typ="JWT")["email"] == "alice@example.org"


@pytest.mark.parametrize("alg", ["RSA-OAEP-256", "ECDH-ES"])
def test_an_id_token_may_be_for_the_clients_key_alone(provider: RunningProvider, person: Person, alg: str) -> None:
    pair = KeyPair.make(alg)
    app = RelyingParty.register(provider, id_token_encrypted_response_alg=alg, jwks=pair.jwks)
    tokens = app.sign_in(person)
    header, inside = pair.opened(tokens["id_token"])
    assert (header["alg"], header["enc"], header["cty"]) == (alg, "A256GCM", "JWT")
    claims = app.verified(inside, audience=app.client_id, typ="JWT")
    assert claims["nonce"] == app.nonce
    again = app.verified(
        pair.opened(app.refresh(tokens["refresh_token"]).json()["id_token"])[1], audience=app.client_id, typ="JWT"
    )
    assert again["sid"] == claims["sid"]
    # What it gives back as a hint is what was inside (OIDC Core §3.1.2.1).
    page = person.open(f"logout?id_token_hint={inside}")
    assert page.main == "logout-done"


def test_what_was_to_be_secret_is_never_sent_in_the_open(provider: RunningProvider, person: Person) -> None:
    """The client's keys hold none that fits: it is told so, and gets nothing."""
    for_signing = KeyPair.make("RSA-OAEP-256", use="sig").jwks
    app = RelyingParty.register(
        provider, id_token_encrypted_response_alg="RSA-OAEP-256", userinfo_encrypted_response_alg="ECDH-ES", jwks=for_signing
    )
    page = person.open(app.authorization_url())
    code = app.code_from(person.sign_in(page, "alice", PASSWORD))
    app.redeem(code)
    refused = app.redeem(code)  # nothing was spent: it is told the same again
    assert refused.status_code == 400
    assert refused.json()["error"] == "unauthorized_client"
    assert refused.json()["error_description"].startswith("id_token_encrypted_response_alg RSA-OAEP-256: ")
    assert "id_token" not in refused.json()


def test_a_userinfo_answer_passes_for_no_id_token(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, userinfo_signed_response_alg="RS256")
    answer = app.userinfo(app.sign_in(person)["access_token"]).text
    assert jwt.decode(answer, options={"verify_signature": False})["aud"] == app.client_id
    assert person.open(f"logout?id_token_hint={answer}").main == "logout-page"
    assert app.userinfo(answer).status_code == 401
    assert app.introspect(answer) == {"active": False}
