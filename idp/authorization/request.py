"""Reading an authorization request: an endpoint as a list of small named checks.

The client and its redirect URI come first: until both are sure, an error stays on our own page, and after that every
error goes to the redirect URI (RFC 6749 §4.1.2.1). So no second error can redirect to a place nobody registered.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import OAuth2Error

from idp.authorization import checks
from idp.authorization.checks import SubjectOf
from idp.authorization.errors import RequestRefusedError, UntrustedRequestError
from idp.authorization.rules import AuthorizationRequest
from idp.clients import display
from idp.clients.rules import Client
from idp.protocol import response_types, scopes
from idp.protocol.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading needs of the rooms below, and what is switched on.

    `unfold` puts what a request object says in the place of the parameters around it; it raises OAuth2Error.
    """

    find: Callable[[str], Client | None]
    unfold: Callable[[Parameters, Client], Parameters]
    subject_of: SubjectOf
    response_types: Collection[str]
    id_token_algs: Collection[str]


def read(sent: Parameters, reader: Reader) -> tuple[Client, AuthorizationRequest]:
    """The request, valid. Raises UntrustedRequestError or RequestRefusedError."""
    client = _client(sent, reader.find)
    try:
        given = reader.unfold(sent, client)
    except OAuth2Error as error:
        if "redirect_uri" not in sent:
            raise UntrustedRequestError(str(error.error), str(error.get_error_description()), client=client) from None
        raise _refused(error, sent, trusted_redirect_uri(sent, client)) from None
    redirect_uri = trusted_redirect_uri(given, client)
    try:
        return client, _asked(given, client, redirect_uri, reader)
    except OAuth2Error as error:
        raise _refused(error, given, redirect_uri) from None


def _client(sent: Parameters, find: Callable[[str], Client | None]) -> Client:
    """Who asks. Raises UntrustedRequestError."""
    for name in ("client_id", "redirect_uri"):
        if name in sent.repeated:
            message = f"{name} is given more than once."
            raise UntrustedRequestError("invalid_request", message)
    client_id = sent.get("client_id")
    if client_id is None:
        message = "client_id is missing: send the one that the app got when it was registered."
        raise UntrustedRequestError("invalid_request", message)
    client = find(client_id)
    if client is None:
        message = "client_id names no client that is registered here."
        raise UntrustedRequestError("invalid_client", message)
    return client


def trusted_redirect_uri(given: Parameters, client: Client) -> str:
    """Where the person is sent back to. Raises UntrustedRequestError.

    OAuth allows a request to leave it out where there is no choice (RFC 6749 §3.1.2.3), OpenID Connect does not.
    """
    redirect_uri = given.get("redirect_uri")
    if redirect_uri is None and scopes.OPENID not in scopes.parse(given.get("scope")):
        redirect_uri = client.get_default_redirect_uri()
    if redirect_uri is None:
        message = (
            "redirect_uri is missing: give it to the letter as it is registered. Only a request without the scope openid, "
            "of a client that registered exactly one, may leave it out."
        )
        raise UntrustedRequestError("invalid_request", message, client=client)
    if not client.check_redirect_uri(redirect_uri):
        message = "redirect_uri is not one of those that the client registered; it must be the same to the letter."
        raise UntrustedRequestError("invalid_request", message, client=client, redirect_uri=redirect_uri)
    return redirect_uri


def _refused(error: OAuth2Error, given: Parameters, redirect_uri: str) -> RequestRefusedError:
    """The refusal, sent in the mode that was asked for, or in the one that goes with the response type."""
    usual = response_types.default_mode(given.get("response_type", response_types.CODE))
    mode = given.get("response_mode", usual)
    known = mode in response_types.RESPONSE_MODES and not (mode == "query" and usual == "fragment")
    return RequestRefusedError(error, redirect_uri, mode if known else usual, given.get("state"))


def _asked(given: Parameters, client: Client, redirect_uri: str, reader: Reader) -> AuthorizationRequest:
    """Everything else, checked. Raises OAuth2Error."""
    checks.check_names(given)
    response_type = checks.response_type(given, client, reader.response_types)
    checks.check_algorithm(client, reader.id_token_algs)
    scope = checks.scope(given, client, response_type)
    claims = checks.claims(given, client)
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        redirect_uri_given="redirect_uri" in given,
        response_type=response_type,
        response_mode=checks.response_mode(given, response_type),
        scope=scope,
        claims=claims,
        state=checks.bounded(given, "state", checks.MAXIMUM_STATE),
        nonce=checks.nonce(given, response_type),
        code_challenge=checks.code_challenge(given, client, response_type),
        prompt=checks.prompt(given),
        max_age=checks.max_age(given, client),
        login_hint=checks.bounded(given, "login_hint", 256),
        subject_required=checks.subject_required(given, client, claims, reader.subject_of),
        ui_locales=display.locales(given.get("ui_locales"), client),
    )
