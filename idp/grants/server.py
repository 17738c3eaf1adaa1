"""Authlib's authorization server, told where our parts are.

It is met in this room, in `authorization` and nowhere else. A request is parsed once, before it comes here; a response
is status, body and headers, which `endpoints.py` and `pages.py` turn into Flask's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from authlib.oauth2.rfc6749 import AuthorizationServer as _AuthorizationServer
from authlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    OAuth2Error,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
)
from authlib.oauth2.rfc6749.requests import OAuth2Payload, OAuth2Request

from idp.clients.authentication import METHODS
from idp.clients.rules import GRANT_TYPES, Client
from idp.clients.service import ClientService
from idp.grants.rules import Code
from idp.grants.service import CodeService
from idp.issuing.service import IssuingService, Permit
from idp.logout.service import LogoutService
from idp.protocol import errors
from idp.protocol.parameters import Parameters
from idp.runtime.database import Transaction

Response: TypeAlias = tuple[int, object, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class GrantServices:
    """What grants need of the rooms below."""

    issuer: str
    clients: ClientService
    codes: CodeService
    issuing: IssuingService
    logout: LogoutService


class TokenGrant(Protocol):
    """A grant at the token endpoint, as Authlib's server drives it."""

    def validate_token_request(self) -> None:
        """Check everything, and spend what is presented. Raises OAuth2Error."""

    def create_token_response(self) -> Response:
        """Issue."""


class Payload(OAuth2Payload):
    """The request's parameters as Authlib reads them."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    @property
    def data(self) -> Parameters:
        """Each parameter once."""
        return self._parameters

    @property
    def datalist(self) -> Mapping[str, list[str]]:
        """Repeated ones show as two values: that is all that Authlib asks of it."""
        return {name: [value] * (2 if name in self._parameters.repeated else 1) for name, value in self._parameters.items()}


def check_grant_type(parameters: Parameters) -> None:
    """Refuse what no client may ask for, before anybody has to prove who they are; errors say what there is."""
    grant_type = parameters.get("grant_type")
    if grant_type is None:
        description = f"grant_type is missing: it must be one of {', '.join(GRANT_TYPES)}."
        raise InvalidRequestError(description)
    if grant_type not in GRANT_TYPES:
        error = UnsupportedGrantTypeError(grant_type)
        error.description = f"grant_type must be one of {', '.join(GRANT_TYPES)}."
        raise error


class ParsedRequest(OAuth2Request):
    """A request whose parameters were parsed strictly and whose client has authenticated, and the transaction of its answer."""

    payload: Payload
    client: Client  # type: ignore[assignment]
    authorization_code: Code
    #: What the door let through (`idp.issuing`).
    permit: Permit

    def __init__(self, tx: Transaction, issuer: str, client: Client, parameters: Parameters) -> None:
        # The address comes from the configuration, never from `Host`.
        super().__init__("POST", issuer)
        self.tx = tx
        self.client = client
        self.auth_method = client.token_endpoint_auth_method
        self.parameters = parameters
        self.payload = Payload(parameters)

    @property
    def form(self) -> Parameters:
        """The parameters: clients never authenticate by query."""
        return self.parameters

    @property
    def args(self) -> Parameters:
        """None: what stands in a token request's query is not read."""
        return Parameters({})


class AuthorizationServer(_AuthorizationServer):
    """Authlib's server over our services."""

    def __init__(self, services: GrantServices) -> None:
        super().__init__()
        self.services = services

    def query_client(self, client_id: str) -> Client | None:
        """The client, or None."""
        return self.services.clients.find(client_id)

    def create_oauth2_request(self, request: ParsedRequest) -> ParsedRequest:
        """The request is parsed already."""
        return request

    def authenticate_client(
        self,
        request: ParsedRequest,
        methods: Sequence[str],  # noqa: ARG002 - the registered method decides, at every endpoint alike
        endpoint: str = "token",  # noqa: ARG002
    ) -> Client:
        """The client that the request comes from: it authenticated before the transaction began."""
        return request.client

    def create_token_response(self, request: ParsedRequest) -> Response:
        """Answer a token request; errors go to the edge, which knows whether their changes must be kept."""
        asked, client = str(request.parameters.get("grant_type")), request.client
        if not client.check_grant_type(asked):
            description = f"The client did not register grant_type {asked}; it registered {', '.join(client.grant_types)}."
            raise UnauthorizedClientError(errors.description(description))
        grant: TokenGrant = self.get_token_grant(request)  # type: ignore[assignment]
        grant.validate_token_request()
        return grant.create_token_response()

    def handle_response(self, status: int, body: object, headers: Sequence[tuple[str, str]]) -> Response:
        """A response as values."""
        return status, body, headers

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens: what happened is written by the audit."""


class KeptError(OAuth2Error):
    """A refusal that must be remembered: the transaction is committed although it is refused."""

    keep_changes = True


AUTH_METHODS = list(METHODS)
