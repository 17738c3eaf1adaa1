"""`POST /revoke` (RFC 7009)."""

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Blueprint, Response, request

from idp.clients.authentication import authenticate
from idp.clients.service import ClientService
from idp.logout.revocation import revoke
from idp.logout.service import LogoutService
from idp.runtime.database import Database
from idp.runtime.web.endpoints import blueprint, form_parameters, json_response
from idp.tokens.service import TokenService


def endpoints(database: Database, clients: ClientService, tokens: TokenService, logout: LogoutService) -> Blueprint:
    """The revocation endpoint."""
    routes = blueprint("logout", allows_origin=clients.allows_origin)

    @routes.post("/revoke")
    def revocation() -> Response:
        parameters = form_parameters()
        client = authenticate(clients, request.headers, parameters, "revocation")
        if "token" not in parameters:
            description = "token is missing."
            raise InvalidRequestError(description)
        with database.writing() as tx:
            revoke(tx, tokens, logout, client, parameters["token"])
        return json_response(200, {})  # oidc-client-ts reads the body as JSON

    return routes
