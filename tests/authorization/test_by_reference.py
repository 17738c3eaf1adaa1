"""Request objects and the claims parameter over HTTP: signed, fetched, with the client's keys registered or fetched, too."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.authorization.conftest import PASSWORD, arrived, everything
from tests.authorization.signing import key, soon, unsigned
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


class Site:
    """A client's own server. `pages` are texts by path; `asked` is what was fetched."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                found = site.pages.get(self.path)
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(found or "")))
                self.end_headers()
                self.wfile.write((found or "").encode())

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    serving = Site()
    yield serving
    serving.close()


def inside(app: RelyingParty, **extra: str) -> dict[str, object]:
    """A whole request as the claims of a request object."""
    return dict(httpx.URL(app.authorization_url(**extra)).params) | {
        "iss": app.client_id,
        "aud": app.provider.issuer,
        "exp": soon(),
    }


def outside(app: RelyingParty, **parameters: str) -> str:
    """The request that carries it: what OpenID Connect demands beside it, and nothing else (OIDC Core §6.1)."""
    needed = {"client_id": app.client_id, "response_type": "code", "scope": "openid"}
    return str(httpx.URL(f"{app.provider.issuer}/authorize", params=needed | parameters))


def test_a_request_by_value_carries_everything(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, jwks={"keys": [key().jwk]}, request_object_signing_alg="RS256")
    page = person.open(outside(app, request=key().sign(inside(app)), state="not this one"))
    assert page.main == "login-page"
    tokens = app.redeem(app.code_from(person.sign_in(page, "alice", PASSWORD))).json()
    assert app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["nonce"] == app.nonce
    assert tokens["scope"] == "openid profile email"


def test_a_request_by_value_may_come_by_post(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, jwks={"keys": [key().jwk]})
    url = httpx.URL(outside(app, request=key().sign(inside(app))))
    page = person._follow(person.http.post(url.copy_with(query=None), data=dict(url.params)))
    assert app.redeem(app.code_from(person.sign_in(page, "alice", PASSWORD))).status_code == 200


def test_a_request_by_reference_is_fetched_once_for_its_hash(provider: RunningProvider, person: Person, site: Site) -> None:
    uri = f"{site.origin}/request.jwt"
    app = everything(provider, jwks_uri=f"{site.origin}/keys", request_uris=[uri], request_object_signing_alg="ES256")
    site.pages["/keys"] = json.dumps({"keys": [key("ES256").jwk]})
    site.pages["/request.jwt"] = key("ES256").sign(inside(app))
    page = person.sign_in(person.open(outside(app, request_uri=uri)), "alice", PASSWORD)
    assert app.redeem(app.code_from(page)).status_code == 200
    assert site.asked == ["/request.jwt", "/keys"]


def test_an_unsigned_request_by_reference_works_for_a_client_that_registered_it(
    provider: RunningProvider, person: Person, site: Site
) -> None:
    uri = f"{site.origin}/request.jwt#of-something-else"
    app = everything(provider, request_uris=[uri], request_object_signing_alg="none")
    site.pages["/request.jwt"] = unsigned(inside(app, response_type="id_token"))
    page = person.open(outside(app, request_uri=uri, response_type="id_token"))
    assert "id_token" in arrived(app, person.sign_in(page, "alice", PASSWORD))


@pytest.mark.parametrize("registered", [{}, {"request_object_signing_alg": "RS256"}])
def test_an_unsigned_request_by_reference_is_refused_where_the_client_did_not_register_none(
    provider: RunningProvider, person: Person, site: Site, registered: dict[str, str]
) -> None:
    uri = f"{site.origin}/request.jwt"
    app = everything(provider, request_uris=[uri], jwks={"keys": [key().jwk]}, **registered)
    site.pages["/request.jwt"] = unsigned(inside(app))
    page = person.open(outside(app, request_uri=uri))
    assert (page.main, page.texts["error-code"]) == ("error-page", "invalid_request_object")
    assert "alg" in page.texts["error-description"]


