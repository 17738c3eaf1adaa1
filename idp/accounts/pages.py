"""Pages for people: signing in, choosing who to go on as, one's account, and the front door.

A refused sign-in is answered with 200 and the page again, not with 401: that would need a `WWW-Authenticate` challenge
(RFC 9110 §15.5.2), and proxies that send people to sign in on a 401 would loop. `sign_in.refused` counts them.
"""

from typing import Protocol

from flask import Blueprint, Flask, Response, current_app, flash, get_flashed_messages, request
from flask_login import LoginManager
from flask_wtf.csrf import CSRFError

from idp.accounts import names, profile, rules
from idp.accounts.addresses import Addresses
from idp.accounts.browser import address_of_request, browser_of_request, device_cookie, go_on_as, remember_device, signed_in
from idp.accounts.errors import PasswordRefusedError, PasswordsBusyError, SignInRefusedError, SignInThrottledError
from idp.accounts.pending import PendingRequests, PendingSignIn
from idp.accounts.requests import RequestsOfPages
from idp.accounts.rules import Account
from idp.accounts.service import AccountEndings, AccountService
from idp.accounts.sessions_shown import sessions_of
from idp.accounts.signed_in import SignedIn
from idp.clients.pages import as_shown, over_page
from idp.clients.service import ClientService
from idp.config import Settings
from idp.logout.pages import MOST_LEFT, left
from idp.logout.rules import Reason
from idp.protocol.parameters import Parameters
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.paging import Page
from idp.runtime.web.pages import (
    PageError,
    blueprint,
    error_page,
    forms_may_lead_to,
    parameters,
    render,
    scripts_may_run,
    see_other,
)
from idp.runtime.web.stale_forms import NOT_OF_NOW, Question, ask_again, nobody, not_signed_in
from idp.sessions.rules import SignIn
from idp.sessions.service import SessionService, Started

__all__ = ["Addresses", "PendingRequests", "PendingSignIn", "browser_of_request", "install", "pages", "signed_in"]

_PAGES = "_pages"
#: What is wrong with a form that does not fit: true of one from another tab, and of one that another site forged.
_STALE = "This page is not from your current session: you may have signed in or out in another tab. Enter the password again."
_NO_COOKIE = "Your browser did not send the cookie of this page. Let it keep cookies from here, then enter the password again."
_SOMEBODY_ELSE = "{} signed in at this browser meanwhile. To sign in as {} instead, enter the password again."
_EXPIRED = "What the app asked for has expired. Sign in here, and you are told how to go back to it."
_UNKNOWN = "The app's request has expired, or another browser began it. Sign in here, then go back to the app and start again."
_AGAIN = "Please sign in again to go on."
_ENDED_ALREADY = "That session was not open any more: there was nothing to end."
_QUESTIONS = {
    "/account/sign-out": Question("Sign out that browser?", "Sign out", ("sid",)),
    "/account/sign-out-others": Question("Sign out other devices?", "Sign out other devices"),
    "/account/sign-out-everywhere": Question("Sign out all devices?", "Sign out all devices"),
}


class AccountPageNeeds(Protocol):
    """What these pages use of the application."""

    @property
    def settings(self) -> Settings: ...
    @property
    def database(self) -> Database: ...
    @property
    def clients(self) -> ClientService: ...
    @property
    def sessions(self) -> SessionService: ...
    @property
    def accounts(self) -> AccountService: ...
    @property
    def logout(self) -> AccountEndings: ...


# -- who is at this browser -------------------------------------------------------------------------------------------


