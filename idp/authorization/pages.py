"""`/authorize` (OIDC Core §3.1.2): the dispatcher. Each answer is the next step of the one request."""

from collections.abc import Mapping

from authlib.oauth2.rfc6749.errors import OAuth2Error
from flask import Blueprint, Response, g, request
from flask_login import current_user

from idp.authorization import response_modes
from idp.authorization.browser_state import BrowserState
from idp.authorization.errors import RequestRefusedError, UntrustedRequestError
from idp.authorization.response import Issued
from idp.authorization.rules import SILENT_ERRORS, AuthorizationRequest, RequestProgress, Step
from idp.authorization.service import CONTINUE, ONWARD, AuthorizationService
from idp.clients.pages import as_shown, over_page, ways_back
from idp.clients.rules import Client
from idp.issuing.rules import Refusal
from idp.issuing.service import NotIssuedError
from idp.runtime import audit
from idp.runtime.database import Database, Transaction
from idp.runtime.web.pages import (
    PageError,
    RefusedAddress,
    blueprint,
    error_page,
    forms_lead_anywhere,
    moves_on_to,
    moving_on,
    parameters,
    render,
    see_other,
)
from idp.sessions.rules import Session

_UNKNOWN = "Nothing is known here of what the app asked for, or another browser began it. Go back to the app and start again."
_UNTRUSTED = (
    "The app that sent you here asked in a way that cannot be trusted, so you were not sent back. Please tell its makers."
)
_REFUSALS = {
    Step.DENIED: ("access_denied", "The person did not allow it."),
    Step.NOT_SELECTED: ("account_selection_required", "The person was asked for an account, and selected none."),
    Step.WRONG_PERSON: ("login_required", "Another person signed in than the one id_token_hint names."),
}
#: What the person can do where the door to issue refuses, and what the app is told where they can do nothing.
_MENDS = {Refusal.SESSION: Step.SIGN_IN, Refusal.CONSENT: Step.CONSENT}
_AT_THE_APP = {Refusal.ACCOUNT: "access_denied", Refusal.CLOSING: "temporarily_unavailable"}


def pages(database: Database, service: AuthorizationService, issuer: str, browser_state: BrowserState | None) -> Blueprint:
    """The authorization endpoint, and what keeps apps informed of the browser's session where that is switched on."""
    routes = blueprint("authorization", open_to_others=True)
    answer = Responder(issuer, browser_state)
    dispatcher = Dispatcher(database, service, answer)
    routes.route("/authorize", methods=["GET", "POST"])(dispatcher.authorize)

    if browser_state is not None:
        _inform(routes, browser_state)

    @routes.errorhandler(UntrustedRequestError)
    def untrusted(error: UntrustedRequestError) -> Response:
        address = None
        if error.client is not None and error.redirect_uri is not None:
            address = RefusedAddress("redirect_uri", error.redirect_uri, error.client.redirect_uris)
            audit.warn("authorization.redirect_refused", client_id=error.client.client_id, **address.fields())
        ways = ways_back(error.client, issuer)
        return error_page(PageError(error.error, error.description, _UNTRUSTED, ways=ways, address=address))

    @routes.errorhandler(RequestRefusedError)
    def refused(error: RequestRefusedError) -> Response:
        return answer.error(error.error, error.redirect_uri, error.response_mode, error.state)

    return routes


def _inform(routes: Blueprint, browser_state: BrowserState) -> None:
    """Session Management 1.0 §3: the page that apps load in a frame, and the cookie that it reads, kept true everywhere."""

    @routes.get("/check_session")
    def check_session() -> Response:
        g.scripts = g.framed = True
        return render("check_session.html", cookie=browser_state.cookie)

    @routes.after_app_request
    def keep_true(response: Response) -> Response:
        if not (request.blueprint or "").endswith("_pages") or request.path.endswith("/check_session"):
            return response
        now = browser_state.of(current_user.session.sid) if current_user.is_authenticated else None
        if now != request.cookies.get(browser_state.cookie):
            same_site = "None" if browser_state.secure else "Lax"  # apps are elsewhere, and their frames must have it
            if now is None:
                response.delete_cookie(browser_state.cookie, secure=browser_state.secure, samesite=same_site)
            else:
                response.set_cookie(browser_state.cookie, now, secure=browser_state.secure, samesite=same_site)
        return response


