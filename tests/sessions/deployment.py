"""A whole deployment in this process, under a clock that is moved by hand, asked by HTTP as browsers and apps ask."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from idp import app
from idp.app import Provider
from idp.clients.rules import Client
from idp.config import Settings
from idp.runtime import migrations
from idp.tokens.issuing import TokenIssuer
from idp.tokens.rules import Authorization
from tests.keys.grounds import Clock

ISSUER = "https://idp.example"
PASSWORD = "correct horse battery staple"
IDLE, ABSOLUTE = 7200, 43_200
CALLBACK = "https://app.example/callback"


@dataclass
class Deployment:
    """One process of a deployment, with Alice and an app."""

    provider: Provider
    clock: Clock
    client: Client
    secret: str

    @classmethod
    def build(cls, url: str, clock: Clock, **settings: object) -> "Deployment":
        chosen: dict[str, object] = {
            "issuer": ISSUER,
            "database_url": url,
            "secret_key": "a secret of the tests that is long enough",
            "accounts_argon2_memory_kib": 8,
            "accounts_argon2_time_cost": 1,
            "clients_cache_seconds": 0,
            "sessions_idle_timeout": IDLE,
            "sessions_absolute_timeout": ABSOLUTE,
        }
        provider = app.build(Settings.model_validate(chosen | settings), clock)
        migrations.upgrade(provider.database)
        provider.keys.keep_up()
        alice = provider.accounts.prepare("alice", PASSWORD)
        metadata = {"redirect_uris": [CALLBACK], "grant_types": ["authorization_code", "refresh_token"], "first_party": True}
        with provider.database.writing() as tx:
            provider.accounts.add(tx, alice)
            added = provider.clients.add(tx, metadata)
        assert added.secret is not None
        return cls(provider, clock, added.client, added.secret)

    def close(self) -> None:
        self.provider.database.dispose()

    @cached_property
    def web(self) -> Flask:
        return app.create_app(self.provider)

    def browser(self) -> "Browser":
        """A browser in which Alice has signed in."""
        browser = Browser(self.web.test_client())
        assert browser.submit("/login", "/login", username="alice", password=PASSWORD).status_code == 303
        return browser

    def allow(self, browser: "Browser", *, offline: bool = False) -> dict[str, str]:
        """What a code exchange gives the app, in the session of a browser."""
        provider = self.provider
        with provider.database.writing() as tx:
            account = provider.accounts.find(tx, "alice")
            assert account is not None
            session = provider.sessions.hold(tx, browser.sid)
            assert session is not None
            given = Authorization(self.client.client_id, account.subject, session.sid, "openid", offline, tx.now, "1", "pwd")
            family, refresh_token = TokenIssuer(provider.tokens).start_family(
                tx, TokenIssuer(provider.tokens).new_family_id(), given, refreshable=True
            )
            access_token = TokenIssuer(provider.tokens).access_token(tx, self.client, family, "openid", session).text
        assert refresh_token is not None
        return {"refresh_token": refresh_token, "access_token": access_token}

    # -- what an app asks -------------------------------------------------------------------------------------------

    def post(self, path: str, **data: str) -> TestResponse:
        return self.web.test_client().post(path, data=data, auth=(self.client.client_id, self.secret))

    def refresh(self, token: str) -> TestResponse:
        return self.post("/token", grant_type="refresh_token", refresh_token=token)

    def refreshed(self, token: str) -> Mapping[str, str]:
        answer = self.refresh(token)
        assert answer.status_code == 200, answer.text
        found: Mapping[str, str] = answer.json
        return found

    def userinfo(self, token: str) -> int:
        return self.web.test_client().get("/userinfo", headers={"Authorization": f"Bearer {token}"}).status_code

    def introspect(self, token: str) -> bool:
        found: dict[str, bool] = self.post("/introspect", token=token).json
        return found["active"]

    def revoke(self, token: str) -> int:
        return self.post("/revoke", token=token).status_code


@dataclass
class Browser:
    """Somebody's browser: it keeps cookies, and sends back the token of the form that it fills in."""

    http: FlaskClient

    def submit(self, page: str, action: str, headers: Mapping[str, str] | None = None, **fields: str) -> TestResponse:
        """Send the form of `page` to `action`."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.open(page).text)
        assert token is not None
        return self.http.post(action, data={"csrf_token": token[1], **fields}, headers=headers, base_url=ISSUER)

    def open(self, path: str) -> TestResponse:
        return self.http.get(path, base_url=ISSUER)

    @property
    def is_signed_in(self) -> bool:
        return self.open("/account").status_code == 200

    @property
    def sid(self) -> str:
        """The session that the account page shows first: this one."""
        found = re.search(r'name="sid" value="([^"]+)"', self.open("/account").text)
        assert found is not None
        return found[1]