def install(app: Flask, needs: AccountPageNeeds, pending: PendingRequests) -> None:
    """Teach the application who is signed in, and register the pages."""
    manager = LoginManager()
    manager.session_protection = None  # the session is the server's; an address may change under way
    # Not `init_app`: for its "remember me" cookie it would open the session at every answer, those to machines too.
    # There is no such cookie here, and Flask-Login fails on a forged one that is not ASCII.
    app.login_manager = manager  # type: ignore[attr-defined]
    app.config["REMEMBER_COOKIE_NAME"] = None

    @manager.user_loader  # type: ignore[untyped-decorator]
    def load(cookie: str) -> SignedIn | None:
        with needs.database.reading() as tx:
            session = needs.sessions.of_cookie(tx, cookie)
            account = None if session is None else needs.accounts.get(tx, session.subject)
        if session is None or account is None or account.is_disabled:
            return None
        return SignedIn(session, account, cookie)

    @app.before_request
    def who() -> None:
        """Ask before a page opens a transaction: noting the use of a session opens one of its own."""
        if (request.blueprint or "").endswith(_PAGES):
            signed_in()

    app.register_blueprint(pages(needs, pending))


def pages(needs: AccountPageNeeds, pending: PendingRequests) -> Blueprint:
    """Every page of this room."""
    routes = blueprint("accounts")
    entry, own = SignInPage(needs, pending), AccountPage(needs)
    routes.get("/")(own.home)
    routes.get("/login", endpoint="login")(entry.show)
    routes.post("/login")(entry.submit)
    routes.get("/login/select")(entry.ask)
    routes.post("/login/select")(entry.choose)
    routes.get("/account", endpoint="account")(own.show)
    routes.post("/account/sign-out")(own.sign_out)
    routes.post("/account/sign-out-others")(own.sign_out_others)
    routes.post("/account/sign-out-everywhere")(own.sign_out_everywhere)
    routes.get("/account/profile")(own.show_profile)
    routes.get("/account/password")(own.ask_password)
    routes.post("/account/password")(own.change_password)

    @routes.errorhandler(CSRFError)
    def stale(_error: CSRFError) -> Response:
        steps = {"/login": entry.stale, "/login/select": entry.choice_is_stale}
        try:
            return steps.get(request.path, own.stale)(parameters())
        except PageError as error:
            return error_page(error)

    return routes


# -- signing in -------------------------------------------------------------------------------------------------------