class Dispatcher:
    """Decides each next step of a request, and nothing else does."""

    def __init__(self, database: Database, service: AuthorizationService, answer: "Responder") -> None:
        self._database = database
        self._service = service
        self._answer = answer

    def authorize(self) -> Response:
        """A new request, or one that comes back from a step. Raises UntrustedRequestError, RequestRefusedError, PageError."""
        decided = self._decided()
        if isinstance(decided, Response):
            return decided
        try:
            return self._answer.success(self._service.issuing.sealed(decided), decided.asked, decided.session)
        except OAuth2Error as error:
            asked = decided.asked
            return self._answer.error(error, asked.redirect_uri, asked.response_mode, asked.state)

    def _decided(self) -> Response | Issued:
        given = parameters()
        if CONTINUE in given and "client_id" not in given:
            with self._database.writing() as tx:
                return self._resumed(tx, given[CONTINUE], onward=ONWARD in given)
        client, asked = self._service.read(given)
        with self._database.writing() as tx:
            if request.method == "POST":
                # A POST from another site brings no cookie (SameSite=Lax); the GET that follows brings it.
                return see_other(self._service.location(self._service.store(tx, asked, _address(), bound=False), onward=True))
            return self._step(tx, client, asked, RequestProgress(tx.now), None)

    def _resumed(self, tx: Transaction, request_id: str, *, onward: bool) -> Response | Issued:
        found = self._service.resume(tx, request_id)
        if found is None:
            return self._over(tx, request_id, onward=onward)
        client, asked, progress = found
        session: Session | None = current_user.session if current_user.is_authenticated else None
        if not onward and _pauses(asked) and self._service.next_step(tx, client, asked, progress, session).leads_out:
            # Nothing is issued yet: the page holds no code, and whoever comes back to it sends none twice.
            return moving_on(self._service.location(request_id, onward=True), client=as_shown(client, asked.ui_locales))
        return self._step(tx, client, asked, progress, request_id)

    def _over(self, tx: Transaction, request_id: str, *, onward: bool) -> Response:
        """Nobody can go on with it: say why, to its own browser, or take the person back with an error. Raises PageError."""
        refusal = self._service.expired(tx, request_id) if onward else None
        if refusal is not None:
            raise refusal
        over = self._service.over(tx, request_id)
        if over is None:
            description = "The authorization request is unknown, or another browser's."
            raise PageError("invalid_request", description, _UNKNOWN)
        return over_page(over, self._answer.issuer, 400)

    def _step(
        self, tx: Transaction, client: Client, asked: AuthorizationRequest, progress: RequestProgress, request_id: str | None
    ) -> Response | Issued:
        session: Session | None = current_user.session if current_user.is_authenticated else None
        todo = self._service.next_step(tx, client, asked, progress, session)
        permit = None
        if todo is Step.ISSUE and session is not None:
            try:
                permit = self._service.issuing.admit(tx, client, asked, session)
            except NotIssuedError as refusal:
                if refusal.reason not in _MENDS:
                    error = _AT_THE_APP.get(refusal.reason, refusal.reason.error)
                    return self._ended(tx, asked, request_id, error, str(refusal.description))
                todo = _MENDS[refusal.reason]
        if todo in _REFUSALS:
            return self._ended(tx, asked, request_id, *_REFUSALS[todo])
        if todo is Step.ISSUE and session is not None:
            if request_id is not None and not self._service.finish(tx, request_id):
                return self._over(tx, request_id, onward=False)
            return self._service.issuing.issue(tx, client, asked, session, permit)
        if asked.silent:
            description = "prompt=none, but the person would have to be asked."
            return self._ended(tx, asked, request_id, SILENT_ERRORS[todo], description)
        stored = request_id or self._service.store(tx, asked, _address(), bound=True)
        page = {Step.SIGN_IN: "login", Step.SELECT_ACCOUNT: "login/select", Step.CONSENT: "consent"}[todo]
        return see_other(f"{page}?request={stored}")

    def _ended(
        self, tx: Transaction, asked: AuthorizationRequest, request_id: str | None, error: str, description: str
    ) -> Response:
        if request_id is not None:
            self._service.finish(tx, request_id)
        return self._answer.error(OAuth2Error(description, error=error), asked.redirect_uri, asked.response_mode, asked.state)


def _pauses(asked: AuthorizationRequest) -> bool:
    """Whether a page stands between a form of ours and the app. A silent request shows none, and form_post is one itself."""
    return moves_on_to(asked.redirect_uri) and not asked.silent and asked.response_mode != "form_post"


def _address() -> str:
    return request.remote_addr or "unknown"


class Responder:
    """Sends the person back to the app: by query, by fragment or by form, always with `iss` (RFC 9207)."""

    def __init__(self, issuer: str, browser_state: BrowserState | None) -> None:
        self.issuer = issuer
        self._browser_state = browser_state

    def success(self, issued: Mapping[str, str], asked: AuthorizationRequest, session: Session) -> Response:
        """The authorization response (OIDC Core §3.1.2.5, §3.2.2.5, §3.3.2.5)."""
        fields = list(issued.items())
        if self._browser_state is not None:
            state = self._browser_state.session_state(session.sid, asked.client_id, asked.redirect_uri)
            fields.append(("session_state", state))
        return self._send(fields, asked.redirect_uri, asked.response_mode, asked.state)

    def error(self, error: OAuth2Error, redirect_uri: str, response_mode: str, state: str | None) -> Response:
        """The error response (OIDC Core §3.1.2.6)."""
        return self._send(response_modes.error_fields(error), redirect_uri, response_mode, state)

    def _send(self, fields: list[tuple[str, str]], redirect_uri: str, response_mode: str, state: str | None) -> Response:
        fields = response_modes.whole(fields, state, self.issuer)
        address = response_modes.address(redirect_uri, response_mode, fields)
        if address is not None:
            return see_other(address)
        forms_lead_anywhere()
        g.scripts = True
        return render("form_post.html", redirect_uri=redirect_uri, fields=dict(fields))
