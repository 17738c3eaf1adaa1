"""`idp client check`: a correct receiver passes, and what a careless one forgets is named in words."""

import json
import secrets
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from examples.receiver import Receiver
from idp.logout.rules import Reason
from idp.sessions.rules import SignIn
from tests.cli.running import run
from tests.support.serving import RunningProvider
from tests.verifier.conftest import until

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database

Answering = Callable[[bytes], tuple[int, dict[str, str]]]


@contextmanager
def listening(answer: Answering) -> Iterator[str]:
    """A relying party's endpoint that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, headers = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            for name, value in ({"Content-Length": "0"} | headers).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}/logout"
    server.shutdown()
    server.server_close()


def register(provider: RunningProvider, uri: str) -> str:
    metadata = {"redirect_uris": ["https://app.example/cb"], "backchannel_logout_uri": uri}
    return str(provider.add_client(metadata)["client_id"])


def test_the_receiver_of_our_examples_passes_every_check(provider: RunningProvider) -> None:
    parts: dict[str, Receiver] = {}

    def answer(body: bytes) -> tuple[int, dict[str, str]]:
        given = parts["receiver"].receive(body, lambda _token: None)
        return given.status, {"Cache-Control": given.headers["Cache-Control"]}

    with listening(answer) as uri:
        client_id = register(provider, uri)
        parts["receiver"] = Receiver(issuer=provider.issuer, client_id=client_id)
        checks = run(provider, "client", "check", client_id, "--json").json
        table = run(provider, "client", "check", client_id).out
    assert [check["verdict"] for check in checks] == ["good"] * 11, checks
    assert "a valid logout token" in table


def test_one_that_takes_everything_is_told_what_it_forgets(provider: RunningProvider) -> None:
    with listening(lambda _body: (200, {})) as uri:
        said = run(provider, "client", "check", register(provider, uri), "--json")
    assert said.code == 1
    checks = {check["sent"]: check for check in json.loads(said.out)}
    assert "Cache-Control: no-store" in checks["a valid logout token"]["words"]
    for sent, word in {
        "one for another client": "aud",
        "one with a nonce": "nonce",
        "one that expired": "exp",
        "one with alg none": "alg",
        "one with a wrong signature": "signature",
        "one without events": "events",
    }.items():
        assert checks[sent]["verdict"] == "wrong"
        assert word in checks[sent]["words"]


@pytest.mark.parametrize(
    ("status", "words"), [(302, "redirects are not followed"), (404, "answer 200 or 204"), (500, "answer 200 or 204")]
)
def test_one_that_refuses_a_valid_token_is_told_so(provider: RunningProvider, status: int, words: str) -> None:
    with listening(lambda _body: (status, {"Location": "http://169.254.169.254/"})) as uri:
        said = run(provider, "client", "check", register(provider, uri), "--json")
    assert said.code == 1
    assert words in json.loads(said.out)[0]["words"]


def test_one_that_is_not_there_is_one_row(provider: RunningProvider) -> None:
    with listening(lambda _body: (200, {})) as uri:
        client_id = register(provider, uri)
    said = run(provider, "client", "check", client_id, "--json")
    assert said.code == 1
    assert [(check["answer"], check["verdict"]) for check in json.loads(said.out)] == [("-", "wrong")]


def test_a_client_that_cannot_be_told_is_one_sentence(provider: RunningProvider) -> None:
    client_id = str(provider.add_client({"redirect_uris": ["https://app.example/cb"]})["client_id"])
    said = run(provider, "client", "check", client_id)
    assert said.code == 1
    assert "registered no backchannel_logout_uri" in said.err
    assert "There is no client" in run(provider, "client", "check", "nobody").err


def claims_of(body: bytes) -> dict[str, object]:
    """What a token says, without looking at its signature; nothing of what is no token."""
    token = parse_qs(body.decode())["logout_token"][0]
    try:
        return json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    except (IndexError, ValueError):
        return {}


@contextmanager
def saying(answer: Callable[[bytes], tuple[int, dict[str, str]]]) -> Iterator[str]:
    """A relying party's endpoint that says something in JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, document = answer(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}/logout"
    server.shutdown()
    server.server_close()


def as_quarkus(body: bytes) -> tuple[int, dict[str, str]]:
    """Quarkus as it comes: no `sub`, no logout."""
    return (200, {}) if "sub" in claims_of(body) else (400, {"error": "invalid_request"})


