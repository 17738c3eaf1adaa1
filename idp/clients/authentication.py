"""How a client proves who it is (RFC 6749 §2.3). Every refusal looks the same: no oracle on which clients exist."""

from base64 import b64decode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError

from idp.clients.rules import Client
from idp.clients.service import ClientService

METHODS = ("client_secret_basic", "client_secret_post", "none")


class Headers(Protocol):
    """The headers of a request, as any framework has them."""

    def get(self, name: str, /) -> str | None:
        """The value of a header, or None."""


class ClientAuthenticationError(InvalidClientError):
    """Client authentication failed (RFC 6749 §5.2): 401, and how it would be done."""

    def __init__(self) -> None:
        super().__init__(
            "Client authentication failed: check client_id, client_secret and the registered token_endpoint_auth_method.",
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
    secret: str | None


def authenticate(clients: ClientService, headers: Headers, form: Mapping[str, str], endpoint: str) -> Client:
    """The client that the request proves to come from, by the method that this client registered.

    Raises ClientAuthenticationError, or InvalidRequestError when two methods are used at once.
    """
    presented = _presented(headers, form)
    client = clients.find(presented.client_id)
    if client is None or not client.check_endpoint_auth_method(presented.method, endpoint):
        raise ClientAuthenticationError
    if presented.secret is not None and not client.check_client_secret(presented.secret):
        raise ClientAuthenticationError
    return client


def _presented(headers: Headers, form: Mapping[str, str]) -> Presented:
    authorization = headers.get("Authorization")
    client_id, secret = form.get("client_id"), form.get("client_secret")
    if "client_assertion" in form or "client_assertion_type" in form:
        description = "client_assertion is not supported: use client_secret_basic, client_secret_post or none."
        raise InvalidRequestError(description)
    if authorization is not None:
        presented = _basic(authorization)
        if secret is not None or (client_id is not None and client_id != presented.client_id):
            description = "The client authenticates in two ways at once: use the header or the form, not both."
            raise InvalidRequestError(description)
        return presented
    if client_id is None:
        raise ClientAuthenticationError
    return Presented("none" if secret is None else "client_secret_post", client_id, secret)


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
