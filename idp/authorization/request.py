"""Reading an authorization request: an endpoint as a list of small named checks.

The client and its redirect URI come first: until both are sure, an error stays on our own page, and after that every
error goes to the redirect URI (RFC 6749 §4.1.2.1). So no second error can redirect to a place nobody registered.
"""

import re
from collections.abc import Callable, Collection

from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, OAuth2Error, UnauthorizedClientError

from idp.authorization.rules import PROMPTS, RESPONSE_MODES, Asked
from idp.clients.rules import Client
from idp.protocol import errors, pkce, scopes, signatures
from idp.protocol.parameters import Parameters

MAXIMUM_STATE = 4096
MAXIMUM_NONCE = 1024
_SECONDS = re.compile(r"[0-9]{1,9}")


class UntrustedRequestError(Exception):
    """A request whose client or redirect URI is in doubt: shown on our page, never redirected."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = errors.description(description)


class RequestRefusedError(Exception):
    """A refusal that goes to the redirect URI."""

    def __init__(self, error: OAuth2Error, redirect_uri: str, response_mode: str, state: str | None) -> None:
        super().__init__(error.error)
        self.error = error
        self.redirect_uri = redirect_uri
        self.response_mode = response_mode
        self.state = state


def trusted_redirect_uri(parameters: Parameters, find: Callable[[str], Client | None]) -> tuple[Client, str]:
    """The client and where its person is sent back to. Raises UntrustedRequestError."""
    for name in ("client_id", "redirect_uri"):
        if name in parameters.repeated:
            message = f"{name} is given more than once."
            raise UntrustedRequestError("invalid_request", message)
    client_id = parameters.get("client_id")
    if client_id is None:
        message = "client_id is missing."
        raise UntrustedRequestError("invalid_request", message)
    client = find(client_id)
    if client is None:
        message = "client_id names no client that is registered here."
        raise UntrustedRequestError("invalid_client", message)
    given = parameters.get("redirect_uri")
    redirect_uri = given or client.get_default_redirect_uri()
    if redirect_uri is None:
        message = "redirect_uri is missing, and the client has not registered exactly one."
        raise UntrustedRequestError("invalid_request", message)
    if not client.check_redirect_uri(redirect_uri):
        message = "redirect_uri is not one of those that the client registered; it must be the same to the letter."
        raise UntrustedRequestError("invalid_request", message)
    return client, redirect_uri


def read(
    parameters: Parameters,
    find: Callable[[str], Client | None],
    subject_of_hint: Callable[[str, Client], str | None],
    id_token_algs: Collection[str],
) -> tuple[Client, Asked]:
    """The request, valid. Raises UntrustedRequestError or RequestRefusedError."""
    client, redirect_uri = trusted_redirect_uri(parameters, find)
    mode = parameters.get("response_mode", "query")
    try:
        _check_repeated(parameters)
        _check_response(parameters, client)
        _check_algorithm(client, id_token_algs)
        asked = Asked(
            client_id=client.client_id,
            redirect_uri=redirect_uri,
            redirect_uri_given="redirect_uri" in parameters,
            response_mode=mode,
            scope=_scope(parameters, client),
            state=_bounded(parameters, "state", MAXIMUM_STATE),
            nonce=_bounded(parameters, "nonce", MAXIMUM_NONCE),
            code_challenge=_code_challenge(parameters, client),
            prompt=_prompt(parameters),
            max_age=_max_age(parameters, client),
            login_hint=_bounded(parameters, "login_hint", 256),
            subject_required=_subject_required(parameters, client, subject_of_hint),
        )
    except OAuth2Error as error:
        answer_mode = mode if mode in RESPONSE_MODES else "query"
        raise RequestRefusedError(error, redirect_uri, answer_mode, parameters.get("state")) from None
    return client, asked


class _RefusedError(OAuth2Error):
    """An error that Authlib has no class for (OIDC Core §3.1.2.6)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description, error=error)


