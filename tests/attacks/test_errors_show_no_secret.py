"""An error inside any endpoint, in the midst of whatever secret it takes: neither log format shows it (THREATS: secrets in logs)."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from flask import Flask, request
from flask.logging import default_handler
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from werkzeug.routing import Rule

from idp import app
from idp.config import Settings
from idp.runtime import audit
from idp.runtime.database import Transaction
from idp.runtime.inbound.rsgi import RsgiApplication
from idp.runtime.migrations import upgrade

FORMATS = ("console", "json")
#: Every parameter, member and header in which something secret comes, of every endpoint, each with a value of its own.
NAMES = (
    "password current_password new_password username client_secret client_assertion code code_verifier refresh_token token "
    "access_token id_token_hint device_code user_code state nonce request subject_token login_hint csrf_token endpoint_url "
    "authorization_header state_of_verification value old new repeat current"
).split()
SECRETS = {name: f"s3cret-{name}-{'x' * 8}-{number}" for number, name in enumerate(NAMES)}
BASIC, BEARER, COOKIE = "s3cret-basic-password", "s3cret-bearer-token", "s3cret-cookie-value"
ALL = [*SECRETS.values(), BASIC, BEARER, COOKIE]
CREDENTIALS = base64.b64encode(f"app:{BASIC}".encode()).decode()


@dataclass
class World:
    web: Flask
    provider: app.Provider

    def rules(self) -> Iterator[tuple[Rule, str]]:
        for rule in self.web.url_map.iter_rules():
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method

    def send(self, rule: Rule, method: str) -> Iterator[int]:
        """Each way in which a secret comes to an endpoint; the statuses."""
        path = rule.rule
        for argument in rule.arguments:
            for converter in ("path:", "int:", ""):
                path = path.replace(f"<{converter}{argument}>", "1")
        bodies: list[dict[str, Any]] = [{"data": SECRETS}, {"json": SECRETS | {"delivery": SECRETS}}, {"query_string": SECRETS}]
        for body in bodies if method != "GET" else bodies[2:]:
            for authorization in (f"Basic {CREDENTIALS}", f"Bearer {BEARER}"):
                client = self.web.test_client()
                client.set_cookie("idp_session", COOKIE)
                headers = {"Authorization": authorization, "Origin": "http://localhost:8000"}
                yield client.open(path, method=method, headers=headers, **body).status_code


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("errors"),
        clients_registration="open",
        signals_status_list=True,
        logout_frontchannel=True,
        sessions_management=True,
        accounts_argon2_memory_kib=64,
        accounts_argon2_time_cost=1,
        database_lock_timeout=1,
    )
    provider = app.build(settings)
    upgrade(provider.database)
    provider.keys.keep_up()
    web = app.create_app(provider)
    web.config["WTF_CSRF_ENABLED"] = False  # it would refuse what is to fail further in
    yield World(web, provider)
    provider.database.dispose()


@pytest.fixture(params=FORMATS)
def log(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], world: World
) -> Iterator[pytest.CaptureFixture[str]]:
    """Both kinds of line, as `idp serve` writes them: our own, and what libraries say (Flask's logger above all)."""
    before, stream = structlog.get_config(), audit._sink.stream
    said_past_us = [handler for handler in world.web.logger.handlers if handler is not default_handler]
    audit.configure(request.param, "debug")
    world.web.logger.handlers[:] = [audit._Others(logging.WARNING)]
    yield capsys
    world.web.logger.handlers[:] = said_past_us
    structlog.configure(**before)
    audit._sink.stream = stream


def shown(said: str) -> list[str]:
    return [secret for secret in [*ALL, CREDENTIALS] if secret in said]


def test_every_endpoint_that_fails_inside_logs_where_and_no_secret(
    world: World, log: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an endpoint holds while it fails: the form, the credentials, the cookies; the error may quote all of them."""

    def failing(**arguments: object) -> None:
        form, cookies, proof = request.values.to_dict(), dict(request.cookies), request.headers.get("Authorization")
        sent = request.get_json(silent=True)
        try:
            raise KeyError(f"{form} {sent}")
        except KeyError as error:
            raise RuntimeError(f"boom {form} {cookies} {proof} {request.authorization} {arguments}") from error

    views = dict.fromkeys(world.web.view_functions, failing)
    monkeypatch.setattr(world.web, "view_functions", views)
    reached = 0
    for rule, method in world.rules():
        for status in world.send(rule, method):
            said = log.readouterr()
            assert shown(said.out + said.err) == [], f"{method} {rule.rule}"
            if status == 500:
                reached += 1
                assert "RuntimeError: boom" in said.err, f"{method} {rule.rule}"
                assert "in failing" in said.err
    assert reached > 2 * len(list(world.rules()))


@contextmanager
def no_database() -> Iterator[None]:
    def fail(tx: Transaction, statement: object, parameters: object = None) -> None:
        raise OperationalError(str(statement), parameters, Exception(f"the row is ({request.values.to_dict()})"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transaction, "execute", fail)
        yield


def test_every_endpoint_whose_database_fails_under_it_logs_no_secret(world: World, log: pytest.CaptureFixture[str]) -> None:
    """In the midst of the real code, with its own variables."""
    failed = 0
    with no_database():
        for rule, method in world.rules():
            for _ in world.send(rule, method):
                said = log.readouterr()
                assert shown(said.out + said.err) == [], f"{method} {rule.rule}"
                failed += "Traceback" in said.err or "failed" in said.err
    assert failed > 0


def test_a_sign_in_while_another_program_holds_the_database_shows_no_password(
    world: World, log: pytest.CaptureFixture[str]
) -> None:
    accounts, database = world.provider.accounts, world.provider.database
    person = accounts.prepare("alice", SECRETS["password"])
    with database.writing() as tx:
        added = accounts.add(tx, person)
    with database.writing() as tx:
        tx.execute(text("SELECT 1"))
        answer = world.web.test_client().post("/login", data={"username": "alice", "password": SECRETS["password"]})
    said = log.readouterr()
    assert answer.status_code >= 500
    assert shown(said.out + said.err) == []
    with database.writing() as tx:
        accounts.remove(tx, added.subject)


# -- and what no view answers -----------------------------------------------------------------------------------------------


@dataclass
class Scope:
    path: str = "/token"
    method: str = "POST"
    query_string: str = "code=" + SECRETS["code"]
    http_version: str = "1.1"
    scheme: str = "http"
    server: str = "127.0.0.1:8000"
    client: str = "127.0.0.1:9"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Protocol:
    body: bytes
    answers: list[tuple[int, list[tuple[str, str]], bytes]] = field(default_factory=list)

    async def _parts(self) -> Any:
        yield self.body

    def __aiter__(self) -> Any:
        return self._parts()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.answers.append((status, headers, content))

    async def client_disconnect(self) -> None:
        await asyncio.Event().wait()


class Lane:
    def serves(self, path: str) -> bool:
        return path == "/lane"

    async def answer(self, asked: Any) -> Any:
        raise RuntimeError(f"boom {asked.headers} {asked.body}")


@pytest.mark.parametrize("path", ["/token", "/lane"])
def test_what_fails_before_any_view_is_a_500_of_ours_and_shows_no_secret(path: str, log: pytest.CaptureFixture[str]) -> None:
    def application(environ: dict[str, Any], _start: object) -> Any:
        body = environ["wsgi.input"].read()
        raise RuntimeError(f"boom {body} {environ}")

    body = "&".join(f"{name}={value}" for name, value in SECRETS.items()).encode()
    headers = {
        "authorization": f"Basic {CREDENTIALS}",
        "cookie": f"idp_session={COOKIE}; other=1",
        "content-length": str(len(body)),
    }
    gateway = RsgiApplication(application, maximum_body=65536, is_quick=lambda _path: False, lanes=[Lane()])
    protocol = Protocol(body)
    asyncio.run(gateway.__rsgi__(Scope(path, headers=headers), protocol))  # type: ignore[arg-type]
    ((status, sent, content),) = protocol.answers
    assert status == 500
    assert json.loads(content)["error"] == "server_error"
    assert dict(sent)["X-Content-Type-Options"] == "nosniff"
    said = log.readouterr()
    assert "RuntimeError: boom" in said.err
    assert shown(said.out + said.err) == []


def test_there_is_a_secret_for_each_endpoint_that_takes_one(world: World) -> None:
    """What is enumerated is what is there."""
    paths = {rule.rule for rule, _ in world.rules()}
    assert {"/token", "/login", "/register", "/introspect", "/revoke", "/authorize", "/logout", "/userinfo"} <= paths
