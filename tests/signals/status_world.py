"""A deployment with status lists under a clock that is moved by hand, asked as a relying party asks: by HTTP alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from idp import app
from idp.app import Provider
from idp.clients.rules import Client
from idp.config import Settings
from idp.issuing.service import Tokens
from idp.runtime import migrations
from idp.sessions.rules import SignIn
from idp.status_list import service
from idp.tokens.rules import Authorization, Family
from tests.keys.grounds import Clock
from tests.support.accounts import there_is
from tests.support.databases import DIALECTS, migrated
from tests.support.status_lists import StatusList, reference

ISSUER = "https://idp.example"
TTL, IDLE, ABSOLUTE, LIFETIME = 15, 3_600, 36_000, 300


@dataclass
class World:
    """One process of a deployment."""

    url: str
    clock: Clock
    provider: Provider
    passed: Clock = field(default_factory=Clock)
    others: list["World"] = field(default_factory=list)

    @classmethod
    def build(cls, url: str, clock: Clock, **settings: object) -> "World":
        chosen: dict[str, object] = {
            "issuer": ISSUER,
            "database_url": url,
            "secret_key": "a secret of the tests that is long enough",
            "sessions_idle_timeout": IDLE,
            "sessions_absolute_timeout": ABSOLUTE,
            "clients_cache_seconds": 5,
            "signals_status_list": True,
        }
        provider = app.build(Settings.model_validate(chosen | settings), clock)
        migrations.upgrade(provider.database)
        provider.keys.keep_up()
        return cls(url, clock, provider)

    def another(self, **settings: object) -> "World":
        """Another process over the same database."""
        self.others.append(World.build(self.url, self.clock, **settings))
        return self.others[-1]

    @cached_property
    def web(self) -> FlaskClient:
        return app.create_app(self.provider).test_client()

    # -- what is given ----------------------------------------------------------------------------------------------

    def add_client(self) -> Client:
        metadata = {
            "redirect_uris": ["https://app.example/cb"],
            "grant_types": ["authorization_code", "refresh_token"],
            "first_party": True,
        }
        with self.provider.database.writing() as tx:
            return self.provider.clients.add(tx, metadata).client

    def sign_in(self, subject: str = "alice") -> str:
        with self.provider.database.writing() as tx:
            there_is(tx, subject)
            return self.provider.sessions.start(tx, SignIn(subject, "pwd", "192.0.2.1", "a browser")).session.sid

    def allow(self, client: Client, sid: str, *, subject: str = "alice", offline: bool = False) -> "Given":
        """What a code exchange gives."""
        door = self.provider.issuing
        given = Authorization(client.client_id, subject, sid, "openid", offline, self.clock.now, "1", "pwd")
        with self.provider.database.writing() as tx:
            permit = door.begin(tx, "authorization_code", client, given)
            issued = door.first(tx, permit, door.new_family_id(), refreshable=True, id_token=False, nonce=None)
        return self._given(issued)

    def refresh(self, client: Client, refresh_token: str) -> "Given":
        door = self.provider.issuing
        with self.provider.database.writing() as tx:
            issued = door.next(tx, door.refresh(tx, client, refresh_token, "openid"))
        return self._given(issued)

    def _given(self, issued: Tokens) -> "Given":
        assert issued.access is not None
        assert issued.refresh_token is not None
        with self.provider.database.reading() as tx:
            family = self.provider.tokens.family_of_refresh_token(tx, issued.refresh_token)
        assert family is not None
        return Given(family, issued.access.text, issued.refresh_token)

    # -- what is heard ----------------------------------------------------------------------------------------------

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.web.get(path, headers=headers)

    def jwks(self) -> Mapping[str, object]:
        found: Mapping[str, object] = self.get("/jwks").json
        return found

    def list(self, number: int = 0) -> StatusList:
        response = self.get(f"/status/{number}")
        assert response.status_code == 200, response.text
        return StatusList.verified(response.text, self.jwks(), f"{ISSUER}/status/{number}")

    def status(self, given: "Given") -> int:
        """What the list that its access token names says of it."""
        uri, index = reference(given.access_token)
        assert uri.startswith(f"{ISSUER}/status/")
        return self.list(int(uri.rpartition("/")[2]))[index]

    def later(self, given: "Given", seconds: float = TTL) -> int:
        self.clock.now += seconds
        return self.status(given)


@dataclass(frozen=True)
class Given:
    family: Family
    access_token: str
    refresh_token: str


@pytest.fixture(params=DIALECTS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The clock that nobody sets stands still, unless a test moves `passed`."""
    made = World.build(migrated(request, tmp_path), Clock())
    monkeypatch.setattr(service, "elapsed", made.passed)
    yield made
    for each in (made, *made.others):
        each.provider.database.dispose()
