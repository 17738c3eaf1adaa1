"""Config, Dynamic and 3rd-party-initiated login: discovery, registration, the keys of both sides, `request_uri`."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import jwt
import pytest

from tests.authorization.signing import unsigned
from tests.clients.registering import site
from tests.conformance import forward
from tests.conformance.plans import CODE, Flow
from tests.conformance.rp import Rp, key
from tests.conformance.suite import CLAIMS, SETTINGS, check_error, decoded, discovery
from tests.conformance.test_requests import shows_an_error
from tests.support import http
from tests.support.browsing import Person
from tests.support.serving import RunningProvider

BY_KEY = Flow(CODE, auth="private_key_jwt")


@pytest.fixture
def documents() -> dict[str, object]:
    """What stands at the relying party's web server, by path."""
    return {}


@pytest.fixture
def home(documents: dict[str, object]) -> Iterator[str]:
    """The address of that server."""
    with site(documents) as address:
        yield address


def refuses(op: RunningProvider, error: str, *words: str, **members: object) -> None:
    """400 with the error of RFC 7591 §3.2.2, and which member was wrong."""
    answer = http.post(f"{op.issuer}/register", json=Rp.metadata(BY_KEY) | {"jwks": key().jwks} | members)
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    for word in words:
        assert word in answer.json()["error_description"]


def test_oidcc_discovery_endpoint_verification(op: RunningProvider) -> None:
    """What a dynamic OP must announce, what a static one should, and a JWKS that holds public keys alone."""
    found = discovery(op)
    assert found["issuer"] == op.issuer
    assert {"code", "id_token", "id_token token"} <= set(found["response_types_supported"])
    assert {"authorization_code", "implicit", "refresh_token"} <= set(found["grant_types_supported"])
    assert {"public", "pairwise"} == set(found["subject_types_supported"])
    assert "RS256" in found["id_token_signing_alg_values_supported"]
    assert "RS256" in found["userinfo_signing_alg_values_supported"]
    assert "RS256" in found["request_object_signing_alg_values_supported"]
    assert "openid" in found["scopes_supported"]
    assert {"sub", "name"} <= set(found["claims_supported"])
    for flag in ("claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported"):
        assert found[flag] is True
    for name in ("authorization", "token", "userinfo", "registration"):
        assert found[f"{name}_endpoint"].startswith(f"{op.issuer}/")
    keys = http.get(found["jwks_uri"]).json()["keys"]
    assert len({each["kid"] for each in keys}) == len(keys)
    assert not {"d", "p", "q", "k"} & {name for each in keys for name in each}


def test_oidcc_userinfo_rs256(op: RunningProvider, person: Person) -> None:
    """`userinfo_signed_response_alg`: a signed JWT with `iss` and `aud`, and without the `nonce` of the ID token."""
    party = Rp.register(op, BY_KEY, userinfo_signed_response_alg="RS256")
    given = party.sign_in(person, scope="openid profile")
    answer = http.get(f"{op.issuer}/userinfo", headers={"Authorization": f"Bearer {given.access_token}"})
    assert answer.headers["Content-Type"].split(";")[0] == "application/jwt"
    claims = decoded(op, answer.text, party.client_id)
    assert (claims["sub"], claims["name"]) == (given.claims["sub"], CLAIMS["name"])
    assert "nonce" not in claims
    party.unregister()


def test_oidcc_ensure_redirect_uri_in_authorization_request(op: RunningProvider, person: Person) -> None:
    """Even where only one is registered: OIDC Core §3.1.2.1."""
    party = Rp.register(op, BY_KEY)
    shows_an_error(party.ask(person, redirect_uri=None), "invalid_request", "redirect_uri")
    party.unregister()


def with_a_query(op: RunningProvider) -> Rp:
    return Rp.register(op, BY_KEY, redirect_uris=["https://suite.example.org/callback?foo=bar"])


def test_oidcc_redirect_uri_query_ok(op: RunningProvider, person: Person) -> None:
    """A registered query is kept beside the answer."""
    party = with_a_query(op)
    page = party.through(person, party.ask(person))
    assert page.query["foo"] == "bar"
    assert party.finish(page).claims
    party.unregister()


@pytest.mark.parametrize("query", ["?foo=baz", ""])
def test_oidcc_redirect_uri_query_mismatch(op: RunningProvider, person: Person, query: str) -> None:
    party = with_a_query(op)
    page = party.ask(person, redirect_uri=f"https://suite.example.org/callback{query}")
    shows_an_error(page, "invalid_request", "redirect_uri")
    party.unregister()


