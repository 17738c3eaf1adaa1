"""Basic, Implicit, Hybrid and their form-post siblings: the flows themselves, ID tokens, userinfo, scopes and claims."""

import pytest

from tests.conformance.plans import Flow
from tests.conformance.rp import Rp
from tests.conformance.suite import OF_SCOPES, check_userinfo, half_hash
from tests.support import http
from tests.support.browsing import Person
from tests.support.serving import RunningProvider

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database


def test_oidcc_server(rp: Rp, flow: Flow, person: Person) -> None:
    """The flow succeeds; hashes tie the ID token to what comes beside it; nothing of the person stands in it uncalled for."""
    given = rp.sign_in(person)
    for claims, access_token in (
        (given.front, given.answer.get("access_token")),
        (given.back, given.tokens.get("access_token")),
    ):
        assert "name" not in claims
        if access_token is not None and claims:
            assert claims["at_hash"] == half_hash(access_token)
    if flow.gives("code"):
        assert len(given.answer["code"]) >= 22
        if given.front:
            assert given.front["c_hash"] == half_hash(given.answer["code"])
    if flow.tokens:
        assert rp.userinfo(given.access_token)["sub"] == given.claims["sub"]


def test_oidcc_server_client_secret_post(op: RunningProvider, flow: Flow, person: Person) -> None:
    """The secret may come in the form, for a client that registered so."""
    party = Rp.register(op, Flow(flow.response_type, flow.form_post, "client_secret_post"))
    assert party.sign_in(person).tokens
    party.unregister()


def test_oidcc_idtoken_signature(rp: Rp, flow: Flow, person: Person) -> None:
    """Signed with RS256 by a key of the JWKS, which the `kid` of the header names: all that `sign_in` checks."""
    assert rp.sign_in(person).claims["iss"] == rp.op.issuer


def test_oidcc_idtoken_unsigned(op: RunningProvider, flow: Flow) -> None:
    """`none` is not announced, so the suite leaves the module out; and whoever registers it all the same is refused."""
    announced = http.get(f"{op.issuer}/.well-known/openid-configuration").json()["id_token_signing_alg_values_supported"]
    assert "none" not in announced
    refused = http.post(f"{op.issuer}/register", json=Rp.metadata(flow) | {"id_token_signed_response_alg": "none"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")


def test_oidcc_idtoken_rs256(op: RunningProvider, flow: Flow, person: Person) -> None:
    """A client that registers RS256 gets RS256."""
    party = Rp.register(op, Flow("code", auth="private_key_jwt"), id_token_signed_response_alg="RS256")
    assert party.sign_in(person).back
    party.unregister()


def test_oidcc_userinfo_get(rp: Rp, flow: Flow, person: Person) -> None:
    """GET with the token in the header."""
    given = rp.sign_in(person)
    check_userinfo(claims := rp.userinfo(given.access_token))
    assert claims["sub"] == given.claims["sub"]


def test_oidcc_userinfo_post_header(rp: Rp, flow: Flow, person: Person) -> None:
    """POST with the token in the header."""
    given = rp.sign_in(person)
    answer = http.post(f"{rp.op.issuer}/userinfo", headers={"Authorization": f"Bearer {given.access_token}"})
    assert (answer.status_code, answer.json()["sub"]) == (200, given.claims["sub"])


def test_oidcc_userinfo_post_body(rp: Rp, flow: Flow, person: Person) -> None:
    """POST with the token in the form (RFC 6750 §2.2)."""
    given = rp.sign_in(person)
    answer = http.post(f"{rp.op.issuer}/userinfo", data={"access_token": given.access_token})
    assert (answer.status_code, answer.json()["sub"]) == (200, given.claims["sub"])


def scopes_bring_their_claims(rp: Rp, person: Person, scope: str) -> None:
    """At userinfo; and in the ID token where there is no access token (OIDC Core §5.4)."""
    given = rp.sign_in(person, scope=scope)
    claims = rp.userinfo(given.access_token) if rp.flow.tokens else given.claims
    check_userinfo(claims)
    assert claims["sub"] == given.claims["sub"]
    assert set().union(*(OF_SCOPES[each] for each in scope.split())) <= set(claims)
    if rp.flow.tokens:
        assert not OF_SCOPES["profile"] & set(given.front | given.back)


def test_oidcc_scope_profile(rp: Rp, flow: Flow, person: Person) -> None:
    scopes_bring_their_claims(rp, person, "openid profile")


def test_oidcc_scope_email(rp: Rp, flow: Flow, person: Person) -> None:
    scopes_bring_their_claims(rp, person, "openid email")


def test_oidcc_scope_address(rp: Rp, flow: Flow, person: Person) -> None:
    scopes_bring_their_claims(rp, person, "openid address")


def test_oidcc_scope_phone(rp: Rp, flow: Flow, person: Person) -> None:
    scopes_bring_their_claims(rp, person, "openid phone")


def test_oidcc_scope_all(rp: Rp, flow: Flow, person: Person) -> None:
    scopes_bring_their_claims(rp, person, "openid profile email address phone")


def test_oidcc_ensure_other_scope_order_succeeds(rp: Rp, flow: Flow, person: Person) -> None:
    """`openid` need not come first."""
    scopes_bring_their_claims(rp, person, "email openid")


def test_oidcc_claims_essential(rp: Rp, flow: Flow, person: Person) -> None:
    """The essential claim `name`: where it is asked for, and not in the ID token when it is asked for at userinfo."""
    place = "userinfo" if flow.tokens else "id_token"
    given = rp.sign_in(person, claims=f'{{"{place}": {{"name": {{"essential": true}}}}}}')
    if flow.tokens:
        assert rp.userinfo(given.access_token)["name"] == "Alice Example"
        assert "name" not in given.front | given.back
    else:
        assert given.claims["name"] == "Alice Example"
