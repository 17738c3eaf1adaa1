"""Walking as clients that prove who they are by a signature: by their own keys, which they rotate, or by their secret."""

import json
from urllib.parse import urlencode

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from joserfc.jwk import RSAKey

from tests.clients.keys import claims, form, public, rsa, signed
from tests.clients.registering import site
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


def redeem(app: RelyingParty, code: str, assertion: str) -> httpx.Response:
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": app.redirect_uri,
        "code_verifier": app.verifier,
        **form(assertion),
    }
    return http.post(f"{app.provider.issuer}/token", data=fields, timeout=20)


def test_a_person_signs_in_at_an_app_that_has_keys_and_no_secret(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, token_endpoint_auth_method="private_key_jwt", jwks=public(rsa()))
    assert "client_secret" not in app.registration
    page = person.sign_in(person.open(app.authorization_url()), "alice", "correct horse battery staple")

    def fresh() -> dict[str, str]:
        return form(signed(claims(app.client_id, provider.issuer), rsa()))

    tokens = redeem(app, app.code_from(page), signed(claims(app.client_id, f"{provider.issuer}/token"), rsa())).json()
    assert app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["nonce"] == app.nonce
    refreshed = http.post(
        f"{provider.issuer}/token",
        data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **fresh()},
        timeout=20,
    ).json()
    token = {"token": refreshed["access_token"]}
    assert http.post(f"{provider.issuer}/introspect", data=token | fresh(), timeout=20).json()["active"] is True
    assert http.post(f"{provider.issuer}/revoke", data=token | fresh(), timeout=20).status_code == 200
    assert http.post(f"{provider.issuer}/introspect", data=token | fresh(), timeout=20).json() == {"active": False}


def test_an_app_rotates_its_keys_and_is_understood_at_once(provider: RunningProvider) -> None:
    first, second = RSAKey.generate_key(2048, {"kid": "1"}), RSAKey.generate_key(2048, {"kid": "2"})
    documents: dict[str, object] = {"/jwks": public(first, second)}
    with site(documents) as home:
        metadata = {
            "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": f"{home}/jwks",
        }
        client_id = str(provider.add_client(metadata)["client_id"])

        def status(key: RSAKey) -> int:
            data = {"grant_type": "client_credentials", **form(signed(claims(client_id, provider.issuer), key))}
            return http.post(f"{provider.issuer}/token", data=data, timeout=20).status_code

        assert [status(first), status(second)] == [200, 200]
        documents["/jwks"] = {}
        assert [status(first), status(second)] == [200, 200]  # what was fetched still counts for a while
        assert status(RSAKey.generate_key(2048, {"kid": "3"})) == 401


@pytest.mark.parametrize("method", ["client_secret_jwt", "private_key_jwt"])
def test_authlibs_own_client_is_understood(provider: RunningProvider, method: str) -> None:
    metadata = {"grant_types": ["client_credentials"], "token_endpoint_auth_method": method}
    made = provider.add_client(metadata | ({"jwks": public(rsa())} if method == "private_key_jwt" else {}))
    key = rsa().as_pem(private=True).decode() if method == "private_key_jwt" else str(made["client_secret"])
    endpoint = f"{provider.issuer}/token"
    with OAuth2Client(made["client_id"], key, token_endpoint_auth_method=method) as client:
        proof = PrivateKeyJWT(endpoint) if method == "private_key_jwt" else ClientSecretJWT(endpoint)
        client.register_client_auth_method(proof)
        token = client.fetch_token(endpoint, grant_type="client_credentials")
    assert token["token_type"] == "Bearer"


