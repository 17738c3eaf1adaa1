"""A deployment where clients may register themselves, under a clock that is moved by hand, asked over HTTP alone."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from idp import app
from idp.app import Provider
from idp.config import Settings
from idp.runtime import migrations
from tests.keys.grounds import Clock

ISSUER = "http://localhost:8000"
METADATA = {"redirect_uris": ["https://app.example/callback"], "client_name": "An app"}
#: Addresses of people who register, so that the tries of one test are not counted in another.
_addresses = iter(f"198.51.{number // 256}.{number % 256}" for number in range(65_536))


@dataclass
class World:
    """One process of a deployment."""

    provider: Provider
    clock: Clock
    address: str = field(default_factory=lambda: next(_addresses))

    @classmethod
    def build(cls, url: str, **settings: object) -> "World":
        clock = Clock()
        chosen: dict[str, object] = {
            "issuer": ISSUER,
            "database_url": url,
            "secret_key": "a secret of the tests that is long enough",
            "clients_cache_seconds": 0,
            "clients_registration": "open",
        }
        provider = app.build(Settings.model_validate(chosen | settings), clock)
        migrations.upgrade(provider.database)
        provider.keys.keep_up()
        return cls(provider, clock)

    @cached_property
    def web(self) -> FlaskClient:
        return app.create_app(self.provider).test_client()

    def send(self, method: str, path: str, bearer: str | None = None, body: object = None, **more: object) -> TestResponse:
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        if body is not None:
            more |= {"data": body if isinstance(body, bytes | str) else json.dumps(body), "content_type": "application/json"}
        return self.web.open(path, method=method, headers=headers, environ_overrides={"REMOTE_ADDR": self.address}, **more)

    def try_to_register(self, bearer: str | None = None, **members: object) -> TestResponse:
        return self.send("POST", "/register", bearer, METADATA | members)

    def register(self, bearer: str | None = None, **members: object) -> "Own":
        answer = self.try_to_register(bearer, **members)
        assert answer.status_code == 201, answer.text
        return Own(self, answer.json)

    def initial_token(self, uses: int = 1, lifetime: int = 3600) -> str:
        with self.provider.database.writing() as tx:
            return self.provider.registrations.make_token(tx, uses=uses, lifetime=lifetime)[1]

    def count(self) -> int:
        with self.provider.database.reading() as tx:
            return self.provider.clients.count_registered(tx)


@dataclass
class Own:
    """A client that registered itself, and what it was answered."""

    world: World
    answer: dict[str, object]

    @property
    def client_id(self) -> str:
        return str(self.answer["client_id"])

    @property
    def token(self) -> str:
        return str(self.answer["registration_access_token"])

    @property
    def path(self) -> str:
        uri = str(self.answer["registration_client_uri"])
        assert uri.startswith(ISSUER)
        return uri.removeprefix(ISSUER)

    def get(self, bearer: str | None = None) -> TestResponse:
        return self.world.send("GET", self.path, bearer or self.token)

    def put(self, bearer: str | None = None, **members: object) -> TestResponse:
        return self.world.send("PUT", self.path, bearer or self.token, METADATA | {"client_id": self.client_id} | members)

    def delete(self, bearer: str | None = None) -> TestResponse:
        return self.world.send("DELETE", self.path, bearer or self.token)

    def can_authenticate(self) -> bool:
        """By its secret: an unknown token is revoked with 200."""
        auth = (self.client_id, str(self.answer["client_secret"]))
        return self.world.web.post("/revoke", data={"token": "x"}, auth=auth).status_code == 200


def refused(answer: TestResponse, error: str, *words: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json["error"]) == (status, error), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    for word in words:
        assert word in answer.json["error_description"], answer.text


@contextmanager
def site(documents: dict[str, object]) -> Iterator[str]:
    """Somebody's web server: documents by path, which may change; the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = documents.get(self.path)
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
