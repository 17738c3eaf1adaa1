"""What `/introspect` answers (RFC 7662 §2.2), and whom."""

from idp.clients.rules import Client
from idp.runtime.database import Transaction
from idp.tokens.rules import is_for
from idp.tokens.service import Live, TokenService

INACTIVE: dict[str, object] = {"active": False}


def introspect(tx: Transaction, tokens: TokenService, client: Client, text: str) -> dict[str, object]:
    """The token's state. A client that the token is not meant for learns as little as of one that never was.

    An access token that is asked for has arrived where it was sent. It is no use of the person's session: a resource
    server may ask for reasons of its own.
    """
    live = tokens.live_access_token(tx, text) if "." in text else tokens.live_refresh_token(tx, text)
    if live is None or not _may_ask(client, live, tokens.policy.issuer):
        return INACTIVE
    if "jti" in live.claims:
        tokens.note_arrival(tx, live)
    kind = {"token_type": "Bearer"} if "jti" in live.claims else {}
    return {"active": True, **live.claims, **kind}


def _may_ask(client: Client, live: Live, issuer: str) -> bool:
    """The client it was issued to, and those that it names as an audience: by identifier or by a resource of theirs.

    The issuer is an audience of every access token, for `/userinfo`; a resource of that name opens nothing here.
    """
    if live.claims.get("client_id") == client.client_id:
        return True
    return any(is_for(live.claims, audience) for audience in (client.client_id, *client.resources) if audience != issuer)
