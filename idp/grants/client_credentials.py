"""`grant_type=client_credentials`: a token for the client itself (RFC 6749 §4.4)."""

from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant as _ClientCredentialsGrant

from idp.grants.server import AUTH_METHODS, AuthorizationServer, ParsedRequest, Response


class ClientCredentialsGrant(_ClientCredentialsGrant):
    """Authlib authenticates the client and checks its grant type; the token is ours."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer
    request: ParsedRequest

    def create_token_response(self) -> Response:
        """An access token with the client as its subject."""
        issuing, scope = self.server.services.issuing, self.request.parameters.get("scope")
        return 200, issuing.for_itself(self.request.tx, self.request.client, scope).response(), ()
