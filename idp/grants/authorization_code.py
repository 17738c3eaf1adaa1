"""`grant_type=authorization_code` (RFC 6749 §4.1.3, RFC 7636, OIDC Core §3.1.3)."""

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant as _AuthorizationCodeGrant

from idp.clients.rules import Client
from idp.grants.rules import Code
from idp.grants.server import AUTH_METHODS, AuthorizationServer, KeptError, ParsedRequest, Response
from idp.logout.rules import Reason
from idp.protocol import pkce, scopes


class ReplayedCodeError(InvalidGrantError, KeptError):
    """A code came twice: what the first use gave has ended, and that is committed (RFC 6749 §4.1.2, RFC 9700 §4.5)."""


class AuthorizationCodeGrant(_AuthorizationCodeGrant):
    """Authlib checks client, code and redirect URI in their order; consuming, PKCE, issuing and what is said are ours."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer
    request: ParsedRequest

    def query_authorization_code(self, code: str, client: Client) -> Code:
        """Spend the code. A refusal further down rolls that back, so a wrong guess spoils nobody's sign-in."""
        services, tx = self.server.services, self.request.tx
        spent = services.codes.spend(tx, code, client.client_id, services.issuing.new_family_id())
        if spent is not None:
            if spent.redirect_uri not in {None, self.request.parameters.get("redirect_uri")}:
                description = "redirect_uri must be the one of the authorization request, to the letter."
                raise InvalidGrantError(description)
            return spent
        given = services.codes.given_by(tx, code, client.client_id)
        for family_id in given:
            services.logout.end_family(tx, family_id, Reason.CODE_REUSED)
        if given:
            description = "The code was used before; what it gave has been revoked."
            raise ReplayedCodeError(description)
        description = "The code is unknown, expired, or was issued to another client."
        raise InvalidGrantError(description)

    def validate_token_request(self) -> None:
        """Authlib's checks, then PKCE: whoever began with a challenge must prove it, and nobody may bring a proof alone."""
        if "code" not in self.request.parameters:
            description = "code is missing: send the one that the authorization response brought."
            raise InvalidRequestError(description)
        super().validate_token_request()
        code = self.request.authorization_code
        verifier = self.request.parameters.get("code_verifier")
        if code.code_challenge is None:
            if verifier is not None:
                description = "code_verifier is given, but the authorization request had no code_challenge."
                raise InvalidGrantError(description)
        elif verifier is None:
            description = "code_verifier is missing: the authorization request had a code_challenge."
            raise InvalidRequestError(description)
        elif not pkce.proves(verifier, code.code_challenge):
            description = "code_verifier does not match the code_challenge."
            raise InvalidGrantError(description)

    def create_token_response(self) -> Response:
        """Let the client take part in the session, start the family, and issue."""
        issuing, tx = self.server.services.issuing, self.request.tx
        code = self.request.authorization_code
        permit = issuing.begin(tx, self.GRANT_TYPE, self.request.client, code.authorization)
        tokens = issuing.first(
            tx,
            permit,
            code.family_id,
            refreshable=permit.client.check_grant_type("refresh_token"),
            id_token=scopes.OPENID in scopes.parse(code.scope),
            nonce=code.nonce,
        )
        return 200, tokens.response(), ()