class SignInPage:
    """`/login`: a step of a stored authorization request, or on its own. It goes back to where the request goes on."""

    def __init__(self, needs: AccountPageNeeds, pending: PendingRequests) -> None:
        self._needs = needs
        self._pending = pending
        self._requests = RequestsOfPages(needs.database, pending)
        self._at = Addresses(needs.settings)

    def show(self) -> Response:
        """The page."""
        given, person = parameters(), signed_in()
        over = self._requests.over(given)
        if over is not None:
            return over_page(over, self._needs.settings.issuer)
        if person is not None and "other" not in given and self._requests.goes_on(given, person):
            return see_other(self._at(self._requests.after(given)))
        found = self._requests.find(given)
        if found is None and person is not None:
            return see_other(self._at("account"))
        return self._page(given, found)

    def submit(self) -> Response:
        """Sign in. Whatever is wrong is said on the page again."""
        given = parameters()
        device = request.cookies.get(device_cookie(self._needs))
        username, password = given.get("username", ""), given.get("password", "")
        try:
            account = self._needs.accounts.sign_in(username, password, address_of_request(), device)
            return self._enter(account, given)
        except SignInRefusedError as error:
            return self._page(given, self._requests.find(given), error=str(error))
        except SignInThrottledError as error:
            return self._later(429, given, error)
        except PasswordsBusyError as error:
            return self._later(503, given, error)

    def stale(self, given: Parameters) -> Response:
        """A form without a valid CSRF token: nobody is signed in by it, and nobody out.

        Who is signed in as the one who was typed goes on, as by a link. Otherwise the page comes again, without the password.
        """
        person, typed = signed_in(), given.get("username", "")
        if person is not None and names.is_same(typed or person.account.username, person.account.username):
            return see_other(self._at(self._requests.after(given)))
        sentence = _STALE if current_app.config["SESSION_COOKIE_NAME"] in request.cookies else _NO_COOKIE
        if person is not None:
            sentence = _SOMEBODY_ELSE.format(person.account.username, typed[: names.MAXIMUM_LENGTH])
        return self._page(given, self._requests.find(given), status=400, error=sentence)

    def ask(self) -> Response:
        """`prompt=select_account`: go on as who is signed in, as somebody else, or not at all."""
        return self._choice(parameters())

    def choice_is_stale(self, given: Parameters) -> Response:
        """The choice once more, of whom it is now."""
        if self._requests.find(given) is None:
            raise PageError("invalid_request", "The CSRF token is missing or does not match.", NOT_OF_NOW)
        return self._choice(given, status=400, notice=NOT_OF_NOW)

    def _choice(self, given: Parameters, status: int = 200, notice: str | None = None) -> Response:
        person, found = signed_in(), self._requests.find(given)
        if found is None or person is None:
            return see_other(self._at("login", request=given.get("request")))
        forms_may_lead_to(found.redirect_uri)
        return render(
            "select_account.html",
            status,
            notice=notice,
            action=self._at("login/select"),
            request_id=given["request"],
            username=person.account.username,
            client=as_shown(found.client, found.ui_locales),
        )

    def choose(self) -> Response:
        """The person's choice."""
        given = parameters()
        found, person = self._requests.find(given), signed_in()
        choice = given.get("choice")
        if found is None or person is None or choice not in {"continue", "cancel"}:
            return see_other(self._at("login", request=given.get("request"), other="1" if found else None))
        with self._needs.database.writing() as tx:
            if choice == "cancel":
                self._pending.deny(tx, given["request"])
            else:
                self._pending.select(tx, given["request"], person.account.subject)
        return see_other(self._at(self._pending.location(given["request"])))

    def _enter(self, account: Account, given: Parameters) -> Response:
        """Start the session. Its cookie is new, whatever the browser came with (no fixation).

        So is the CSRF token, unless it was this very person's: what they opened in other tabs is theirs still.
        """
        with self._needs.database.writing() as tx:
            held = self._needs.accounts.hold(tx, account.subject)
            # Another password may have been set while this one was checked, and has ended what the old one had begun.
            if held is None or held.password_hash != account.password_hash:
                raise SignInRefusedError
            # The request's row before the session's: `/authorize` takes both in this order, and would wait for us otherwise.
            if "request" in given:
                self._pending.signed_in(tx, given["request"], held.subject)
            started = self._start(tx, held)
        before = signed_in()
        go_on_as(started, held, forms_too=before is not None and before.account.subject == held.subject)
        response = see_other(self._at(self._requests.after(given)))
        remember_device(response, self._needs, held)
        return response

    def _start(self, tx: Transaction, account: Account) -> Started:
        """The session goes on with its `sid` when the same person signs in again, and ends when another does."""
        user_agent = "".join(char if char.isprintable() else " " for char in request.user_agent.string)
        sign_in = SignIn(account.subject, rules.AMR, address_of_request(), user_agent)
        before = signed_in()
        if before is not None and before.account.subject == account.subject:
            renewed = self._needs.sessions.renew(tx, before.session.sid, sign_in)
            if renewed is not None:
                return renewed
        elif before is not None:
            self._needs.logout.end_session(tx, before.session.sid, Reason.REPLACED)
        return self._needs.sessions.start(tx, sign_in)

    def _page(
        self,
        given: Parameters,
        found: PendingSignIn | None,
        *,
        status: int = 200,
        error: str | None = None,
        held_until: Instant | None = None,
    ) -> Response:
        person = signed_in() if "other" not in given else None
        over = self._requests.over(given) if found is None else None
        asking = found or over
        forms_may_lead_to(found.redirect_uri if found is not None else None)
        scripts_may_run()
        return render(
            "login.html",
            status,
            action=self._at("login"),
            request_id=given.get("request") if asking is not None else None,
            username=given.get("username", _expected(found, person))[: names.MAXIMUM_LENGTH],
            error=error,
            held_until=held_until,
            again=self._at("login", request=given.get("request") if asking is not None else None),
            client=as_shown(asking.client, asking.ui_locales) if asking is not None else None,
            notice=_EXPIRED if over is not None else _notice(given, found, person if error is None else None),
        )

    def _later(self, status: int, given: Parameters, error: SignInThrottledError | PasswordsBusyError) -> Response:
        held = _held_until(self._needs.database.clock(), error)
        response = self._page(given, self._requests.find(given), status=status, error=str(error), held_until=held)
        response.headers["Retry-After"] = str(error.retry_after)
        return response


