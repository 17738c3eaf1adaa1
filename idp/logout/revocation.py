"""What `/revoke` ends (RFC 7009 §2.1)."""

from idp.clients.rules import Client
from idp.logout.rules import Reason
from idp.logout.service import LogoutService
from idp.runtime.database import Transaction
from idp.tokens.service import TokenService


def revoke(tx: Transaction, tokens: TokenService, logout: LogoutService, client: Client, text: str) -> None:
    """End the token, if it is the client's own: an access token alone, or a refresh token with all of its family.

    Another client's token, an unknown one and one that has ended are all the same: nothing happens, and nobody can tell.
    """
    if "." in text:
        live = tokens.live_access_token(tx, text)
        if live is not None and live.claims.get("client_id") == client.client_id:
            expires = live.claims["exp"]
            tokens.note_arrival(tx, live)
            logout.end_access_token(tx, str(live.claims["jti"]), float(str(expires)))
        return
    family = tokens.family_of_refresh_token(tx, text)
    if family is not None and family.client_id == client.client_id:
        logout.end_family(tx, family.family_id, Reason.REVOKED)
