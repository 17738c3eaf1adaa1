"""`idp client check`: a correct receiver passes, and what a careless one forgets is named in words."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from examples.receiver import Receiver
from tests.cli.running import run
from tests.support.serving import RunningProvider

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
