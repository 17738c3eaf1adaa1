"""`/userinfo` (OIDC Core §5.3): the claims of the person for whom an access token stands."""

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError
from flask import Blueprint, Response, request

from idp.accounts import rules
from idp.accounts.service import AccountService
from idp.clients.service import ClientService
from idp.protocol import scopes
from idp.runtime.database import Database
from idp.runtime.endpoints import FORM, blueprint, form_parameters, json_response
from idp.tokens.service import TokenService

_REALM = "userinfo"


class BearerTokenMissingError(InvalidTokenError):
    """No token at all: the challenge alone, without an error code (RFC 6750 §3.1)."""

    def get_headers(self) -> list[tuple[str, str]]:
        """The bare challenge."""
        return [("WWW-Authenticate", f'Bearer realm="{_REALM}"')]


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
            granted = scopes.parse(str(live.claims.get("scope", "")))
            if scopes.OPENID not in granted:
                raise InsufficientScopeError
            account = accounts.get(tx, live.family.subject)
            if account is None or account.disabled_at is not None:
                raise InvalidTokenError(realm=_REALM)
            return json_response(200, rules.claims(account, granted))

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
        raise BearerTokenMissingError
    return in_header or in_form or ""
