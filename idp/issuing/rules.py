"""Whether tokens may be issued. Pure: what is true is handed in, and the first reason against it comes out."""

from dataclasses import dataclass
from enum import Enum

from idp.clients.rules import Client
from idp.protocol import claims, scopes
from idp.tokens.rules import Authorization, Family

CLIENT_CREDENTIALS = "client_credentials"
REFRESH_TOKEN = "refresh_token"
#: Scopes that speak of a person, who is not there when a client asks for itself.
PERSONAL = frozenset(scopes.SUPPORTED)


class Refusal(Enum):
    """Why nothing is issued: the error of RFC 6749 §5.2, and a description for whoever writes the client."""

    CLIENT_REMOVED = ("invalid_client", "The client was removed.")
    GRANT_TYPE = ("unauthorized_client", "The client did not register grant_type {grant_type}; it registered {registered}.")
    SCOPE_OF_CLIENT = ("invalid_scope", "The client may not have all of that scope any more; it may have: {scope}.")
    SCOPE_OF_AUTHORIZATION = ("invalid_scope", "scope asks for more than was authorized.")
    ACCOUNT = ("invalid_grant", "The person's account is disabled, or there is none any more.")
    SESSION = ("invalid_grant", "The session has ended.")
    CONSENT = ("invalid_grant", "The person does not allow this any more: ask again.")
    CLOSING = ("invalid_grant", "What was allowed before is just being ended: ask again in a moment.")

    def __init__(self, error: str, sentence: str) -> None:
        self.error = error
        self._sentence = sentence

    def description(self, grant_type: str, client: Client) -> str:
        """The sentence for the developer of this client."""
        registered, scope = ", ".join(client.grant_types), client.scope or "nothing"
        return self._sentence.format(grant_type=grant_type, registered=registered, scope=scope)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of a person and a client at this moment.

    `registered` is the client's metadata, None when it was removed. `consent_scope` is what the person allows the client
    now, None for nothing, and `consent_ended` whether some of it was withdrawn or replaced since the authorization began.
    `is_closing` says that what the person allowed the client is being ended just now, in batches.
    """

    registered: str | None
    account_is_open: bool
    consent_scope: str | None
    consent_ended: bool
    is_closing: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks tokens for. `authorization` is what the person allowed; a Family is one that goes on."""

    grant_type: str
    client: Client
    authorization: Authorization | Family
    scope: str


def reason_against(wish: Wish, standing: Standing, *, session_is_alive: bool) -> Refusal | None:
    """Why nothing may be issued; None when everything is as it must be.

    What is wrong with the client comes first, since that is what its developer can mend.
    """
    client, authorization = wish.client, wish.authorization
    asked = set(scopes.parse(wish.scope))
    problems = {
        Refusal.CLIENT_REMOVED: standing.registered is None,
        Refusal.GRANT_TYPE: not client.check_grant_type(wish.grant_type),
        Refusal.SCOPE_OF_AUTHORIZATION: not asked <= set(scopes.parse(authorization.scope)),
        Refusal.SCOPE_OF_CLIENT: not asked <= set(scopes.parse(client.scope)),
        Refusal.ACCOUNT: not standing.account_is_open,
        Refusal.SESSION: not session_is_alive,
        Refusal.CONSENT: not client.first_party and not _is_allowed(authorization, standing),
        Refusal.CLOSING: standing.is_closing,
    }
    return next((reason for reason, is_so in problems.items() if is_so), None)


def _is_allowed(authorization: Authorization | Family, standing: Standing) -> bool:
    """Whether the person's consent stands behind it.

    What begins needs a consent that covers all of it. What goes on needs that nothing of it was withdrawn since it began: a
    client that was the provider's own, and is so no more, keeps what it has (its people were never asked).
    """
    needed = {*scopes.parse(authorization.scope), *claims.scopes_behind(authorization.claims)}
    if needed <= set(scopes.parse(standing.consent_scope)):
        return True
    return isinstance(authorization, Family) and not standing.consent_ended


def scopes_for_itself(client: Client) -> list[str]:
    """What a client may have for itself: no scope that speaks of a person."""
    return [name for name in scopes.parse(client.scope) if name not in PERSONAL]
