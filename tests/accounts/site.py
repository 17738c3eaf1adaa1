"""The accounts room on its own: real sessions and clients, a recorded logout and pending requests, a clock that is moved."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, Response, g, request
from flask.testing import FlaskClient
from flask_wtf.csrf import CSRFProtect
from werkzeug.test import TestResponse

from idp import resources
from idp.accounts import pages
from idp.accounts.models import AccountRow, LikenessRow, SignInThrottleRow
from idp.accounts.pending import PendingSignIn
from idp.accounts.rules import Account
from idp.accounts.service import AccountService
from idp.clients.display import Over
from idp.clients.models import ClientOriginRow, ClientRow
from idp.clients.pages import LOGOS
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.config import Settings
from idp.runtime.database import Base, Database, Transaction, table_of
from idp.runtime.secrets import Secrets
from idp.runtime.web.headers import content_security_policy
from idp.runtime.web.pages import set_up_templates
from idp.sessions import ending
from idp.sessions.models import SessionClientRow, SessionClosingRow, SessionRow
from idp.sessions.rules import Session, SessionPolicy, SignIn
from idp.sessions.service import SessionService

PASSWORD = "correct horse battery staple"
ROWS: tuple[type[Base], ...] = (
    AccountRow,
    LikenessRow,
    SignInThrottleRow,
    SessionRow,
    SessionClientRow,
    SessionClosingRow,
    ClientRow,
    ClientOriginRow,
)
_CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')


class MovedClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class RecordedLogout:
    """Marks sessions ended, and remembers whom it was asked to end."""

    sessions: SessionService
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def end_session(self, tx: Transaction, sid: str, reason: str) -> Session | None:
        self.calls.append(("session", sid, str(reason)))
        return ending.mark_ended(tx, sid, reason)

    def end_account_sessions(self, tx: Transaction, subject: str, reason: str, *, keep: str | None = None) -> int:
        self.calls.append(("account_sessions", subject, str(reason)))
        sids = [session.sid for session in self.sessions.listed(tx, subject=subject) if session.sid != keep]
        ended = [ending.mark_ended(tx, sid, reason) for sid in sids]
        return len(ended)

    def end_after_password_change(self, tx: Transaction, subject: str, *, keep: str | None = None) -> int:
        return self.end_account_sessions(tx, subject, "password_changed", keep=keep)

    def end_account(self, tx: Transaction, subject: str, reason: str) -> int:
        self.calls.append(("account", subject, str(reason)))
        ended = [ending.mark_ended(tx, session.sid, reason) for session in self.sessions.listed(tx, subject=subject)]
        return len(ended)


class NothingLeft:
    """The reaper, where the recorded logout has done everything at once."""

    def finish(self, _tell: Callable[[int], None]) -> None:
        """Nothing is left, and nothing is told."""


@dataclass
class StoredRequests:
    """Pending authorization requests, each bound to the browser that first asks for it."""

    requests: dict[str, PendingSignIn] = field(default_factory=dict)
    browsers: dict[str, str] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)
    selected: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    satisfied: set[str] = field(default_factory=set)
    ended: dict[str, Over] = field(default_factory=dict)

    def add(self, request_id: str = "a-request", login_hint: str | None = None, subject_required: str | None = None) -> str:
        client = Client("app", None, 0.0, client_name="The App")
        self.requests[request_id] = PendingSignIn(client, login_hint, "https://app.example/callback", subject_required)
        return request_id

    def sign_in(self, _tx: Transaction, request_id: str) -> PendingSignIn | None:
        if request_id not in self.requests:
            return None
        browser = pages.browser_of_request()
        return self.requests[request_id] if self.browsers.setdefault(request_id, browser) == browser else None

    def goes_on(self, _tx: Transaction, request_id: str, _session: Session) -> bool:
        return request_id in self.satisfied

    def over(self, _tx: Transaction, request_id: str) -> Over | None:
        return self.ended.get(request_id)

    def signed_in(self, _tx: Transaction, request_id: str, _subject: str) -> None:
        self.signed.append(request_id)

    def select(self, _tx: Transaction, request_id: str, _subject: str) -> None:
        self.selected.append(request_id)

    def deny(self, tx: Transaction, request_id: str) -> None:
        self.denied.append(request_id)

    def location(self, request_id: str) -> str:
        return f"authorize?continue={request_id}"


@dataclass
class Site:
    """Everything that a test holds on to."""

    settings: Settings
    clock: MovedClock
    database: Database
    secrets: Secrets
    clients: ClientService
    sessions: SessionService
    logout: RecordedLogout
    accounts: AccountService
    pending: StoredRequests
    later: list["Site"] = field(default_factory=list)
    reaper: NothingLeft = field(default_factory=NothingLeft)

    @classmethod
    def build(cls, url: str, clock: MovedClock | None = None, **chosen: object) -> "Site":
        """A site over the database at `url`, as a process that has just started."""
        cheap = {
            "accounts_argon2_memory_kib": 8,
            "accounts_argon2_time_cost": 1,
            "secret_key": "a secret of the tests that is long enough",
        }
        settings = Settings.model_validate(cheap | chosen)
        clock = clock or MovedClock()
        database = Database(url, clock)
        Base.metadata.create_all(database.engine, [table_of(row) for row in ROWS])
        secrets = Secrets(settings.secret_keys)
        sessions = SessionService(
            database, SessionPolicy(settings.sessions_idle_timeout, settings.sessions_absolute_timeout), secrets
        )
        logout = RecordedLogout(sessions)
        clients = ClientService(database, cache_seconds=0, loopback_http=True)
        accounts = AccountService(database, settings, secrets, logout)
        return cls(settings, clock, database, secrets, clients, sessions, logout, accounts, StoredRequests())

    def restarted(self, **chosen: object) -> "Site":
        """Another process over the same database at the same moment."""
        self.later.append(Site.build(self.database.url, self.clock, **chosen))
        return self.later[-1]

    def close(self) -> None:
        """Close every connection."""
        for site in (self, *self.later):
            site.database.dispose()

    def add(self, username: str = "alice", password: str = PASSWORD, **more: str) -> Account:
        """Somebody."""
        new = self.accounts.prepare(username, password, **more)  # type: ignore[arg-type]
        with self.database.writing() as tx:
            return self.accounts.add(tx, new)

    def disable(self, account: Account) -> int | None:
        with self.database.writing() as tx:
            return self.accounts.disable(tx, account.subject)

    def session_of(self, account: Account) -> str:
        """The `sid` of a session that the account has in another browser."""
        with self.database.writing() as tx:
            return self.sessions.start(
                tx, SignIn(account.subject, "pwd", "192.0.2.7", "Firefox/140.0 (X11; Linux)")
            ).session.sid

    def live(self, account: Account) -> list[Session]:
        with self.database.reading() as tx:
            return self.sessions.listed(tx, subject=account.subject)

    def app(self) -> Flask:
        """A web application of this room alone."""
        here = str(Path(__file__).parent)
        app = Flask("idp", template_folder=None, static_folder=here, static_url_path="/static")
        app.config.update({LOGOS: False}, SECRET_KEY="signs cookies", SESSION_COOKIE_NAME="idp_session")
        set_up_templates(app, [str(resources.folder("templates"))], provider_name="idp")

        @app.before_request
        def keep_body() -> None:
            request.get_data()

        CSRFProtect(app)
        pages.install(app, self, self.pending)

        @app.after_request
        def policy(response: Response) -> Response:
            response.headers["Content-Security-Policy"] = content_security_policy(form_targets=g.get("form_targets", ()))
            return response

        return app

    def browser(self) -> "Browser":
        """A browser that has never been here."""
        return Browser(self.app().test_client())


@dataclass
class Browser:
    """Somebody's browser: it keeps cookies, and sends back the token of the form that it fills in."""

    http: FlaskClient

    def form(self, path: str) -> str:
        """The CSRF token of the form at `path`."""
        found = _CSRF.search(self.http.get(path).text)
        assert found is not None
        return found.group(1)

    def sign_in(
        self,
        username: str = "alice",
        password: str = PASSWORD,
        *,
        path: str = "/login",
        address: str = "203.0.113.5",
        **fields: str,
    ) -> TestResponse:
        """Fill in the sign-in page."""
        values = {"csrf_token": self.form(path), "username": username, "password": password, **fields}
        return self.http.post("/login", data=values, environ_base={"REMOTE_ADDR": address})

    def submit(self, page: str, action: str, **fields: str) -> TestResponse:
        """Send the form of `page` to `action`."""
        return self.http.post(action, data={"csrf_token": self.form(page), **fields})

    def cookie(self, name: str) -> str | None:
        kept = self.http.get_cookie(name)
        return None if kept is None else kept.value
