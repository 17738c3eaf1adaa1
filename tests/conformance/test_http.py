"""HTTP itself: methods, media types, challenges, caches, and which pages of a browser may read what."""

import re

import pytest

from tests.conformance.plans import CODE, Flow
from tests.conformance.rp import Rp
from tests.support import http
from tests.support.browsing import Person
from tests.support.serving import RunningProvider

ORIGIN, STRANGER = "https://spa.example.org", "https://stranger.example"
NEVER_KEPT = ("no-store", "no-cache")
#: What each endpoint understands.
METHODS = {
    "/authorize": {"GET", "HEAD", "POST", "OPTIONS"},
    "/token": {"POST", "OPTIONS"},
    "/introspect": {"POST", "OPTIONS"},
    "/revoke": {"POST", "OPTIONS"},
    "/userinfo": {"GET", "HEAD", "POST", "OPTIONS"},
    "/register": {"POST", "OPTIONS"},
    "/register/somebody": {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"},
    "/logout": {"GET", "HEAD", "POST", "OPTIONS"},
    "/jwks": {"GET", "HEAD", "OPTIONS"},
    "/.well-known/openid-configuration": {"GET", "HEAD", "OPTIONS"},
    "/.well-known/oauth-authorization-server": {"GET", "HEAD", "OPTIONS"},
    "/check_session": {"GET", "HEAD", "OPTIONS"},
}


@pytest.mark.parametrize("path", METHODS)
def test_another_method_is_405_and_allow_says_which_there_are(op: RunningProvider, path: str) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - METHODS[path]:
        answer = http.request(method, op.issuer + path)
        assert answer.status_code == 405, (method, answer.status_code)
        assert set(answer.headers["Allow"].split(", ")) == METHODS[path]
        if answer.headers.get("Content-Type") == "application/json":
            assert method in answer.json()["error_description"]
            assert "use " in answer.json()["error_description"]
            assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/token", "/register", "/authorize"])
def test_a_body_that_is_too_large_is_413_and_says_what_may_be(op: RunningProvider, path: str) -> None:
    kind = "application/json" if path == "/register" else "application/x-www-form-urlencoded"
    answer = http.post(op.issuer + path, content=b"a=" + b"x" * 2_000_000, headers={"Content-Type": kind})
    assert answer.status_code == 413
    assert re.search("it may have [0-9]+ bytes", answer.text)


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_a_body_that_is_no_form_is_415_and_says_what_is_expected(op: RunningProvider, path: str, media_type: str) -> None:
    answer = http.post(op.issuer + path, content=b"{}", headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["error"]) == (415, "invalid_request")
    assert "application/x-www-form-urlencoded" in answer.json()["error_description"]


def test_metadata_that_is_no_json_is_415_too(op: RunningProvider) -> None:
    answer = http.post(f"{op.issuer}/register", data={"redirect_uris": "https://spa.example.org/"})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["error_description"]


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
def test_a_client_that_cannot_authenticate_is_challenged(op: RunningProvider, path: str) -> None:
    form = {"grant_type": "client_credentials", "token": "x"}
    answer = http.post(op.issuer + path, data=form, auth=("nobody", "knows"))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_a_bearer_is_challenged_as_rfc_6750_says(op: RunningProvider) -> None:
    for path in ("/userinfo", "/register/somebody"):
        bare, wrong = http.get(op.issuer + path), http.get(op.issuer + path, headers={"Authorization": "Bearer wrong"})
        assert bare.status_code == wrong.status_code == 401
        assert bare.headers["WWW-Authenticate"].startswith("Bearer")
        assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]


def test_a_token_in_the_query_is_no_token(op: RunningProvider, rp: Rp, person: Person) -> None:
    answer = http.get(f"{op.issuer}/userinfo", params={"access_token": rp.sign_in(person).access_token})
    assert answer.status_code == 401


def test_a_token_without_openid_is_not_enough_for_userinfo(op: RunningProvider) -> None:
    app = op.add_client({"grant_types": ["client_credentials"], "scope": "api"})
    auth = (str(app["client_id"]), str(app["client_secret"]))
    form = {"grant_type": "client_credentials", "scope": "api"}
    token = http.post(f"{op.issuer}/token", data=form, auth=auth).json()["access_token"]
    answer = http.get(f"{op.issuer}/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in {401, 403}
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_what_holds_secrets_is_never_kept(op: RunningProvider, rp: Rp, person: Person) -> None:
    given = rp.sign_in(person)
    bearer = {"Authorization": f"Bearer {given.access_token}"}
    own = {"Authorization": f"Bearer {rp.registration['registration_access_token']}"}
    answers = [
        http.get(f"{op.issuer}/userinfo", headers=bearer),
        http.get(rp.registration["registration_client_uri"], headers=own),
        http.post(f"{op.issuer}/introspect", data={"token": given.access_token}, **rp.authentication()),
        rp.try_to_redeem("wrong"),
        http.get(f"{op.issuer}/userinfo"),
        person.http.get(rp.url()),
    ]
    rp.registration |= {each: answers[1].json()[each] for each in ("registration_access_token",)}
    for answer in answers:
        assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == NEVER_KEPT, answer.url


def test_what_is_public_may_be_kept_and_is_asked_for_by_its_etag(op: RunningProvider) -> None:
    for path in ("/jwks", "/.well-known/openid-configuration"):
        first = http.get(op.issuer + path)
        assert first.headers["Cache-Control"].startswith("public, max-age=")
        again = http.get(op.issuer + path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_pages_of_apps_may_read_what_they_need_and_nothing_else(op: RunningProvider) -> None:
    party = Rp.register(op, Flow(CODE), redirect_uris=[f"{ORIGIN}/callback"])
    for path in ("/token", "/userinfo", "/revoke"):
        assert _allowed(op, path, ORIGIN) == ORIGIN
        assert _allowed(op, path, STRANGER) is None
    for path in ("/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        assert _allowed(op, path, STRANGER) == "*"
    for path in ("/introspect", "/register", "/authorize", "/logout", "/login", "/account", "/check_session", "/ssf/streams"):
        assert _allowed(op, path, ORIGIN) is None, path
    party.unregister()


def _allowed(op: RunningProvider, path: str, origin: str) -> str | None:
    """Who may read the answers, by the preflight and by what comes after it."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = http.options(op.issuer + path, headers=asked)
    answer = http.get(op.issuer + path, headers={"Origin": origin})
    found = {each.headers.get("Access-Control-Allow-Origin") for each in (preflight, answer) if each.status_code != 405}
    assert len(found) == 1
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    return found.pop()
