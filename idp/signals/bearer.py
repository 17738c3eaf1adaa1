"""Who may manage streams and who may poll: a client with an access token of its own (RFC 6750), in scopes of their own."""

from authlib.oauth2.rfc6750.errors import InvalidTokenError

from idp.protocol import scopes
from idp.runtime.database import Transaction
from idp.runtime.web.bearer import ScopeMissingError, TokenMissingError
from idp.tokens.service import TokenService

REALM = "signals"


def client_of(tx: Transaction, tokens: TokenService, authorization: str, allowed: tuple[str, ...]) -> str:
    """The client whose own token this is, with one of the scopes `allowed`. A person's token opens nothing here.

    Raises OAuth2Error: 401 or 403.
    """
    scheme, _, presented = authorization.partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise TokenMissingError(REALM)
    live = tokens.live_access_token(tx, presented.strip())
    if live is None or live.family is not None:
        raise InvalidTokenError(realm=REALM)
    if not set(scopes.parse(str(live.claims.get("scope", "")))) & set(allowed):
        raise ScopeMissingError(REALM, allowed[-1])
    return str(live.claims["client_id"])