def _check_repeated(parameters: Parameters) -> None:
    """RFC 6749 §3.1: each parameter once."""
    if parameters.repeated:
        description = errors.description(f"{min(parameters.repeated)} is given more than once.")
        raise InvalidRequestError(description)


def _check_response(parameters: Parameters, client: Client) -> None:
    """What is announced as unsupported is refused by its own name (OIDC Core §3.1.2.6)."""
    for name in ("request", "request_uri", "registration"):
        if name in parameters:
            raise _RefusedError(f"{name}_not_supported", f"The parameter {name} is not supported.")
    response_type = parameters.get("response_type")
    if response_type is None:
        description = "response_type is missing."
        raise InvalidRequestError(description)
    if response_type != "code":
        raise _RefusedError("unsupported_response_type", "response_type must be code.")
    if not client.check_response_type(response_type):
        description = "The client did not register response_type code."
        raise UnauthorizedClientError(description)
    if parameters.get("response_mode", "query") not in RESPONSE_MODES:
        description = f"response_mode must be one of {', '.join(RESPONSE_MODES)}."
        raise InvalidRequestError(description)


def _check_algorithm(client: Client, id_token_algs: Collection[str]) -> None:
    """An algorithm may have been switched off after the client registered it: said now, not when the code is redeemed."""
    if client.id_token_signed_response_alg not in id_token_algs:
        raise UnauthorizedClientError(signatures.switched_off(client.id_token_signed_response_alg))


def _scope(parameters: Parameters, client: Client) -> str:
    """What may be granted: unknown scopes are left out (OIDC Core §3.1.2.1), and nothing at all is an error."""
    asked = client.get_allowed_scope(parameters.get("scope"))
    kept = [name for name in scopes.parse(asked) if name != scopes.OFFLINE_ACCESS or client.check_grant_type("refresh_token")]
    if not kept:
        description = f"scope must hold at least one of: {client.scope}."
        raise InvalidScopeError(errors.description(description))
    return scopes.join(kept)


def _bounded(parameters: Parameters, name: str, most: int) -> str | None:
    value = parameters.get(name)
    if value is not None and len(value) > most:
        description = f"{name} is longer than {most} characters."
        raise InvalidRequestError(description)
    return value


def _code_challenge(parameters: Parameters, client: Client) -> str | None:
    """S256 only, and demanded of public clients (RFC 9700 §2.1.1)."""
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None:
        if client.is_public or method is not None:
            description = "code_challenge is missing: this client must use PKCE with code_challenge_method S256."
            raise InvalidRequestError(description)
        return None
    if method != pkce.METHOD:
        description = "code_challenge_method must be S256."
        raise InvalidRequestError(description)
    if not pkce.is_challenge(challenge):
        description = "code_challenge must be the base64url SHA-256 of the code_verifier: 43 characters."
        raise InvalidRequestError(description)
    return challenge


def _prompt(parameters: Parameters) -> tuple[str, ...]:
    prompt = tuple(dict.fromkeys(parameters.get("prompt", "").split()))
    if any(value not in PROMPTS for value in prompt):
        description = f"prompt may hold: {', '.join(PROMPTS)}."
        raise InvalidRequestError(description)
    if "none" in prompt and len(prompt) > 1:
        description = "prompt=none goes with no other value."
        raise InvalidRequestError(description)
    return prompt


def _max_age(parameters: Parameters, client: Client) -> int | None:
    value = parameters.get("max_age")
    if value is None:
        return client.default_max_age
    if not _SECONDS.fullmatch(value):
        description = "max_age must be a number of seconds."
        raise InvalidRequestError(description)
    return int(value)


def _subject_required(
    parameters: Parameters, client: Client, subject_of_hint: Callable[[str, Client], str | None]
) -> str | None:
    """The person that `id_token_hint` names: nobody else may answer the request (OIDC Core §3.1.2.1)."""
    hint = parameters.get("id_token_hint")
    if hint is None:
        return None
    subject = subject_of_hint(hint, client)
    if subject is None:
        description = "id_token_hint is not an ID token that was issued here to this client."
        raise InvalidRequestError(description)
    return subject
