"""What every page for people needs that shows a client."""

from collections.abc import Sequence

from flask import Response, current_app, request

from idp.clients.display import Over, ShownClient, show
from idp.clients.rules import Client
from idp.protocol.uris import with_parameters
from idp.runtime.web.pages import Way, images_may_come_from, render

#: The setting of the application that lets pages load the logos of clients from where these are.
LOGOS = "IDP_CLIENTS_LOGOS"
_MAXIMUM_LANGUAGES = 8
_WEB = ("https://", "http://")


def as_shown(client: Client, ui_locales: Sequence[str] = (), *, logo: bool = True) -> ShownClient:
    """The client as this answer's page shows it: in what the app asked for, else in what the browser prefers.

    Its logo may then be loaded by this answer's page, and nothing else from there.
    """
    languages = [*ui_locales, *list(request.accept_languages.values())[:_MAXIMUM_LANGUAGES]]
    view = show(client, languages, logos=logo and bool(current_app.config.get(LOGOS)))
    images_may_come_from(view.logo_uri)
    return view


def opens_at(client: Client, issuer: str) -> str | None:
    """Where a sign-in begins that starts here (OIDC Core §4). A link, and never a redirect: the address is somebody else's."""
    return None if client.initiate_login_uri is None else with_parameters(client.initiate_login_uri, [("iss", issuer)])


def way_back(client: Client, shown: ShownClient, issuer: str) -> Way | None:
    """Back to the app, where it registered a place to begin at: a sign-in of its own, else its website."""
    address = opens_at(client, issuer) or shown.client_uri or ""
    # Anybody may have registered it: only what is a web address becomes a link.
    return _back(address, shown) if address.lower().startswith(_WEB) else None


def ways_back(client: Client | None, issuer: str, ui_locales: Sequence[str] = ()) -> list[Way]:
    """The same for a page that may know no app, and shows nothing else of it."""
    way = None if client is None else way_back(client, as_shown(client, ui_locales, logo=False), issuer)
    return [] if way is None else [way]


def over_page(over: Over, issuer: str, status: int = 200) -> Response:
    """What became of an authorization request, and the ways on: who comes back to a page of it finds this one."""
    shown = as_shown(over.client, over.ui_locales)
    way = way_back(over.client, shown, issuer)
    if way is None and over.error_at is not None:
        way = _back(over.error_at, shown)
    return render("over.html", status, client=shown, answered=over.answered, code=status, ways=[] if way is None else [way])


def _back(address: str, shown: ShownClient) -> Way:
    return Way("back-to-app", address, "Back to", shown.client_name or shown.client_id)
