"""How a client proves who it is (RFC 6749 §2.3, RFC 7523 §2.2). Every refusal looks the same: no oracle on which clients exist.

Always before a transaction, never in one: the keys of a client may have to be fetched from its own server.
"""

from base64 import b64decode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError

from idp.clients import assertions, client_jwt
from idp.clients.client_jwt import BadClientSignatureError, Unverified
from idp.clients.keys import ClientKeysError
from idp.clients.rules import AUTH_METHODS, Client
from idp.clients.service import ClientService
from idp.protocol import errors
from idp.runtime import audit

METHODS = AUTH_METHODS


class Headers(Protocol):
    """The headers of a request, as any framework has them."""

    def get(self, name: str, /) -> str | None:
        """The value of a header, or None."""


class ClientAuthenticationError(InvalidClientError):
    """Client authentication failed (RFC 6749 §5.2): 401, and how it would be done."""

    def __init__(self, description: str | None = None) -> None:
        super().__init__(
            description
            or "Client authentication failed: check client_id, its secret or key, and the registered method of authentication.",
            status_code=401,
        )

    def get_headers(self) -> list[tuple[str, str]]:
        """The challenge, with a realm (RFC 7617 §2)."""
        return [("WWW-Authenticate", 'Basic realm="client", charset="UTF-8"')]


@dataclass(frozen=True, slots=True, repr=False)
class Presented:
    """What a request says of its client; `repr` shows no secret."""

    method: str
    client_id: str
    secret: str | None = None
    assertion: Unverified | None = None


def authenticate(clients: ClientService, headers: Headers, form: Mapping[str, str], endpoint: str) -> Client:
    """The client that the request proves to come from, by the method that this client registered.

    Raises ClientAuthenticationError, or InvalidRequestError when two methods are used at once.
    """
    presented = _presented(clients, headers, form)
    client = clients.find(presented.client_id)
    if client is None or not client.check_endpoint_auth_method(presented.method, endpoint):
        raise ClientAuthenticationError
    try:
        _check_proof(clients, client, presented)
    except ClientAuthenticationError:
        given_another = clients.find_anew(client)
        if given_another is None or not given_another.check_endpoint_auth_method(presented.method, endpoint):
            raise
        client = given_another
        _check_proof(clients, client, presented)
    return clients.used(client)


def _check_proof(clients: ClientService, client: Client, presented: Presented) -> None:
    """Raise ClientAuthenticationError unless the secret or the assertion is the client's."""
    if presented.secret is not None and not client.knows_secret(presented.secret, clients.now()):
        raise ClientAuthenticationError
    if presented.assertion is not None:
        _check_assertion(clients, client, presented.method, presented.assertion)


def _presented(clients: ClientService, headers: Headers, form: Mapping[str, str]) -> Presented:
    authorization = headers.get("Authorization")
    client_id, secret = form.get("client_id"), form.get("client_secret")
    if "client_assertion" in form or "client_assertion_type" in form:
        if authorization is not None or secret is not None:
            description = "The client authenticates in two ways at once: send client_assertion and nothing else."
            raise InvalidRequestError(description)
        return _asserted(clients, form)
    if authorization is not None:
        presented = _basic(authorization)
        if secret is not None or (client_id is not None and client_id != presented.client_id):
            description = "The client authenticates in two ways at once: use the header or the form, not both."
            raise InvalidRequestError(description)
        return presented
    if client_id is None:
        raise ClientAuthenticationError
    return Presented("none" if secret is None else "client_secret_post", client_id, secret)


def _asserted(clients: ClientService, form: Mapping[str, str]) -> Presented:
    """An assertion that may be one, whoever signed it. Its algorithm says which method it is."""
    if form.get("client_assertion_type") != assertions.TYPE or "client_assertion" not in form:
        description = f"client_assertion must be there, and client_assertion_type must be {assertions.TYPE}."
        raise InvalidRequestError(description)
    try:
        assertion = client_jwt.take_apart(form["client_assertion"])
    except BadClientSignatureError as error:
        raise _refused(str(error)) from None
    if assertion.typ not in assertions.TYPES:
        raise _refused("its typ must be client-authentication+jwt or JWT, or be left out")
    problem = assertions.problem(assertion.claims, clients.audiences, clients.now())
    if problem is not None:
        raise _refused(problem)
    client_id = str(assertion.claims["sub"])
    if form.get("client_id", client_id) != client_id or "\x00" in client_id:
        raise _refused("iss and sub must be the client_id that is sent beside it")
    method = "client_secret_jwt" if assertion.alg.startswith("HS") else "private_key_jwt"
    return Presented(method, client_id, assertion=assertion)


def _check_assertion(clients: ClientService, client: Client, method: str, assertion: Unverified) -> None:
    """By a key of this very client, and never again."""
    try:
        clients.verify_assertion(client, method, assertion)
    except (BadClientSignatureError, ClientKeysError) as error:
        audit.record("client.refused", client_id=client.client_id, reason=str(error))
        raise ClientAuthenticationError from None
    if not clients.spend(client, str(assertion.claims["jti"])):
        raise _refused("its jti was used before")


def _refused(problem: str) -> ClientAuthenticationError:
    return ClientAuthenticationError(errors.description(f"client_assertion: {problem}."))


def _basic(authorization: str) -> Presented:
    """HTTP Basic, its two parts form-encoded (RFC 6749 §2.3.1)."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        text = b64decode(credentials.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = text.partition(":")
        client_id, secret = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (Error, ValueError):
        raise ClientAuthenticationError from None
    if scheme.lower() != "basic" or not colon or not client_id or not secret or "\x00" in text + client_id + secret:
        raise ClientAuthenticationError
    return Presented("client_secret_basic", client_id, secret)