def test_a_reference_that_leads_nowhere_is_told_to_the_app(provider: RunningProvider, person: Person, site: Site) -> None:
    app = everything(provider, request_uris=[f"{site.origin}/gone"], request_object_signing_alg="none")
    page = person.open(outside(app, request_uri=f"{site.origin}/gone", redirect_uri=app.redirect_uri, state="s"))
    assert page.query["error"] == "invalid_request_uri"
    assert page.query["state"] == "s"
    page = person.open(outside(app, request_uri=f"{site.origin}/gone"))
    assert page.main == "error-page"
    assert page.texts["error-code"] == "invalid_request_uri"


def test_claims_by_name_are_told_at_userinfo_and_in_the_id_token(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    asked = {
        "userinfo": {"email": {"essential": True}},
        "id_token": {"preferred_username": None, "auth_time": {"essential": True}},
    }
    tokens = app.sign_in(person, scope="openid", claims=json.dumps(asked))
    identity = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")
    assert identity["preferred_username"] == "alice"
    assert "email" not in identity
    assert set(app.userinfo(tokens["access_token"]).json()) == {"sub", "email"}


def test_claims_by_name_are_told_where_tokens_come_from_here(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    asked = json.dumps({"userinfo": {"email": None}, "id_token": {"preferred_username": None}})
    url = app.authorization_url(response_type="id_token token", scope="openid", claims=asked)
    fields = arrived(app, person.sign_in(person.open(url), "alice", PASSWORD))
    assert app.verified(fields["id_token"], audience=app.client_id, typ="JWT")["preferred_username"] == "alice"
    assert set(app.userinfo(fields["access_token"]).json()) == {"sub", "email"}


def test_the_acr_that_is_asked_for_is_the_one_that_is_told(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    announced = http.get(f"{provider.issuer}/.well-known/openid-configuration").json()["acr_values_supported"]
    tokens = app.sign_in(person, acr_values=" ".join(announced))
    assert app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["acr"] in announced
    asked = json.dumps({"id_token": {"acr": {"essential": True, "values": ["gold"]}}})
    assert person.open(app.authorization_url(claims=asked)).query["error"] == "unmet_authentication_requirements"


def test_a_sub_that_is_asked_for_is_the_only_one_that_may_answer(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    alice = app.verified(app.sign_in(person)["id_token"], audience=app.client_id, typ="JWT")["sub"]
    asked = json.dumps({"id_token": {"sub": {"value": alice}}})
    assert "code" in person.open(app.authorization_url(claims=asked, prompt="none")).query
    other = Person(provider.issuer)
    app.sign_in(other, username="bob")
    assert other.open(app.authorization_url(claims=asked, prompt="none")).query["error"] == "login_required"
    assert other.open(app.authorization_url(claims=asked)).main == "login-page"


@pytest.mark.parametrize("value", ["page", "popup", "touch", "wap"])
def test_every_display_is_the_same_page(provider: RunningProvider, person: Person, value: str) -> None:
    app = everything(provider)
    assert person.open(app.authorization_url(display=value, ui_locales="de en", claims_locales="de")).main == "login-page"


def test_discovery_says_what_is_switched_on(provider: RunningProvider) -> None:
    found = http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    assert set(found["response_types_supported"]) == {
        "code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"
    }  # fmt: skip
    assert "implicit" in found["grant_types_supported"]
    assert found["response_modes_supported"] == ["query", "fragment", "form_post"]
    assert found["claims_parameter_supported"] is True
    assert found["request_parameter_supported"] is True
    assert found["request_uri_parameter_supported"] is True
    assert found["require_request_uri_registration"] is True
    assert "RS256" in found["request_object_signing_alg_values_supported"]
    assert "none" not in found["request_object_signing_alg_values_supported"]