def test_oidcc_redirect_uri_query_added(op: RunningProvider, person: Person) -> None:
    party = Rp.register(op, BY_KEY)
    shows_an_error(party.ask(person, redirect_uri=f"{party.redirect_uri}?foo=bar"), "invalid_request", "redirect_uri")
    party.unregister()


def test_oidcc_redirect_uri_regfrag(op: RunningProvider) -> None:
    refuses(op, "invalid_redirect_uri", "redirect_uris", redirect_uris=["https://suite.example.org/callback#foobar"])


def test_oidcc_registration_logo_uri(op: RunningProvider, person: Person) -> None:
    """The sign-in page shows the app's logo, and may load it."""
    logo = "https://suite.example.org/images/logo.png"
    party = Rp.register(op, BY_KEY, logo_uri=logo)
    page = party.ask(person)
    assert page.main == "login-page"
    assert f'id="client-logo" src="{logo}"' in page.response.text
    images = next(
        each for each in page.response.headers["Content-Security-Policy"].split(";") if each.strip().startswith("img-src")
    )
    assert "https://suite.example.org" in images
    party.unregister()


def test_oidcc_registration_policy_uri(op: RunningProvider, person: Person) -> None:
    links_to(op, person, "policy")


def test_oidcc_registration_tos_uri(op: RunningProvider, person: Person) -> None:
    links_to(op, person, "tos")


def links_to(op: RunningProvider, person: Person, what: str) -> None:
    """The sign-in page has the link, and so has the consent page."""
    link = f'id="client-{what}" href="https://suite.example.org/{what}"'
    party = Rp.register(op, BY_KEY, **{f"{what}_uri": f"https://suite.example.org/{what}"})
    page = party.ask(person)
    assert page.main == "login-page"
    assert link in page.response.text
    assert link in person.sign_in(page, "alice", "correct horse battery staple").response.text
    party.unregister()


def test_oidcc_registration_jwks_uri(op: RunningProvider, person: Person, home: str, documents: dict[str, object]) -> None:
    """A client whose keys stand at an address of its own."""
    own = key("at-home")
    documents["/jwks"] = own.jwks
    party = Rp.register(op, BY_KEY, own_key=own, jwks=None, jwks_uri=f"{home}/jwks")
    assert party.sign_in(person).tokens
    party.unregister()


@pytest.fixture
def later(tmp_path: Path) -> Iterator[RunningProvider]:
    """A provider whose clock can be put forward."""
    running = RunningProvider(tmp_path, settings=dict(SETTINGS), program="tests.conformance.forward")
    running.start().add_user()
    yield running
    running.close()


def put_forward(op: RunningProvider, seconds: int) -> None:
    (op.data_dir / forward.FILE).write_text(str(seconds))


def test_oidcc_refresh_token_rp_key_rotation(later: RunningProvider, home: str, documents: dict[str, object]) -> None:
    """A minute later the client's new key is met: its `kid` is unknown, so the document is fetched again."""
    first, second, person = key("before"), key("after"), Person(later.issuer)
    documents["/jwks"] = first.jwks
    grants = ["authorization_code", "refresh_token"]
    party = Rp.register(later, BY_KEY, own_key=first, jwks=None, jwks_uri=f"{home}/jwks", grant_types=grants)
    given = party.sign_in(person, scope="openid offline_access", prompt="consent")
    documents["/jwks"] = second.jwks
    party.own_key = second
    put_forward(later, 60)
    valid = {"iat": int(time.time()) + 60, "exp": int(time.time()) + 120}
    answer = party.token({"grant_type": "refresh_token", "refresh_token": given.tokens["refresh_token"]}, **valid)
    assert answer.status_code == 200, answer.text
    assert party.userinfo(answer.json()["access_token"])["sub"] == given.claims["sub"]


def test_oidcc_registration_sector_uri(op: RunningProvider, home: str, documents: dict[str, object]) -> None:
    """A pairwise client whose `sector_identifier_uri` lists its redirect URI."""
    redirect_uri = "https://suite.example.org/callback"
    documents["/redirect_uris.json"] = [redirect_uri]
    members = {"redirect_uris": [redirect_uri], "subject_type": "pairwise"}
    party = Rp.register(op, BY_KEY, sector_identifier_uri=f"{home}/redirect_uris.json", **members)
    assert party.registration["subject_type"] == "pairwise"
    party.unregister()