def test_one_that_demands_a_sub_is_found_out_and_the_member_is_named(provider: RunningProvider) -> None:
    with saying(as_quarkus) as uri:
        said = run(provider, "client", "check", register(provider, uri), "--json")
        metadata = {
            "redirect_uris": ["https://app.example/cb"],
            "backchannel_logout_uri": uri,
            "backchannel_logout_include_sub": True,
        }
        named = run(provider, "client", "check", str(provider.add_client(metadata)["client_id"]), "--json")
    checks = {check["sent"]: check for check in json.loads(said.out)}
    assert said.code == 1
    assert checks["a valid logout token"]["verdict"] == "wrong"
    assert "backchannel_logout_include_sub" in checks["one with a sub as well"]["words"]
    assert json.loads(named.out)[0]["verdict"] == "good"
    assert "one with a sub as well" not in named.out


def test_a_receiver_s_own_words_are_shown_and_are_only_words(provider: RunningProvider) -> None:
    words = {"error": "invalid_request", "error_description": "the audience\x1b[31m is\nwrong " + "x" * 1000}
    with saying(lambda _body: (400, words)) as uri:
        client_id = register(provider, uri)
        said = run(provider, "client", "check", client_id, "--json")
        table = run(provider, "client", "check", client_id)
    first = json.loads(said.out)[0]
    assert first["said"].startswith("invalid_request: the audience [31m is wrong")
    assert len(first["said"]) < 300
    assert "\x1b" not in table.out + said.out
    assert "the audience" in table.out
    assert "issuer" not in first["words"]


@pytest.mark.parametrize(
    "description",
    [
        "iss is not ours",
        "Issuer mismatch",
        "expected https://id.example.org",
        "token from http://localhost:1/, want https://x.example.",
    ],
)
def test_one_that_expects_another_issuer_is_told_which_is_ours(provider: RunningProvider, description: str) -> None:
    with saying(lambda _body: (400, {"error": "invalid_token", "error_description": description})) as uri:
        said = run(provider, "client", "check", register(provider, uri), "--json")
    first = json.loads(said.out)[0]
    assert f"ours is {provider.issuer}, to the letter" in first["words"]
    assert description in first["said"]


def test_a_command_that_signs_for_another_issuer_than_is_served_says_so(provider: RunningProvider) -> None:
    other = provider.issuer.replace("localhost", "127.0.0.1")
    with saying(lambda _body: (200, {})) as uri:
        said = run(provider, "client", "check", register(provider, uri), "--json", ISSUER=other)
    first = json.loads(said.out)[0]
    assert (said.code, first["verdict"]) == (1, "wrong")
    assert "IDP_ISSUER" in first["words"]
    assert provider.issuer in first["words"]


def test_a_party_that_never_took_a_token_is_shown_with_a_hint_and_one_that_did_is_not(provider: RunningProvider) -> None:
    with saying(as_quarkus) as uri:
        stubborn = register(provider, uri)
        _tell(provider, stubborn)
        until(lambda: _died(provider, stubborn))
        row = next(each for each in provider.json("delivery", "list") if each["client_id"] == stubborn)
        party = next(each for each in provider.json("delivery", "parties") if each["client_id"] == stubborn)
        line = next(each for each in provider.events("delivery.died") if each["client_id"] == stubborn)
        for told in (row["last_error"], party["last_error"], line["error"]):
            assert "backchannel_logout_include_sub" in str(told)
            assert "idp client check" in str(told)
        assert (party["circuit"], party["failures"]) == ("closed", 1)
    answers = iter([200, 400])
    with saying(lambda _body: (next(answers), {})) as uri:
        once = register(provider, uri)
        _tell(provider, once)
        until(lambda: [each for each in provider.events("delivery.delivered") if each["client_id"] == once])
        _tell(provider, once)
        until(lambda: _died(provider, once))
    assert "include_sub" not in str(_died(provider, once)[0]["error"])
    assert once not in [each["client_id"] for each in provider.json("delivery", "parties")]


def _tell(provider: RunningProvider, client_id: str) -> None:
    """A session in which this client took part ends."""
    services = provider.services
    client = services.clients.find(client_id)
    with services.database.writing() as tx:
        account = services.accounts.add(
            tx, services.accounts.prepare(f"p{secrets.token_hex(4)}", "correct horse battery staple")
        )
        session = services.sessions.start(tx, SignIn(account.subject, "pwd", "192.0.2.1", "a browser")).session
        services.sessions.take_part(tx, session, client)
        services.logout.end_session(tx, session.sid, Reason.OPERATOR)


def _died(provider: RunningProvider, client_id: str) -> list[dict[str, object]]:
    return [each for each in provider.events("delivery.died") if each["client_id"] == client_id]
