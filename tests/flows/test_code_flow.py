"""Signing in as a relying party sees it: code flow with PKCE (OIDC Core §3.1, RFC 7636, RFC 9068, RFC 9207)."""

import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from itertools import permutations

import httpx
import pytest

from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


def test_a_person_signs_in_and_the_id_token_says_so(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    before = int(time.time())

    tokens = app.sign_in(person)

    claims = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
    half = sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims["nonce"] == app.nonce
    assert claims["at_hash"] == urlsafe_b64encode(half).rstrip(b"=").decode()
    assert before <= int(str(claims["auth_time"])) <= int(str(claims["iat"]))
    assert claims["amr"] == ["pwd"]
    assert claims["acr"] == "1"
    assert len(str(claims["sid"])) >= 16


def test_the_access_token_is_rfc_9068_and_carries_the_same_sid(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    tokens = app.sign_in(person)

    access = app.verified(tokens["access_token"], audience=provider.issuer, typ="at+jwt")
    identity = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")

    assert access["client_id"] == app.client_id
    assert access["scope"] == "openid profile email"
    assert access["sid"] == identity["sid"]
    assert access["sub"] == identity["sub"]
    assert access["jti"] != identity["jti"]
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == int(str(access["exp"])) - int(str(access["iat"]))


def test_userinfo_tells_the_claims_of_the_granted_scopes_only(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    everything = app.userinfo(app.sign_in(person)["access_token"]).json()
    little = app.userinfo(app.sign_in(person, scope="openid")["access_token"]).json()

    assert everything["preferred_username"] == "alice"
    assert everything["email"] == "alice@example.org"
    assert little == {"sub": everything["sub"]}


def test_a_second_app_needs_no_second_sign_in_and_shares_the_sid(provider: RunningProvider, person: Person) -> None:
    first, second = RelyingParty.register(provider), RelyingParty.register(provider)
    one = first.verified(first.sign_in(person)["id_token"], audience=first.client_id, typ="JWT")

    page = person.open(second.authorization_url(prompt="none"))
    two = second.verified(second.redeem(second.code_from(page)).json()["id_token"], audience=second.client_id, typ="JWT")

    assert one["sid"] == two["sid"]
    assert one["auth_time"] == two["auth_time"]


def test_a_public_client_signs_in_with_pkce_and_no_secret(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, token_endpoint_auth_method="none")
    assert "client_secret" not in app.registration
    assert app.userinfo(app.sign_in(person)["access_token"]).status_code == 200


def test_form_post_sends_the_code_by_a_form(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)

    page = person.open(app.authorization_url(response_mode="form_post"))

    assert page.main == "form-post-page"
    form = page.forms[0]
    assert form.action == app.redirect_uri
    assert form.fields["state"] == app.state
    assert form.fields["iss"] == provider.issuer
    assert app.redeem(form.fields["code"]).status_code == 200


def test_an_authorization_request_may_come_by_post(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    url = httpx.URL(app.authorization_url())

    page = person._follow(person.http.post(f"{provider.issuer}/authorize", data=dict(url.params)))

    assert app.redeem(app.code_from(person.sign_in(page, "alice", "correct horse battery staple"))).status_code == 200


def test_prompt_none_never_shows_a_page(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    page = person.open(app.authorization_url(prompt="none"))
    assert page.url.startswith(app.redirect_uri)
    assert page.query["error"] == "login_required"
    assert page.query["state"] == app.state
    assert page.query["iss"] == provider.issuer


def test_prompt_login_asks_again_keeps_the_sid_and_moves_auth_time(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    first = app.verified(app.sign_in(person)["id_token"], audience=app.client_id, typ="JWT")
    time.sleep(1.1)  # `auth_time` has whole seconds, and this server's clock is its own

    page = person.open(app.authorization_url(prompt="login"))
    assert page.main == "login-page"
    page = person.sign_in(page, "alice", "correct horse battery staple")
    second = app.verified(app.redeem(app.code_from(page)).json()["id_token"], audience=app.client_id, typ="JWT")

    assert second["sid"] == first["sid"]
    assert int(str(second["auth_time"])) > int(str(first["auth_time"]))


def test_max_age_asks_again_only_when_the_sign_in_is_older(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    assert person.open(app.authorization_url(max_age="1000")).query.get("code")
    assert person.open(app.authorization_url(max_age="0")).main == "login-page"


def test_a_client_registers_how_old_a_sign_in_may_be_and_a_request_may_say_otherwise(
    provider: RunningProvider, person: Person
) -> None:
    """`default_max_age` (OIDC Registration 1.0 §2): overridden by `max_age`."""
    app, strict = RelyingParty.register(provider), RelyingParty.register(provider, default_max_age=0)
    app.sign_in(person)
    assert strict.code_from(person.open(strict.authorization_url(max_age="1000")))
    assert person.open(strict.authorization_url(prompt="none")).query["error"] == "login_required"
    page = person.open(strict.authorization_url())
    assert page.main == "login-page"
    code = strict.code_from(person.sign_in(page, "alice", "correct horse battery staple"))
    assert strict.verified(strict.redeem(code).json()["id_token"], audience=strict.client_id, typ="JWT")["auth_time"]


@pytest.mark.parametrize("required", [True, False])
def test_auth_time_and_acr_are_in_every_id_token_so_in_one_whose_client_demands_them(
    provider: RunningProvider, person: Person, required: bool
) -> None:
    """`require_auth_time`, and `default_acr_values` as a voluntary wish (OIDC Registration 1.0 §2)."""
    wishes = {"require_auth_time": True, "default_acr_values": ["urn:example:gold", "1"]} if required else {}
    app = RelyingParty.register(provider, **wishes)
    tokens = app.sign_in(person)
    first = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
    later = app.verified(app.refresh(tokens["refresh_token"]).json()["id_token"], audience=app.client_id, typ="JWT")
    assert 0 <= time.time() - int(str(first["auth_time"])) < 60
    assert later["auth_time"] == first["auth_time"]
    assert first["acr"] == later["acr"] == "1"


PROMPTS = ("login", "consent", "select_account")


@pytest.mark.parametrize("prompt", [" ".join(each) for count in (2, 3) for each in permutations(PROMPTS, count)])
def test_prompts_together_ask_each_once_whatever_their_order(provider: RunningProvider, person: Person, prompt: str) -> None:
    """A sign-in that was just asked for is the choice of an account, too."""
    app = RelyingParty.register(provider)
    app.sign_in(person)
    page, seen = person.open(app.authorization_url(prompt=prompt)), []
    while page.main is not None:
        seen.append(page.main)
        if page.main == "login-page":
            page = person.sign_in(page, "alice", "correct horse battery staple")
        else:
            page = person.submit(page, {"consent-page": "consent-allow", "select-account-page": "select-continue"}[page.main])
    app.code_from(page)
    first = "login-page" if "login" in prompt else "select-account-page"
    assert seen == [first, *(["consent-page"] if "consent" in prompt else [])]


def test_an_id_token_hint_of_somebody_else_is_login_required(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    hint = app.sign_in(person)["id_token"]
    other = Person(provider.issuer)
    app.sign_in(other, username="bob")

    page = other.open(app.authorization_url(prompt="none", id_token_hint=hint))
    assert page.query["error"] == "login_required"
    page = other.open(app.authorization_url(id_token_hint=hint))
    assert page.main == "login-page"
    assert other.sign_in(page, "bob", "correct horse battery staple").query["error"] == "login_required"


def test_select_account_asks_who_goes_on(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)

    page = person.open(app.authorization_url(prompt="select_account"))
    assert page.main == "select-account-page"
    assert app.code_from(person.submit(page, "select-continue"))

    page = person.open(app.authorization_url(prompt="select_account"))
    assert person.submit(page, "select-other").main == "login-page"

    page = person.open(app.authorization_url(prompt="select_account"))
    page = person.submit(page, "select-cancel")
    assert (page.query["error"], page.query["state"]) == ("account_selection_required", app.state)
    assert app.code_from(person.open(app.authorization_url()))


def test_consent_is_asked_once_and_again_when_scopes_grow(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url(scope="openid")), "alice", "correct horse battery staple")
    assert page.main == "consent-page"
    app.code_from(person.submit(page, "consent-allow"))

    app.code_from(person.open(app.authorization_url(scope="openid")))
    assert person.open(app.authorization_url(scope="openid", prompt="none")).query.get("code")
    assert person.open(app.authorization_url(scope="openid email", prompt="none")).query["error"] == "consent_required"
    assert person.open(app.authorization_url(scope="openid email")).main == "consent-page"
    assert person.open(app.authorization_url(scope="openid", prompt="consent")).main == "consent-page"


def test_a_denied_consent_goes_back_as_access_denied(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url()), "alice", "correct horse battery staple")
    page = person.submit(page, "consent-deny")
    assert page.query["error"] == "access_denied"
    assert page.query["state"] == app.state


def test_client_credentials_give_a_token_for_the_client_itself(provider: RunningProvider) -> None:
    app = RelyingParty.register(
        provider, grant_types=["client_credentials"], redirect_uris=["https://x.example/cb"], scope="reports"
    )
    response = app.token("client_credentials")
    assert response.status_code == 200, response.text
    claims = app.verified(response.json()["access_token"], audience=provider.issuer, typ="at+jwt")
    assert claims["sub"] == claims["client_id"] == app.client_id
    assert claims["scope"] == "reports"
    assert "sid" not in claims
    assert "refresh_token" not in response.json()
    assert response.headers["Cache-Control"] == "no-store"
    assert app.introspect(response.json()["access_token"])["active"] is True
    assert app.userinfo(response.json()["access_token"]).status_code == 401


def test_dovecot_gets_access_tokens_whose_typ_is_jwt(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, access_token_header_typ="JWT")
    tokens = app.sign_in(person)
    app.verified(tokens["access_token"], audience=provider.issuer, typ="JWT")
    assert app.userinfo(tokens["access_token"]).status_code == 200
    assert app.userinfo(tokens["id_token"]).status_code == 401


def test_discovery_and_jwks_are_cacheable_documents(provider: RunningProvider) -> None:
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks"):
        answer = http.get(provider.issuer + path)
        again = http.get(provider.issuer + path, headers={"If-None-Match": answer.headers["ETag"]})
        assert answer.status_code == 200
        assert "max-age=" in answer.headers["Cache-Control"]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert again.status_code == 304
        assert again.content == b""
    keys = http.get(f"{provider.issuer}/jwks").json()["keys"]
    assert len(keys) == 2  # one signs, its successor is published already
    for key in keys:
        assert set(key) == {"kty", "n", "e", "kid", "alg", "use"}
