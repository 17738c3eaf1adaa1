"""`/consent`: what an app asks for, in words, and the person's answer."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, flash, get_flashed_messages, request
from flask_login import current_user
from flask_wtf.csrf import CSRFError

from idp.clients.display import ShownClient
from idp.clients.pages import as_shown, opens_at, over_page
from idp.clients.service import ClientService
from idp.consent import rules
from idp.consent.pending import PendingConsent, PendingConsents
from idp.consent.service import ConsentService
from idp.protocol import scopes
from idp.protocol.parameters import Parameters
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.paging import Page
from idp.runtime.web.pages import PageError, Way, blueprint, error_page, forms_may_lead_to, parameters, render, see_other
from idp.runtime.web.stale_forms import NOT_OF_NOW, Question, ask_again, nobody, not_signed_in

ALLOW = "allow"
#: Apps on the page: those that were allowed last.
_MOST_SHOWN = 200
_UNKNOWN = "Nothing is known here of what the app asked for, or another browser began it. Go back to the app and start again."
_NOT_SIGNED_IN = "You are not signed in at this browser any more, so nothing was allowed. Sign in again to go on."
_NO_ACCESS = "That app had no access any more: there was nothing to withdraw."


@dataclass(frozen=True, slots=True)
class AskedScope:
    """A scope as the page shows it: with what the app would really learn by it, and whether it could learn anything at all."""

    name: str
    sentence: str
    is_new: bool
    values: Sequence[str]
    has_claims: bool


@dataclass(frozen=True, slots=True)
class AppShown:
    """An app with access, as the person sees it. `opens_at` is where a sign-in begins that starts here (OIDC Core §4)."""

    client: ShownClient
    gist: str
    sentences: Sequence[str]
    since: Instant
    opens_at: str | None


def pages(
    database: Database,
    clients: ClientService,
    consents: ConsentService,
    pending: PendingConsents,
    paths: Callable[[str], str],
    told: Callable[[Any, Collection[str]], Sequence[str]],
    issuer: str,
) -> Blueprint:
    """The consent page, and what became of consents.

    `paths` makes an address of ours of a path; `told` says what an account's claims of these names hold, for people.
    """
    routes = blueprint("consent")
    asking = ConsentPage(database, consents, pending, paths, told, issuer)
    given = AppsPage(database, clients, consents, paths, issuer)
    routes.get("/consent")(asking.ask)
    routes.post("/consent")(asking.answer)
    routes.get("/account/apps")(given.apps)
    routes.post("/account/apps")(given.withdraw)

    @routes.errorhandler(CSRFError)
    def stale(_error: CSRFError) -> Response:
        try:
            return (asking if request.path == "/consent" else given).stale(parameters())
        except PageError as error:
            return error_page(error)

    return routes


@dataclass(frozen=True, slots=True)
class ConsentPage:
    """`/consent`: a step of a stored authorization request."""

    database: Database
    consents: ConsentService
    pending: PendingConsents
    paths: Callable[[str], str]
    told: Callable[[Any, Collection[str]], Sequence[str]]
    issuer: str

    def ask(self) -> Response:
        """What the app asks for, or what became of its request."""
        return self._page(parameters().get("request", ""))

    def answer(self) -> Response:
        """The person's answer."""
        form = parameters()
        request_id = form.get("request", "")
        with self.database.writing() as tx:
            over = self.pending.over(tx, request_id)
            if over is not None:
                return over_page(over, self.issuer)
            found = self._find(tx, request_id)
            if form.get("decision") == ALLOW:
                subject = current_user.account.subject
                self.consents.remember(tx, subject, found.client.client_id, found.scopes, found.redirect_origin)
                self.pending.allow(tx, request_id, subject)
            else:
                self.pending.deny(tx, request_id)
        return see_other(self.pending.location(request_id))

    def stale(self, form: Parameters) -> Response:
        """A form of another sign-in: whoever is signed in now is asked, by name and for all that the app asks for."""
        return self._page(form.get("request", ""), 400, NOT_OF_NOW)

    def _page(self, request_id: str, status: int = 200, notice: str | None = None) -> Response:
        with self.database.reading() as tx:
            over = self.pending.over(tx, request_id)
            if over is not None:
                return over_page(over, self.issuer)
            found = self._find(tx, request_id)
            before = self.consents.find(tx, current_user.account.subject, found.client.client_id)
        forms_may_lead_to(found.redirect_uri)
        shown = [
            AskedScope(
                name,
                _sentence(name),
                is_new=before is not None and not rules.covers(before, [name]),
                values=self.told(current_user.account, scopes.claims_of([name]) & set(found.claims)),
                has_claims=name != scopes.OPENID and bool(scopes.claims_of([name])),
            )
            for name in found.scopes
        ]
        return render(
            "consent.html",
            status,
            notice=notice,
            action="consent",
            request_id=request_id,
            client=as_shown(found.client, found.ui_locales),
            username=current_user.account.username,
            scopes=shown,
            redirect_host=found.redirect_host,
        )

    def _find(self, tx: Transaction, request_id: str) -> PendingConsent:
        """The open request, and somebody to answer it. Raises PageError."""
        found = self.pending.consent(tx, request_id)
        if found is None:
            raise PageError("invalid_request", "The authorization request is unknown, or another browser's.", _UNKNOWN)
        if not current_user.is_authenticated:
            ways = [Way("sign-in-again", self.paths(self.pending.location(request_id)), "Sign in again")]
            raise PageError("login_required", "Nobody is signed in at this browser.", _NOT_SIGNED_IN, ways=ways)
        return found