def test_oidcc_registration_sector_bad(op: RunningProvider, home: str, documents: dict[str, object]) -> None:
    """And one that does not."""
    documents["/redirect_uris.json"] = ["https://suite.example.org/another"]
    address = f"{home}/redirect_uris.json"
    refuses(op, "invalid_client_metadata", "sector_identifier_uri", subject_type="pairwise", sector_identifier_uri=address)


def test_oidcc_server_rotate_keys(later: RunningProvider) -> None:
    """After a rotation there is another key, and still the old one. Its successor is announced once the new one signs."""

    def published() -> set[str]:
        return {each["kid"] for each in http.get(f"{later.issuer}/jwks").json()["keys"] if each["alg"] == "RS256"}

    before = published()
    later.cli("key", "rotate")
    put_forward(later, 900)
    deadline = time.monotonic() + 20
    while published() == before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert before < published()


class Objects:
    """The suite's web server for request objects: `application/oauth-authz-req+jwt`, whatever stands in `body`."""

    def __init__(self) -> None:
        self.body = b""
        objects = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/jose")
                self.send_header("Content-Length", str(len(objects.body)))
                self.end_headers()
                self.wfile.write(objects.body)

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.uri = f"http://localhost:{self._server.server_address[1]}/requests/one"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def objects() -> Iterator[Objects]:
    made = Objects()
    yield made
    made.close()


def asks_by_reference(party: Rp, person: Person, objects: Objects, *, signed: bool) -> None:
    """All parameters in the object; beside it only what OAuth demands."""
    inside = party.parameters()
    claims = {**inside, "aud": party.op.issuer, "iss": party.client_id}
    objects.body = (party.own_key.sign(claims) if signed else unsigned(inside)).encode()
    beside = {"client_id": party.client_id, "scope": "openid", "response_type": "code", "request_uri": objects.uri}
    page = person.open(str(httpx.URL(f"{party.op.issuer}/authorize", params=beside)))
    assert party.finish(party.through(person, page)).claims
    party.unregister()


def test_oidcc_request_uri_signed_rs256(op: RunningProvider, person: Person, objects: Objects) -> None:
    """A signed request object at a registered address."""
    party = Rp.register(op, BY_KEY, request_uris=[objects.uri], request_object_signing_alg="RS256")
    asks_by_reference(party, person, objects, signed=True)


def test_oidcc_request_uri_unsigned(op: RunningProvider, person: Person, objects: Objects) -> None:
    """The suite leaves it out where `none` is not announced. Who registers it is understood, and nobody else."""
    assert "none" not in discovery(op)["request_object_signing_alg_values_supported"]
    known = Rp.register(op, BY_KEY, request_uris=[objects.uri], request_object_signing_alg="none")
    asks_by_reference(known, person, objects, signed=False)
    silent = Rp.register(op, BY_KEY, request_uris=[objects.uri])
    objects.body = unsigned(silent.parameters()).encode()
    page = silent.ask(person, request_uri=objects.uri)
    check_error(silent.answered(page), "invalid_request_object")
    silent.unregister()


def test_oidcc_ensure_client_assertion_with_iss_aud_succeeds(op: RunningProvider, person: Person) -> None:
    """A client assertion whose `aud` is the issuer."""
    party = Rp.register(op, BY_KEY)
    code = party.answered(party.through(person, party.ask(person)))["code"]
    assert "id_token" in party.redeem(code, claims={"aud": op.issuer}).json()
    party.unregister()


def test_oidcc_3rd_party_init_login(op: RunningProvider) -> None:
    """`initiate_login_uri` is told back when registering, and when asked for later."""
    address = "https://suite.example.org/initiate_login"
    party = Rp.register(op, Flow(CODE), initiate_login_uri=address)
    assert party.registration["initiate_login_uri"] == address
    bearer = {"Authorization": f"Bearer {party.registration['registration_access_token']}"}
    answer = http.get(party.registration["registration_client_uri"], headers=bearer)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    assert answer.json()["initiate_login_uri"] == address
    party.registration |= {name: value for name, value in answer.json().items() if name == "registration_access_token"}
    party.unregister()


def test_oidcc_3rd_party_init_login_nohttps(op: RunningProvider) -> None:
    """And http is refused."""
    refuses(op, "invalid_client_metadata", "initiate_login_uri", initiate_login_uri="http://suite.example.org/initiate_login")


def test_a_module_of_the_suite_asks_with_a_key_that_has_no_kid(op: RunningProvider, person: Person) -> None:
    """The suite's own keys have none, unless a module is about that."""
    party = Rp.register(op, BY_KEY)
    assert "kid" not in jwt.get_unverified_header(party.assertion())
    assert party.sign_in(person).tokens
    party.unregister()
