"""Reading a logout request (RP-Initiated Logout 1.0 §2, §3): who is named, and where the person may be sent."""

from dataclasses import dataclass

from idp.clients.display import locales
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.protocol.parameters import Parameters
from idp.runtime.database import Transaction
from idp.tokens.service import TokenService

#: What a logout request may carry; repeated by the confirmation page.
FIELDS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state", "logout_hint", "ui_locales")


class LogoutRequestError(Exception):
    """A logout request that contradicts itself; its text is for developers."""


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A logout request, read. `hint_sid` is the session that the hint came from; it ends nobody by itself.

    `redirect_uri` is None unless the client named by the hint or by `client_id` registered it to the letter: `refused_uri` is
    the one that came then, and nobody is sent there.
    """

    client: Client | None
    hint_sid: str | None
    redirect_uri: str | None
    refused_uri: str | None
    state: str | None
    ui_locales: tuple[str, ...]


def read(tx: Transaction, parameters: Parameters, clients: ClientService, tokens: TokenService) -> LogoutRequest:
    """The request. A hint that is none of ours counts as no hint; contradictions raise LogoutRequestError."""
    if parameters.repeated:
        message = f"{min(parameters.repeated)} is given more than once."
        raise LogoutRequestError(message)
    hint = parameters.get("id_token_hint")
    claims = tokens.id_token_hint(tx, hint) if hint is not None else None
    named = parameters.get("client_id")
    if claims is not None and named is not None and claims.get("aud") != named:
        message = "client_id is not the client that id_token_hint was issued to."
        raise LogoutRequestError(message)
    client = clients.find(str(claims["aud"]) if claims is not None else named)
    wanted = parameters.get("post_logout_redirect_uri")
    # A hint that does not verify proves nothing, and neither does a client_id beside it: no redirect then.
    trusted = client is not None and wanted is not None and (hint is None or claims is not None)
    allowed = wanted if trusted and client is not None and client.check_post_logout_redirect_uri(str(wanted)) else None
    sid = claims.get("sid") if claims is not None else None
    return LogoutRequest(
        client=client,
        hint_sid=sid if isinstance(sid, str) else None,
        redirect_uri=allowed,
        refused_uri=wanted if allowed is None else None,
        state=parameters.get("state"),
        ui_locales=() if client is None else locales(parameters.get("ui_locales"), client),
    )