def test_what_discovery_says_of_authentication_is_so(provider: RunningProvider) -> None:
    found = http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    for endpoint in ("token", "revocation", "introspection"):
        methods = found[f"{endpoint}_endpoint_auth_methods_supported"]
        assert {"private_key_jwt", "client_secret_jwt"} <= set(methods)
        assert ("none" in methods) == (endpoint != "introspection")
        algs = found[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert {"RS256", "ES256", "HS256"} <= set(algs)
        assert "none" not in algs
    assert "registration_endpoint" not in found  # it is switched off here
    assert http.post(f"{provider.issuer}/register", json={}).status_code == 404


def test_the_consent_page_says_in_the_persons_language_who_asks(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(
        provider,
        first_party=False,
        client_name="Notes",
        logo_uri="https://img.example/logo.png",
        policy_uri="https://app.example/policy?a=1&b=2",
        tos_uri="https://app.example/tos",
        initiate_login_uri="https://app.example/begin?at=idp",
        **{"client_name#de": "Notizen", "tos_uri#de": "https://app.example/agb"},
    )
    person.http.headers["Accept-Language"] = "de-CH, en;q=0.5"
    page = person.open(app.authorization_url())
    assert "Notizen" in page.response.text
    page = person.sign_in(page, "alice", "correct horse battery staple")
    assert page.main == "consent-page"
    text = page.response.text
    assert "Notizen" in text
    assert 'id="client-policy" href="https://app.example/policy?a=1&amp;b=2"' in text
    assert 'id="client-tos" href="https://app.example/agb"' in text
    assert "img.example" not in text + json.dumps(dict(page.response.headers))
    person.submit(page, "consent-allow")
    apps = person.open("account/apps").response.text
    link = f'href="https://app.example/begin?at=idp&amp;iss={provider.issuer.replace(":", "%3A").replace("/", "%2F")}"'
    assert link in apps


def test_the_languages_that_the_app_asks_for_win_over_the_browsers(provider: RunningProvider, person: Person) -> None:
    """`ui_locales` (OIDC Core §3.1.2.1, RP-Initiated Logout 1.0 §2), on every page of the request."""
    names = {"client_name#de": "Notizen", "client_name#fr": "Carnet", "tos_uri#fr": "https://app.example/cgu"}
    app = RelyingParty.register(provider, first_party=False, client_name="Notes", client_uri="https://app.example/", **names)
    person.http.headers["Accept-Language"] = "de-CH, en;q=0.5"
    wanted = {"ui_locales": "ja fr-CA fr de"}
    login = person.open(app.authorization_url(**wanted))
    consent = person.sign_in(login, "alice", "correct horse battery staple")
    select = person.open(app.authorization_url(prompt="select_account", **wanted))
    signing_out = {"client_id": app.client_id} | wanted
    logout = person.open(f"logout?{urlencode(signing_out)}")
    done = person.submit(logout, "logout-confirm")
    again = person.open(f"logout?{urlencode(signing_out)}")
    pages = {
        "login-page": login,
        "consent-page": consent,
        "select-account-page": select,
        "logout-page": logout,
        "logout-done": done,
    }
    for main, page in pages.items():
        assert page.main == main
        assert "Carnet" in page.response.text
        assert "Notizen" not in page.response.text
    assert 'id="client-tos" href="https://app.example/cgu"' in consent.response.text
    assert (again.main, "Carnet" in again.response.text) == ("logout-done", True)


def test_a_language_that_the_app_has_nothing_in_leaves_it_to_the_browser(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, client_name="Notes", **{"client_name#de": "Notizen"})
    person.http.headers["Accept-Language"] = "de"
    assert "Notizen" in person.open(app.authorization_url(ui_locales="ja x-_ fr")).response.text


def test_a_sign_in_can_begin_here_at_an_app_that_wants_it(provider: RunningProvider, person: Person) -> None:
    """OIDC Core §4: a link with our issuer, for whoever is signed in; never a redirect that a stranger could use."""
    app = RelyingParty.register(provider, initiate_login_uri="https://app.example/begin")
    plain = RelyingParty.register(provider)
    assert person.open(f"account/apps?client_id={app.client_id}").main == "login-page"
    app.sign_in(person)
    page = person.open(f"account/apps?client_id={app.client_id}")
    assert page.main == "apps-page"
    assert 'id="app-open" href="https://app.example/begin?iss=' in page.response.text
    for client_id in (plain.client_id, "unknown", ""):
        page = person.open(f"account/apps?client_id={client_id}")
        assert page.main == "apps-page"
        assert "app-open" not in page.response.text
