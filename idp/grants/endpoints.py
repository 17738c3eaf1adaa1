"""`POST /token` (RFC 6749 §3.2)."""

from flask import Blueprint, Response, request

from idp.clients.authentication import authenticate
from idp.grants.authorization_code import AuthorizationCodeGrant
from idp.grants.client_credentials import ClientCredentialsGrant
from idp.grants.refresh_token import RefreshTokenGrant
from idp.grants.server import AuthorizationServer, ParsedRequest, check_grant_type
from idp.runtime.database import Database
from idp.runtime.endpoints import blueprint, form_parameters, json_response


def endpoints(database: Database, server: AuthorizationServer) -> Blueprint:
    """The token endpoint over the grants that this provider knows."""
    for grant in (AuthorizationCodeGrant, RefreshTokenGrant, ClientCredentialsGrant):
        server.register_grant(grant)
    services = server.services
    routes = blueprint("grants", allows_origin=services.clients.allows_origin)

    @routes.post("/token")
    def token() -> Response:
        parameters = form_parameters()
        check_grant_type(parameters)
        client = authenticate(services.clients, request.headers, parameters, "token")
        with database.writing() as tx:
            parsed = ParsedRequest(tx, services.issuer, client, parameters)
            return json_response(*server.create_token_response(parsed))

    return routes
