"""`/userinfo` (OIDC Core §5.3): the claims of the person for whom an access token stands."""

from collections.abc import Mapping

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from flask import Blueprint, Response, request

from idp.accounts import rules
from idp.accounts.service import AccountService
from idp.clients import encryption
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.protocol import claims as protocol_claims
from idp.protocol import scopes
from idp.runtime.database import Database
from idp.runtime.web.bearer import ScopeMissingError, TokenMissingError
from idp.runtime.web.endpoints import FORM, blueprint, form_parameters, json_response
from idp.tokens.service import TokenService

_REALM = "userinfo"


def endpoints(database: Database, clients: ClientService, accounts: AccountService, tokens: TokenService) -> Blueprint:
    """The userinfo endpoint."""
    routes = blueprint("accounts", allows_origin=clients.allows_origin)

    @routes.route("/userinfo", methods=["GET", "POST"])
    def userinfo() -> Response:
        text = _bearer_token()
        with database.reading() as tx:
            live = tokens.live_access_token(tx, text)
            if live is None or live.family is None:
                raise InvalidTokenError(realm=_REALM)
            tokens.note_arrival(tx, live)
            tokens.note_use_of_session(tx, live)
            scope = str(live.claims.get("scope", ""))
            if scopes.OPENID not in scopes.parse(scope):
                raise ScopeMissingError(_REALM, scopes.OPENID)
            account = accounts.get(tx, live.family.subject)
            client = clients.find(live.family.client_id)
            if account is None or account.is_disabled or client is None:
                raise InvalidTokenError(realm=_REALM)
        told = rules.may_be_told(scope, client.scope, live.family.claims, protocol_claims.USERINFO)
        return _answer(client, {"sub": live.family.sub} | rules.claims(account, told))

    def _answer(client: Client, claims: Mapping[str, object]) -> Response:
        """As the client registered it: JSON, signed, encrypted, or both, in that order (OIDC Core §5.3.2)."""
        recipient = encryption.recipient(clients, client, "userinfo")
        text = tokens.userinfo_jwt(client, claims, database.clock())
        if recipient is not None:
            text = recipient.seal_claims(claims) if text is None else recipient.seal(text)
        return json_response(200, claims) if text is None else Response(text, content_type="application/jwt")

    return routes


def _bearer_token() -> str:
    """The access token from the header or the form, never from the query (RFC 6750 §2, RFC 9700 §4.3.2)."""
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    in_header = presented.strip() if scheme.lower() == "bearer" else None
    in_form = form_parameters().get("access_token") if request.method == "POST" and request.mimetype == FORM else None
    if in_header and in_form:
        description = "The access token is sent in two ways at once."
        raise InvalidRequestError(description)
    if not in_header and not in_form:
        raise TokenMissingError(_REALM)
    return in_header or in_form or ""
