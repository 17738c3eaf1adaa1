"""The browser of a request, as its cookies have it: its own name, who is signed in, and whose device it is."""

from typing import Protocol

from flask import Response, current_app, request
from flask import session as browser_session
from flask_login import current_user, login_user

from idp.accounts import devices
from idp.accounts.rules import Account
from idp.accounts.service import AccountService
from idp.accounts.signed_in import SignedIn
from idp.config import Settings
from idp.runtime import secrets
from idp.runtime.web.pages import BROWSER
from idp.sessions.service import Started


class KnowsDevices(Protocol):
    """What remembering a device needs of the application."""

    @property
    def settings(self) -> Settings:
        """Whether cookies are secure."""

    @property
    def accounts(self) -> AccountService:
        """Who seals the cookie."""


def browser_of_request() -> str:
    """The secret that names this browser, made when it has none. A stored authorization request is bound to it."""
    known = browser_session.get(BROWSER)
    if not isinstance(known, str):
        known = browser_session[BROWSER] = secrets.token()
    return known


def signed_in() -> SignedIn | None:
    """Who is signed in at this browser."""
    if not current_user.is_authenticated:
        return None
    return current_user._get_current_object()  # type: ignore[no-any-return]  # noqa: SLF001 - Flask-Login's proxy


def _form_token() -> dict[str, str]:
    """What the forms that this browser has open were made with."""
    name = current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token")
    return {name: browser_session[name]} if name in browser_session else {}


def address_of_request() -> str:
    """From where this request comes."""
    return request.remote_addr or "unknown"


def go_on_as(started: Started, account: Account, *, forms_too: bool) -> None:
    """The cookie is new from now on, whatever the browser came with, and so is the CSRF token unless `forms_too` are to stay.

    The browser's own name stays, for requests that wait in other tabs.
    """
    kept = {BROWSER: browser_of_request()} | (_form_token() if forms_too else {})
    browser_session.clear()
    browser_session.update(kept)
    login_user(SignedIn(started.session, account, started.cookie))


def device_cookie(needs: KnowsDevices) -> str:
    """The name of the cookie by which an account's devices are known."""
    return "__Host-idp_device" if needs.settings.secure else "idp_device"


def remember_device(response: Response, needs: KnowsDevices, account: Account) -> None:
    """Let the browser be known as one in which the account has signed in."""
    name = device_cookie(needs)
    response.set_cookie(
        name,
        needs.accounts.remember_device(request.cookies.get(name), account),
        max_age=devices.LIFETIME,
        secure=needs.settings.secure,
        httponly=True,
        samesite="Lax",
    )
