"""`/consent`: what an app asks for, in words, and the person's answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from flask import Blueprint, Response
from flask_login import current_user

from idp.clients.pages import as_shown
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.clients.showing import ShownClient
from idp.consent import rules
from idp.consent.service import ConsentService
from idp.protocol import scopes
from idp.protocol.uris import with_parameters
from idp.runtime.clock import in_words
from idp.runtime.database import Database, Transaction
from idp.runtime.pages import PageError, blueprint, forms_may_lead_to, parameters, render, see_other

ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class PendingConsent:
    """What a stored authorization request asks of the person."""

    client: Client
    scopes: Sequence[str]
    redirect_uri: str
    redirect_host: str
    ui_locales: Sequence[str]


class PendingConsents(Protocol):
    """The stored authorization requests, as this room sees them; `authorization` implements it."""

    def consent(self, tx: Transaction, request_id: str) -> PendingConsent | None:
        """What the request of this very browser asks for; None for an unknown, expired or foreign one."""

    def allow(self, tx: Transaction, request_id: str, subject: str) -> None:
        """Write down that this person allowed it."""

    def deny(self, tx: Transaction, request_id: str) -> None:
        """Write down that the person did not."""

    def location(self, request_id: str) -> str:
        """Where the request goes on."""


@dataclass(frozen=True, slots=True)
class AskedScope:
    """A scope as the page shows it."""

    name: str
    sentence: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class AppShown:
    """An app with access, as the person sees it. `opens_at` is where a sign-in begins that starts here (OIDC Core §4)."""

    client: ShownClient
    sentences: Sequence[str]
    since: str
    opens_at: str | None


def pages(
    database: Database,
    clients: ClientService,
    consents: ConsentService,
    pending: PendingConsents,
    paths: Callable[[str], str],
    issuer: str,
) -> Blueprint:
    """The consent page, and what became of consents. `paths` makes an address of ours of a path."""
    routes = blueprint("consent")

    def find(tx: Transaction, request_id: str) -> PendingConsent:
        found = pending.consent(tx, request_id)
        if found is None or not current_user.is_authenticated:
            sentence = "This request has expired or was answered already. Go back to the app and start again."
            raise PageError("invalid_request", "The authorization request is unknown, expired, or another browser's.", sentence)
        return found

    @routes.get("/consent")
    def ask() -> Response:
        request_id = parameters().get("request", "")
        with database.reading() as tx:
            found = find(tx, request_id)
            before = consents.find(tx, current_user.account.subject, found.client.client_id)
        forms_may_lead_to(found.redirect_uri)
        shown = [
            AskedScope(name, _sentence(name), is_new=before is not None and not rules.covers(before, [name]))
            for name in found.scopes
        ]
        return render(
            "consent.html",
            action="consent",
            request_id=request_id,
            client=as_shown(found.client, found.ui_locales),
            username=current_user.account.username,
            scopes=shown,
            redirect_host=found.redirect_host,
        )

    @routes.get("/account/apps")
    def apps() -> Response:
        if not current_user.is_authenticated:
            return see_other(paths("login"))
        with database.reading() as tx:
            given = consents.of_person(tx, current_user.account.subject)
            found = [(consent, clients.get(tx, consent.client_id)) for consent in given]
        shown = [
            AppShown(
                as_shown(client, logo=False),
                [_sentence(name) for name in scopes.parse(consent.scope)],
                in_words(consent.granted_at),
                _opens_at(client, issuer),
            )
            for consent, client in found
            if client is not None
        ]
        wanted = clients.find(parameters().get("client_id"))
        opens_at = None if wanted is None else _opens_at(wanted, issuer)
        named = {"app": as_shown(wanted, logo=False), "opens_at": opens_at} if wanted is not None and opens_at else None
        return render("apps.html", action=paths("account/apps"), back=paths("account"), apps=shown, named=named)

    @routes.post("/account/apps")
    def withdraw() -> Response:
        if not current_user.is_authenticated:
            return see_other(paths("login"))
        with database.writing() as tx:
            consents.withdraw(tx, current_user.account.subject, parameters().get("client_id", ""))
        return see_other(paths("account/apps"))

    @routes.post("/consent")
    def answer() -> Response:
        form = parameters()
        request_id = form.get("request", "")
        with database.writing() as tx:
            found = find(tx, request_id)
            if form.get("decision") == ALLOW:
                subject = current_user.account.subject
                consents.remember(tx, subject, found.client.client_id, found.scopes)
                pending.allow(tx, request_id, subject)
            else:
                pending.deny(tx, request_id)
        return see_other(pending.location(request_id))

    return routes


def _opens_at(client: Client, issuer: str) -> str | None:
    """A link, and never a redirect: this address is somebody else's, and the person decides."""
    return None if client.initiate_login_uri is None else with_parameters(client.initiate_login_uri, [("iss", issuer)])


def _sentence(scope: str) -> str:
    return scopes.SENTENCES.get(scope, scope)