def _held_until(now: Instant, error: SignInThrottledError | PasswordsBusyError) -> Instant | None:
    """Until when nothing that is typed is looked at; None where it may be typed again at once."""
    return now + error.retry_after if isinstance(error, SignInThrottledError) else None


def _expected(found: PendingSignIn | None, person: SignedIn | None) -> str:
    """Whose name stands in the field: the app's hint, else who is signed in, unless the app asks for another person."""
    if found is not None and found.login_hint is not None:
        return found.login_hint
    if found is None or person is None or found.subject_required not in {None, person.account.subject}:
        return ""
    return person.account.username


def _notice(given: Parameters, found: PendingSignIn | None, person: SignedIn | None) -> str | None:
    told = get_flashed_messages()
    if told:
        return str(told[-1])
    if found is None and "request" in given:
        return _UNKNOWN
    return None if person is None else _AGAIN


# -- one's account ----------------------------------------------------------------------------------------------------


class AccountPage:
    """`/account`: where one is signed in, and ending it there."""

    def __init__(self, needs: AccountPageNeeds) -> None:
        self._needs = needs
        self._at = Addresses(needs.settings)

    def home(self) -> Response:
        """The front door."""
        person = signed_in()
        return render(
            "home.html",
            username=None if person is None else person.account.username,
            issuer=self._needs.settings.issuer,
            account_url=self._at("account"),
            login_url=self._at("login"),
        )

    def show(self) -> Response:
        """The sessions of the person who is signed in, this one first."""
        person = signed_in()
        if person is None:
            return see_other(self._at("login"))
        with self._needs.database.reading() as tx:
            shown = sessions_of(tx, self._needs.sessions, self._needs.clients, person)
            count = self._needs.sessions.count(tx, person.account.subject)
        return render(
            "account.html",
            account=person.account,
            account_url=self._at("account"),
            now=self._needs.database.clock(),
            sessions=shown,
            more_sessions=max(0, count - len(shown)),
            action_session=self._at("account/sign-out"),
            action_others=self._at("account/sign-out-others"),
            action_everywhere=self._at("account/sign-out-everywhere"),
            password_changed=parameters().get("changed") == "password",
            told=get_flashed_messages(),
        )

    def stale(self, given: Parameters) -> Response:
        """A form of another sign-in: asked once more, or said not to have been done. A password is never kept."""
        person, question = signed_in(), _QUESTIONS.get(request.path)
        if person is None:
            raise nobody(self._at("login"))
        if question is not None:
            return ask_again(question, self._at(request.path), given, person.account.username)
        if request.path == "/account/password":
            return self._password_page(person, NOT_OF_NOW, 400)
        raise PageError("invalid_request", "The CSRF token is missing or does not match.", NOT_OF_NOW)

    def show_profile(self) -> Response:
        """What apps may be told of the person who is signed in, to that person."""
        person = signed_in()
        if person is None:
            return see_other(self._at("login"))
        return render(
            "profile.html", claims=profile.shown(person.account), account=person.account, account_url=self._at("account")
        )

    def sign_out(self) -> Response:
        """End one of one's own sessions."""
        person, sid = signed_in(), parameters().get("sid", "")
        if person is None:
            return not_signed_in(self._at("login"))
        with self._needs.database.writing() as tx:
            session = self._needs.sessions.get(tx, sid)
            is_own = session is not None and session.subject == person.account.subject
            if not is_own or self._needs.logout.end_session(tx, sid, Reason.SIGNED_OUT) is None:
                flash(_ENDED_ALREADY)
        return self._left([sid]) if sid == person.session.sid else see_other(self._at("account"))

    def sign_out_others(self) -> Response:
        """End every session of one's own but this one. Who has a copy of its cookie is somebody else, too."""
        person = signed_in()
        if person is None or not self._change_cookie(person, forms_too=True):
            return not_signed_in(self._at("login"))
        subject, keep = person.account.subject, person.session.sid
        with self._needs.database.writing() as tx:
            self._needs.logout.end_account_sessions(tx, subject, Reason.SIGNED_OUT_OTHERS, keep=keep)
        return see_other(self._at("account"))

    def sign_out_everywhere(self) -> Response:
        """End every session of one's own, this one too."""
        person = signed_in()
        if person is None:
            return not_signed_in(self._at("login"))
        with self._needs.database.writing() as tx:
            sessions = self._needs.sessions.listed(tx, Page(MOST_LEFT), subject=person.account.subject)
            self._needs.logout.end_account_sessions(tx, person.account.subject, Reason.SIGNED_OUT_EVERYWHERE)
        return self._left([session.sid for session in sessions])

    def ask_password(self) -> Response:
        """The form for another password."""
        person = signed_in()
        return see_other(self._at("login")) if person is None else self._password_page(person)

    def change_password(self) -> Response:
        """Another password, once the old one was shown again. Every other session ends with it."""
        person, given = signed_in(), parameters()
        if person is None:
            return not_signed_in(self._at("login"))
        old, new = given.get("password", ""), given.get("new_password", "")
        if new != given.get("new_password_again", ""):
            return self._password_page(person, "The two new passwords are not the same.")
        try:
            changed = self._change_password(person, old, new)
        except SignInRefusedError:
            return self._password_page(person, "The current password is wrong.")
        except PasswordRefusedError as error:
            return self._password_page(person, str(error))
        except (SignInThrottledError, PasswordsBusyError) as error:
            held = _held_until(self._needs.database.clock(), error)
            response = self._password_page(person, str(error), 503 if held is None else 429, held)
            response.headers["Retry-After"] = str(error.retry_after)
            return response
        if changed is None:
            return not_signed_in(self._at("login"))
        response = see_other(self._at("account", changed="password"))
        remember_device(response, self._needs, changed)
        return response

    def _change_password(self, person: SignedIn, old: str, new: str) -> Account | None:
        """The account with its new password; None when this session ended meanwhile. Raises as `AccountService` does."""
        accounts, sid = self._needs.accounts, person.session.sid
        new_hash = accounts.hash_password(person.account.username, new)
        shown = accounts.confirm_password(person.account.subject, sid, old)
        if not self._change_cookie(person, forms_too=False):
            return None
        with self._needs.database.writing() as tx:
            return accounts.change_password(tx, shown, new_hash, keep=sid)

    def _change_cookie(self, person: SignedIn, *, forms_too: bool) -> bool:
        """Let this browser's session go on under another cookie; False when it ended meanwhile.

        In a transaction of its own, and the first: who ends all of a person's sessions locks them in one order.
        """
        with self._needs.database.writing() as tx:
            started = self._needs.sessions.change_cookie(tx, person.session.sid)
        if started is not None:
            go_on_as(started, person.account, forms_too=forms_too)
        return started is not None

    def _password_page(
        self, person: SignedIn, error: str | None = None, status: int = 200, held_until: Instant | None = None
    ) -> Response:
        scripts_may_run()
        places = {"action": self._at("account/password"), "account_url": self._at("account")}
        return render("password.html", status, account=person.account, error=error, held_until=held_until, **places)

    def _left(self, sids: list[str]) -> Response:
        left(self._needs.database.clock(), sids)
        return see_other(self._at("logout/done"))
