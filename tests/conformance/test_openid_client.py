"""npm's openid-client as a relying party: every flow that both it and we have, its checks in their strictest form."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.registering import site
from tests.conformance.suite import CLAIMS, PASSWORD
from tests.support import npm
from tests.support.browsing import Page, Person
from tests.support.serving import RunningProvider

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database

PROGRAM = Path(__file__).parent / "openid_client"
REDIRECT_URI = "https://node.example.org/callback"
BYE = "https://node.example.org/bye"
OBJECT = "/request.jwt"


def metadata(method: str = "client_secret_basic", **more: object) -> dict[str, object]:
    return {
        "redirect_uris": [REDIRECT_URI],
        "post_logout_redirect_uris": [BYE],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "client_name": "Node",
    } | more


class Program:
    """The relying party's process."""

    def __init__(self, op: RunningProvider, scenario: dict[str, object]) -> None:
        words = [npm.program("node"), "relying_party.mjs", json.dumps({"issuer": op.issuer} | scenario)]
        self.process = subprocess.Popen(
            words, cwd=npm.installed(PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        heard: dict[str, Any] = json.loads(line)
        assert "failed" not in heard, heard
        return heard

    def say(self, line: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()


@contextmanager
def running(op: RunningProvider, **scenario: object) -> Iterator[Program]:
    program = Program(op, scenario)
    with program.process:
        yield program
        program.process.kill()


def walk(
    op: RunningProvider, *, person: Person | None = None, documents: dict[str, object] | None = None, **scenario: object
) -> dict[str, Any]:
    """Be its person, and the server where its request object stands, until it says what it found."""
    person, served = person or Person(op.issuer), {} if documents is None else documents
    with running(op, **scenario) as program:
        while "found" not in (heard := program.hear()):
            if heard.get("request"):
                served[OBJECT] = str(heard["request"]).encode()
            page = _through(person, person.open(heard["url"]))
            program.say(
                {"url": REDIRECT_URI, "form": page.forms[0].fields} if page.main == "form-post-page" else {"url": page.url}
            )
        return dict(heard["found"])


def _through(person: Person, page: Page) -> Page:
    """Sign in, allow, and say yes to signing out."""
    if page.main == "login-page":
        page = person.sign_in(page, "alice", PASSWORD)
    if page.main == "consent-page":
        page = person.submit(page, "consent-allow")
    if page.main == "logout-page":
        page = person.submit(page, "logout-confirm")
    return page


def whole(found: dict[str, Any]) -> None:
    """The whole walk: code, userinfo, refresh, introspection, revocation, and a way out with `state`."""
    assert found["userinfo"]["name"] == CLAIMS["name"]
    assert found["refreshed"]["sub"] == found["claims"]["sub"]
    assert found["refreshed"]["auth_time"] == found["claims"]["auth_time"]
    assert found.get("introspected", {"active": True})["active"] is True
    assert found["after"] == "invalid_grant"
    assert found["left"] == f"{BYE}?state=bye"


METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none")


@pytest.mark.parametrize("method", METHODS)
def test_code_refresh_introspection_revocation_and_logout_by_every_authentication(op: RunningProvider, method: str) -> None:
    whole(walk(op, metadata=metadata(method)))


def test_an_id_token_of_another_algorithm(op: RunningProvider) -> None:
    whole(walk(op, metadata=metadata(id_token_signed_response_alg="ES256")))


def test_signed_userinfo_with_every_signature_verified(op: RunningProvider) -> None:
    whole(walk(op, metadata=metadata(userinfo_signed_response_alg="RS256"), signed_userinfo=True))


@pytest.mark.parametrize("alg", ["RSA-OAEP-256", "ECDH-ES"])
def test_id_tokens_and_userinfo_that_are_encrypted_to_the_client(op: RunningProvider, alg: str) -> None:
    encryption = {"alg": alg, "enc": "A256GCM"}
    wishes = {
        f"{what}_encrypted_response_{name}": value for what in ("id_token", "userinfo") for name, value in encryption.items()
    }
    signed = {"userinfo_signed_response_alg": "RS256"}
    found = walk(op, metadata=metadata("private_key_jwt", **wishes, **signed), encrypted=alg)
    assert found["userinfo"]["name"] == CLAIMS["name"]
    assert found["after"] == "invalid_grant"


def test_a_signed_request_object(op: RunningProvider) -> None:
    whole(walk(op, metadata=metadata("private_key_jwt", request_object_signing_alg="RS256"), request_object=True))


def test_a_signed_request_object_by_reference(op: RunningProvider) -> None:
    documents: dict[str, object] = {}
    with site(documents) as home:
        members = {"request_uris": [home + OBJECT], "request_object_signing_alg": "RS256"}
        whole(walk(op, metadata=metadata("private_key_jwt", **members), request_uri=home + OBJECT, documents=documents))
    assert documents[OBJECT]


def test_pairwise_subjects(op: RunningProvider) -> None:
    """Two clients of one sector know a person by one name, and one of another sector by another."""
    person = Person(op.issuer)
    with site({"/sector.json": [REDIRECT_URI]}) as home:
        sector = {"subject_type": "pairwise", "sector_identifier_uri": f"{home}/sector.json"}
        found = [walk(op, person=person, metadata=metadata(**members)) for members in (sector, sector, {})]
    for each in found:
        whole(each)
        assert each["userinfo"]["sub"] == each["claims"]["sub"]
    names = [each["claims"]["sub"] for each in found]
    assert names[0] == names[1] != names[2]


def test_an_answer_by_form_post(op: RunningProvider) -> None:
    whole(walk(op, metadata=metadata(), parameters={"response_mode": "form_post"}))


HYBRID = {"grant_types": ["authorization_code", "refresh_token", "implicit"], "response_types": ["code id_token"]}


@pytest.mark.parametrize("mode", ["fragment", "form_post"])
def test_the_hybrid_flow(op: RunningProvider, mode: str) -> None:
    whole(walk(op, metadata=metadata(**HYBRID), response_type="code id_token", parameters={"response_mode": mode}))


@pytest.mark.parametrize("mode", ["fragment", "form_post"])
def test_the_implicit_flow(op: RunningProvider, mode: str) -> None:
    implicit = {"grant_types": ["implicit"], "response_types": ["id_token"]}
    asked = {"scope": "openid profile", "response_mode": mode}
    found = walk(op, metadata=metadata("none", **implicit), response_type="id_token", parameters=asked)
    assert found["claims"]["name"] == CLAIMS["name"]


def test_client_credentials(op: RunningProvider) -> None:
    app = op.add_client({"grant_types": ["client_credentials"], "scope": "api"})
    with running(op, client_id=app["client_id"], metadata=app) as program:
        assert program.hear()["found"]["introspected"]["scope"] == "api"
