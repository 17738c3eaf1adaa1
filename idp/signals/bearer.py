"""Who may manage streams and who may poll: a client with an access token of its own (RFC 6750), in scopes of their own."""

from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError

from idp.protocol import scopes
from idp.runtime.database import Transaction
from idp.tokens.service import TokenService

REALM = "signals"


class BearerTokenMissingError(InvalidTokenError):
    """No token at all: the challenge alone, without an error code (RFC 6750 §3.1)."""

    def get_headers(self) -> list[tuple[str, str]]:
        """The bare challenge."""
        return [("WWW-Authenticate", f'Bearer realm="{REALM}"')]


class ScopeMissingError(InsufficientScopeError):
    """The token is good, and not for this (RFC 6750 §3.1)."""

    def __init__(self, needed: str) -> None:
        super().__init__()
        self.description = f"The token needs the scope {needed}."
        self._needed = needed

    def get_headers(self) -> list[tuple[str, str]]:
        """The challenge, with the scope that would do."""
        return [("WWW-Authenticate", f'Bearer realm="{REALM}", error="insufficient_scope", scope="{self._needed}"')]


def client_of(tx: Transaction, tokens: TokenService, authorization: str, allowed: tuple[str, ...]) -> str:
    """The client whose own token this is, with one of the scopes `allowed`. A person's token opens nothing here.

    Raises OAuth2Error: 401 or 403.
    """
    scheme, _, presented = authorization.partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise BearerTokenMissingError(realm=REALM)
    live = tokens.live_access_token(tx, presented.strip())
    if live is None or live.family is not None:
        raise InvalidTokenError(realm=REALM)
    if not set(scopes.parse(str(live.claims.get("scope", "")))) & set(allowed):
        raise ScopeMissingError(allowed[-1])
    return str(live.claims["client_id"])
