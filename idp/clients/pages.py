"""What every page for people needs that shows a client."""

from collections.abc import Sequence

from flask import current_app, request

from idp.clients.rules import Client
from idp.clients.showing import ShownClient, show
from idp.runtime.pages import images_may_come_from

#: The setting of the application that lets pages load the logos of clients from where these are.
LOGOS = "IDP_CLIENTS_LOGOS"
_MAXIMUM_LANGUAGES = 8


def as_shown(client: Client, ui_locales: Sequence[str] = (), *, logo: bool = True) -> ShownClient:
    """The client as this answer's page shows it: in what the app asked for, else in what the browser prefers.

    Its logo may then be loaded by this answer's page, and nothing else from there.
    """
    languages = [*ui_locales, *list(request.accept_languages.values())[:_MAXIMUM_LANGUAGES]]
    view = show(client, languages, logos=logo and bool(current_app.config.get(LOGOS)))
    images_may_come_from(view.logo_uri)
    return view
