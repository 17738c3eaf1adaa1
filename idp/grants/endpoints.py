"""`POST /token` (RFC 6749 §3.2)."""

from flask import Blueprint, Response, request

from idp.clients import encryption
from idp.clients.authentication import authenticate
from idp.clients.encryption import Recipient
from idp.grants.authorization_code import AuthorizationCodeGrant
from idp.grants.client_credentials import ClientCredentialsGrant
from idp.grants.refresh_token import RefreshTokenGrant
from idp.grants.server import AuthorizationServer, ParsedRequest, check_grant_type
from idp.runtime.database import Database
from idp.runtime.web.endpoints import blueprint, form_parameters, json_response

#: The grants of this provider; each has its recipe in tests/issuing.
GRANTS = (AuthorizationCodeGrant, RefreshTokenGrant, ClientCredentialsGrant)
_WITH_ID_TOKEN = ("authorization_code", "refresh_token")


def endpoints(database: Database, server: AuthorizationServer) -> Blueprint:
    """The token endpoint over the grants that this provider knows."""
    for grant in GRANTS:
        server.register_grant(grant)
    services = server.services
    routes = blueprint("grants", allows_origin=services.clients.allows_origin)

    @routes.post("/token")
    def token() -> Response:
        parameters = form_parameters()
        check_grant_type(parameters)
        client = authenticate(services.clients, request.headers, parameters, "token")
        personal = parameters["grant_type"] in _WITH_ID_TOKEN
        # Before anything is spent: the client's keys may have to be fetched, and may not be there.
        recipient = encryption.recipient(services.clients, client, "id_token") if personal else None
        with database.writing() as tx:
            status, body, headers = server.create_token_response(ParsedRequest(tx, services.issuer, client, parameters))
        return json_response(status, _sealed(recipient, body), headers)

    return routes


def _sealed(recipient: Recipient | None, body: object) -> object:
    """The answer with its ID token encrypted, for a client that wants it so (OIDC Core §10.2)."""
    if recipient is None or not isinstance(body, dict) or "id_token" not in body:
        return body
    return body | {"id_token": recipient.seal(body["id_token"])}