@dataclass(frozen=True, slots=True)
class AppsPage:
    """`/account/apps`: what one allowed, and withdrawing it."""

    database: Database
    clients: ClientService
    consents: ConsentService
    paths: Callable[[str], str]
    issuer: str

    def apps(self) -> Response:
        """Every app with access, and the one that `client_id` names, where it has a place to begin at."""
        if not current_user.is_authenticated:
            return see_other(self.paths("login"))
        with self.database.reading() as tx:
            given = self.consents.of_person(tx, current_user.account.subject, Page(_MOST_SHOWN))
            known = self.clients.get_each(tx, {consent.client_id for consent in given})
        shown = [
            AppShown(
                as_shown(client, logo=False),
                _gist(scopes.parse(consent.scope)),
                [_sentence(name) for name in scopes.parse(consent.scope)],
                consent.granted_at,
                opens_at(client, self.issuer),
            )
            for consent in given
            if (client := known.get(consent.client_id)) is not None
        ]
        wanted = self.clients.find(parameters().get("client_id"))
        begins_at = None if wanted is None else opens_at(wanted, self.issuer)
        named = {"app": as_shown(wanted, logo=False), "opens_at": begins_at} if wanted is not None and begins_at else None
        return render(
            "apps.html",
            action=self.paths("account/apps"),
            account=current_user.account,
            account_url=self.paths("account"),
            now=self.database.clock(),
            apps=shown,
            named=named,
            told=get_flashed_messages(),
        )

    def withdraw(self) -> Response:
        """Let an app have no access any more."""
        if not current_user.is_authenticated:
            return not_signed_in(self.paths("login"))
        subject, client_id = current_user.account.subject, parameters().get("client_id", "")
        with self.database.writing() as tx:
            if self.consents.find(tx, subject, client_id) is None:
                flash(_NO_ACCESS)
            self.consents.withdraw(tx, subject, client_id)
        return see_other(self.paths("account/apps"))

    def stale(self, form: Parameters) -> Response:
        """A form of another sign-in: asked once more of whoever is signed in now."""
        if not current_user.is_authenticated:
            raise nobody(self.paths("login"))
        client = self.clients.find(form.get("client_id"))
        name = "that app" if client is None else client.name
        question = Question(f"Withdraw the access of {name}?", "Withdraw", ("client_id",))
        return ask_again(question, self.paths("account/apps"), form, current_user.account.username)


def _gist(names: Sequence[str]) -> str:
    """One line for all of it. That it knows who somebody is goes without saying where there is more."""
    listed = [scopes.GISTS.get(name, name) for name in names if name != scopes.OPENID] or [scopes.GISTS[scopes.OPENID]]
    line = ", ".join(listed)
    return line[:1].upper() + line[1:]


def _sentence(scope: str) -> str:
    return scopes.SENTENCES.get(scope, scope)
