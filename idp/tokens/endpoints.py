"""`POST /introspect` (RFC 7662): for resource servers, never for browsers (no CORS)."""

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Blueprint, Response, request

from idp.clients.authentication import ClientAuthenticationError, authenticate
from idp.clients.service import ClientService
from idp.runtime.database import Database
from idp.runtime.web.endpoints import blueprint, form_parameters, json_response
from idp.tokens.introspection import introspect
from idp.tokens.service import TokenService


def endpoints(database: Database, clients: ClientService, tokens: TokenService) -> Blueprint:
    """The introspection endpoint."""
    routes = blueprint("tokens")

    @routes.post("/introspect")
    def introspection() -> Response:
        parameters = form_parameters()
        client = authenticate(clients, request.headers, parameters, "introspection")
        if client.is_public:
            raise ClientAuthenticationError  # RFC 7662 §2.1: no scanning for tokens by whoever knows a client_id
        if "token" not in parameters:
            description = "token is missing."
            raise InvalidRequestError(description)
        with database.reading() as tx:
            return json_response(200, introspect(tx, tokens, client, parameters["token"]))

    return routes
