"""`grant_type=refresh_token`: rotation with reuse detection (RFC 6749 §6, RFC 9700 §4.14.2)."""

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant as _RefreshTokenGrant

from idp.clients.rules import Client
from idp.grants.server import AUTH_METHODS, AuthorizationServer, KeptError, ParsedRequest, Response
from idp.issuing.service import ReusedRefreshTokenError
from idp.logout.rules import Reason


class ReusedError(InvalidGrantError, KeptError):
    """A spent refresh token came again: its family has ended, and that is committed."""


class RefreshTokenGrant(_RefreshTokenGrant):
    """Authlib authenticates the client; rotating and issuing are ours."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer
    request: ParsedRequest

    def validate_token_request(self) -> None:
        """Spend the token, in one statement, and let the door decide."""
        client: Client = self._validate_request_client()  # type: ignore[attr-defined]
        text = self.request.parameters.get("refresh_token")
        if text is None:
            description = "refresh_token is missing."
            raise InvalidRequestError(description)
        services, tx = self.server.services, self.request.tx
        try:
            self.request.permit = services.issuing.refresh(tx, client, text, self.request.parameters.get("scope"))
        except ReusedRefreshTokenError as reuse:
            services.logout.end_family(tx, reuse.family_id, Reason.REFRESH_TOKEN_REUSED)
            description = "The refresh token was used before; the tokens of this authorization have been revoked."
            raise ReusedError(description) from None

    def create_token_response(self) -> Response:
        """New tokens of the same family."""
        return 200, self.server.services.issuing.next(self.request.tx, self.request.permit).response(), ()
