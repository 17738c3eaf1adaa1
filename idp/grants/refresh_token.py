"""`grant_type=refresh_token`: rotation with reuse detection (RFC 6749 §6, RFC 9700 §4.14.2)."""

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant as _RefreshTokenGrant

from idp.clients.rules import Client
from idp.grants.server import AUTH_METHODS, AuthorizationServer, KeptError, ParsedRequest, Response
from idp.logout.rules import Reason
from idp.protocol import scopes
from idp.tokens.service import ReusedRefreshTokenError


class ReusedError(InvalidGrantError, KeptError):
    """A spent refresh token came again: its family has ended, and that is committed."""


class RefreshTokenGrant(_RefreshTokenGrant):
    """Authlib authenticates the client; rotating and issuing are ours."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer
    request: ParsedRequest

    def validate_token_request(self) -> None:
        """Spend the token, in one statement, and see that no more is asked for than was allowed."""
        client: Client = self._validate_request_client()  # type: ignore[attr-defined]
        text = self.request.parameters.get("refresh_token")
        if text is None:
            description = "refresh_token is missing."
            raise InvalidRequestError(description)
        services, tx = self.server.services, self.request.tx
        try:
            rotated = services.tokens.rotate(tx, client, text)
        except ReusedRefreshTokenError as reuse:
            services.logout.end_family(tx, reuse.family_id, Reason.REFRESH_TOKEN_REUSED)
            description = "The refresh token was used before; the tokens of this authorization have been revoked."
            raise ReusedError(description) from None
        asked = scopes.parse(self.request.parameters.get("scope"))
        if not set(asked) <= set(scopes.parse(rotated.family.scope)):
            description = "scope asks for more than was authorized."
            raise InvalidScopeError(description)
        self.request.refreshed = (rotated, scopes.join(asked) or rotated.family.scope)

    def create_token_response(self) -> Response:
        """New tokens of the same family; the ID token tells the same `sid` and `auth_time` (OIDC Core §12.2)."""
        services, tx = self.server.services, self.request.tx
        (family, successor, session), scope = self.request.refreshed
        access = services.tokens.access_token(tx, self.request.client, family, scope, session)
        token: dict[str, object] = {
            "access_token": access.text,
            "token_type": "Bearer",
            "expires_in": access.expires_in,
            "scope": scope,
            "refresh_token": successor,
        }
        if scopes.OPENID in scopes.parse(scope):
            token["id_token"] = services.id_token(tx, self.request.client, family, scope, nonce=None, access_token=access.text)
        return 200, token, ()
