"""`grant_type=client_credentials`: a token for the client itself (RFC 6749 §4.4)."""

from authlib.oauth2.rfc6749.errors import InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant as _ClientCredentialsGrant

from idp.grants.server import AUTH_METHODS, AuthorizationServer, ParsedRequest, Response
from idp.protocol import scopes

#: Scopes that speak of a person, who is not there.
_PERSONAL = frozenset(scopes.SUPPORTED)


class ClientCredentialsGrant(_ClientCredentialsGrant):
    """Authlib authenticates the client and checks its grant type; scope and token are ours."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer
    request: ParsedRequest

    def create_token_response(self) -> Response:
        """An access token with the client as its subject; no refresh token, since the client can always ask again."""
        client = self.request.client
        allowed = [name for name in scopes.parse(client.scope) if name not in _PERSONAL]
        asked = scopes.parse(self.request.parameters.get("scope"))
        if not set(asked) <= set(allowed):
            description = f"scope may hold: {scopes.join(allowed) or 'nothing, for this client'}."
            raise InvalidScopeError(description)
        scope = scopes.join(asked or allowed)
        services, tx = self.server.services, self.request.tx
        access = services.tokens.client_access_token(tx, client, scope)
        token: dict[str, object] = {"access_token": access.text, "token_type": "Bearer", "expires_in": access.expires_in}
        return 200, token | {"scope": scope} if scope else token, ()
