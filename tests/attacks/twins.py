"""Two instances of one deployment in this process, and one request that both get at the same moment.

On PostgreSQL each waits before the first thing that a transaction writes until the other has come as far: so whatever both
have read before is the same, which is the moment that a race is lost in. SQLite lets one writer in at a time.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from idp import app
from idp.app import Provider
from idp.config import Settings
from idp.runtime import migrations
from idp.runtime.secrets import b64url, token
from tests.support import http
from tests.support.browsing import Page, Person

ISSUER = "http://localhost:8000"
PASSWORD = "correct horse battery staple"
#: So long one waits for the other where they cannot both come there: it may wait for a lock that this one has.
_PATIENCE = 0.5
_MEETINGS = 8
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|WITH\b.*\b(INSERT|UPDATE|DELETE))\b", re.IGNORECASE | re.DOTALL)
_T = TypeVar("_T")
_racing = threading.local()


@dataclass(frozen=True)
class Request:
    """What is sent twice."""

    method: str
    path: str
    form: Mapping[str, str] | None = None
    json: object = None
    cookie: str = ""
    bearer: str = ""
    auth: tuple[str, str] | None = None

    def send(self, web: Flask) -> TestResponse:
        more: dict[str, Any] = {"data": dict(self.form)} if self.form is not None else {}
        more |= {"json": self.json} if self.json is not None else {}
        more |= {"auth": self.auth} if self.auth is not None else {}
        headers = {"Cookie": self.cookie} if self.cookie else {}
        headers |= {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        with web.test_client(use_cookies=False) as client:
            return client.open(self.path, method=self.method, headers=headers, base_url=ISSUER, **more)


class Meeting:
    """Where two threads wait for each other, several times over."""

    def __init__(self) -> None:
        self._barriers = [threading.Barrier(2) for _ in range(_MEETINGS)]
        self.met = Counter[int]()

    def wait(self, number: int) -> None:
        if number < _MEETINGS:
            try:
                self._barriers[number].wait(_PATIENCE)
                self.met[number] += 1
            except threading.BrokenBarrierError:
                pass


@dataclass
class Twins:
    """Both instances. `webs` answer as the servers of two machines would."""

    instances: list[Provider]
    webs: list[Flask] = field(default_factory=list)

    @classmethod
    def build(cls, url: str, **settings: object) -> "Twins":
        chosen: dict[str, object] = {
            "issuer": ISSUER,
            "database_url": url,
            "secret_key": "a secret of the tests that is long enough",
            "clients_cache_seconds": 0,
            "clients_registration": "open",
            "clients_registration_hourly": 1_000_000,
            "accounts_argon2_memory_kib": 64,
            "accounts_argon2_time_cost": 1,
            "accounts_throttle_address_failures": 1_000_000,
            "accounts_throttle_account_failures": 1_000_000,
            "logout_frontchannel": True,
            "sessions_management": True,
            "signals_status_list": True,
            "signals_min_verification_interval": 60,
        } | settings
        made = cls([app.build(Settings.model_validate(chosen)) for _ in range(2)])
        migrations.upgrade(made.first.database)
        for instance in made.instances:
            instance.keys.keep_up()
            if instance.database.dialect == "postgresql":
                event.listen(instance.database.engine, "before_cursor_execute", _meet)
                event.listen(instance.database.engine, "begin", _begin)
        made.webs = [app.create_app(instance) for instance in made.instances]
        return made

    @property
    def first(self) -> Provider:
        return self.instances[0]

    def close(self) -> None:
        for instance in self.instances:
            instance.database.dispose()

    def both(self, act: Callable[[int], _T]) -> list[_T]:
        """Have both do it at once; what came of each."""
        meeting, start = Meeting(), threading.Barrier(2)

        def one(number: int) -> _T:
            _racing.meeting, _racing.number, _racing.fresh = meeting, -1, False
            start.wait(10)
            try:
                return act(number)
            finally:
                _racing.meeting = None

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(one, range(2)))

    def send(self, request: Request) -> list[TestResponse]:
        """Send it to both at once."""
        return self.both(lambda number: request.send(self.webs[number]))

    # -- what requests need ---------------------------------------------------------------------------------------

    def add_person(self) -> str:
        name = f"person-{token(6).lower().replace('_', 'x').replace('-', 'y')}"
        accounts = self.first.accounts
        new = accounts.prepare(name, PASSWORD)
        with self.first.database.writing() as tx:
            accounts.add(tx, new)
        return name

    def add_client(self, **metadata: object) -> "Party":
        whole = {
            "redirect_uris": ["https://app.example.org/callback"],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "scope": "openid profile email offline_access ssf.manage ssf.read reports",
            "first_party": True,
        } | metadata
        with self.first.database.writing() as tx:
            made = self.first.clients.add(tx, whole)
        return Party(self, made.client.client_id, made.secret or "")

    def browser(self, name: str = "") -> "Browser":
        """Somebody who is signed in."""
        return Browser(self, name or self.add_person()).signed_in()


def _begin(connection: Any) -> None:
    _racing.fresh = connection.get_execution_options().get("idp_writing", False)


def _meet(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
    if getattr(_racing, "meeting", None) is not None and _racing.fresh and _WRITES.match(statement):
        _racing.fresh = False
        _racing.number += 1
        _racing.meeting.wait(_racing.number)


class Browser(Person):
    """A person at the first of the two."""

    def __init__(self, twins: Twins, name: str) -> None:
        super().__init__(ISSUER)
        self.http.close()
        self.http = http.client(transport=httpx.WSGITransport(twins.webs[0]), follow_redirects=False)
        self.twins = twins
        self.name = name

    def signed_in(self) -> "Browser":
        self.sign_in(self.open("login"), self.name, PASSWORD)
        return self

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())

    def form(self, page: Page, button: str, **values: str) -> Request:
        """The request of a form and a button of it, not sent yet."""
        form = next(form for form in page.forms if button in form.buttons)
        name, value = form.buttons[button]
        path = form.action if form.action.startswith("/") else f"/{form.action}"
        return Request("POST", path, form.fields | values | ({name: value} if name else {}), cookie=self.cookie)


@dataclass
class Party:
    """A relying party."""

    twins: Twins
    client_id: str
    secret: str
    verifier: str = field(default_factory=lambda: token(48))
    redirect_uri: str = "https://app.example.org/callback"

    @property
    def auth(self) -> tuple[str, str]:
        return (self.client_id, self.secret)

    def asks(self, **more: str) -> dict[str, str]:
        """The parameters of an authorization request."""
        return {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid profile",
            "state": "s",
            "nonce": "n",
            "code_challenge": b64url(sha256(self.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        } | more

    def opened(self, browser: Browser, **more: str) -> Page:
        return browser.open(f"authorize?{urlencode(self.asks(**more))}")

    def code(self, browser: Browser, **more: str) -> str:
        return self.opened(browser, **more).query["code"]

    def redeeming(self, code: str) -> Request:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return Request("POST", "/token", form, auth=self.auth)

    def tokens(self, browser: Browser, **more: str) -> dict[str, Any]:
        answer = self.redeeming(self.code(browser, **more)).send(self.twins.webs[0])
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    def bearer(self, scope: str = "ssf.manage ssf.read") -> str:
        form = {"grant_type": "client_credentials", "scope": scope}
        return str(Request("POST", "/token", form, auth=self.auth).send(self.twins.webs[0]).json["access_token"])

    def stream(self, bearer: str) -> str:
        return str(Request("POST", "/ssf/streams", json={}, bearer=bearer).send(self.twins.webs[0]).json["stream_id"])


@contextmanager
def twins(url: str) -> Iterator[Twins]:
    made = Twins.build(url)
    try:
        yield made
    finally:
        made.close()


__all__ = ["ISSUER", "PASSWORD", "Browser", "Party", "Request", "Twins", "twins"]
