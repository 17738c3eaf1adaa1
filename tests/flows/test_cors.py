"""What single-page apps need of us, and what no page may read (RELYING_PARTIES 8)."""

import pytest

from tests.support import http
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

STRANGER = "https://stranger.example"


def origin(app: RelyingParty) -> str:
    return app.redirect_uri.removesuffix("/callback")


@pytest.mark.parametrize("path", ["/token", "/userinfo", "/revoke"])
def test_a_preflight_from_a_clients_origin_is_allowed_and_a_strangers_is_not(provider: RunningProvider, path: str) -> None:
    app = RelyingParty.register(provider, token_endpoint_auth_method="none")
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,dpop"}

    known = http.options(provider.issuer + path, headers=asked | {"Origin": origin(app)})
    unknown = http.options(provider.issuer + path, headers=asked | {"Origin": STRANGER})

    assert known.headers["Access-Control-Allow-Origin"] == origin(app)
    assert {"Authorization", "Content-Type", "DPoP"} <= set(known.headers["Access-Control-Allow-Headers"].split(", "))
    assert "Access-Control-Allow-Credentials" not in known.headers
    assert "Access-Control-Allow-Origin" not in unknown.headers


def test_error_answers_carry_cors_too_so_that_the_app_sees_them(provider: RunningProvider) -> None:
    app = RelyingParty.register(provider, token_endpoint_auth_method="none")
    headers = {"Origin": origin(app)}
    refused = http.post(f"{provider.issuer}/token", data={"grant_type": "nonsense"}, headers=headers)
    unauthorized = http.get(f"{provider.issuer}/userinfo", headers=headers | {"Authorization": "Bearer nonsense"})
    assert (refused.status_code, unauthorized.status_code) == (400, 401)
    for answer in (refused, unauthorized):
        assert answer.headers["Access-Control-Allow-Origin"] == origin(app)
    assert "WWW-Authenticate" in unauthorized.headers["Access-Control-Expose-Headers"]


def test_introspection_is_never_for_browsers(provider: RunningProvider) -> None:
    app = RelyingParty.register(provider)
    answer = http.post(f"{provider.issuer}/introspect", data={"token": "x"}, headers={"Origin": origin(app)})
    assert answer.status_code == 401
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_discovery_and_jwks_are_for_everybody(provider: RunningProvider) -> None:
    for path in ("/.well-known/openid-configuration", "/jwks"):
        answer = http.get(provider.issuer + path, headers={"Origin": STRANGER})
        preflight = http.options(provider.issuer + path, headers={"Origin": STRANGER})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/jwks", "/.well-known/openid-configuration", "/.well-known/ssf-configuration"])
def test_a_public_document_may_be_asked_for_with_any_header(provider: RunningProvider, path: str) -> None:
    """Libraries send `Content-Type`, `Accept` or headers of their own; the preflight must not forbid what nobody reads."""
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization,content-type,x-trace"}
    preflight = http.options(provider.issuer + path, headers=asked | {"Origin": STRANGER})
    assert set(preflight.headers["Access-Control-Allow-Headers"].split(", ")) == {"*", "Authorization"}
