"""Request objects: parameters in a JWT that the client signed (OIDC Core §6, RFC 9101).

What the object says wins over what stands around it, whoever put that there; `client_id` and `response_type` must be the
same where both say them (OIDC Core §6.1). The same keys sign client assertions, so what one is for must be plain from the
token itself: its `typ`, its `aud`, and no `sub` (RFC 9101 §4, §10.8).
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import InvalidRequestError

from idp.authorization.errors import AuthorizationError
from idp.authorization.request_uri import Documents
from idp.clients import client_jwt
from idp.clients.client_jwt import BadClientSignatureError, Unverified
from idp.clients.keys import ClientKeysError
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.protocol import response_types
from idp.protocol.parameters import Parameters
from idp.protocol.signatures import ALGORITHMS
from idp.runtime.clock import Instant

#: How a request object may come, and which parameters are taken from it.
BY_VALUE, BY_REFERENCE = "request", "request_uri"
_HELD = (
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "claims",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
    "registration",
)
_TYPES = frozenset({None, "jwt", "oauth-authz-req+jwt"})
_UNSIGNED = "none"
#: By how many seconds a client's clock may differ from ours.
_SKEW = 60
_ERROR = "invalid_request_object"


@dataclass(frozen=True, slots=True)
class RequestObjects:
    """Reads request objects, in the ways that are `switched_on`: by value, by reference."""

    issuer: str
    clients: ClientService
    documents: Documents
    clock: Callable[[], Instant]
    switched_on: Collection[str] = ()

    def unfold(self, sent: Parameters, client: Client) -> Parameters:
        """The parameters, with those of the request object in their place. Raises OAuth2Error.

        It may wait for the client's server: never call it inside a transaction.
        """
        given = [name for name in (BY_VALUE, BY_REFERENCE) if name in sent]
        for name in given:
            if name not in self.switched_on:
                raise AuthorizationError(f"{name}_not_supported", f"The parameter {name} is not supported here.")
            if name in sent.repeated:
                raise InvalidRequestError(f"{name} is given more than once.")
        if not given:
            return sent
        if len(given) > 1:
            description = "request and request_uri exclude each other: send one of them."
            raise InvalidRequestError(description)
        text = sent[BY_VALUE] if given == [BY_VALUE] else self.documents.fetch(sent[BY_REFERENCE], client)
        return _merged(sent, self._claims(text, client))

    def _claims(self, text: str, client: Client) -> Mapping[str, object]:
        """The claims of the object, once it is certain who made it, for whom, and that it is not too old."""
        try:
            found = client_jwt.take_apart(text)
            self._check_signature(found, client)
        except BadClientSignatureError as error:
            raise AuthorizationError(_ERROR, f"The request object cannot be used: {error}.") from None
        except ClientKeysError as error:
            raise AuthorizationError(_ERROR, str(error)) from None
        if found.typ not in _TYPES:
            raise AuthorizationError(_ERROR, "The typ of a request object must be oauth-authz-req+jwt or JWT.")
        _check_purpose(found.claims, client, self.issuer)
        _check_time(found.claims, self.clock())
        return found.claims

    def _check_signature(self, found: Unverified, client: Client) -> None:
        """By the algorithm that the client registered, or else by any (OIDC Registration 1.0 §2) but `none`.

        `none` counts only where the client registered it, at its `request_uri`s too.
        """
        registered = client.request_object_signing_alg
        if registered == _UNSIGNED:
            if found.alg != _UNSIGNED or found.signature:
                raise BadClientSignatureError("its alg must be none, with an empty signature, as the client registered")
            return
        client_jwt.verify(found, lambda kid: self.clients.keys_of(client, kid), (registered,) if registered else ALGORITHMS)


def _check_purpose(claims: Mapping[str, object], client: Client, issuer: str) -> None:
    if claims.get("iss", client.client_id) != client.client_id:
        raise AuthorizationError(_ERROR, "The iss of the request object must be the client_id.")
    audience = claims.get("aud", issuer)
    if issuer not in (audience if isinstance(audience, list) else [audience]):
        raise AuthorizationError(_ERROR, f"The aud of the request object must be {issuer}.")
    if claims.get("sub") == client.client_id:
        raise AuthorizationError(
            _ERROR, "The sub of a request object must not be the client_id: it could be taken for a client assertion."
        )
    for name in (BY_VALUE, BY_REFERENCE):
        if name in claims:
            raise AuthorizationError(_ERROR, f"A request object must not hold {name}.")


def _check_time(claims: Mapping[str, object], now: Instant) -> None:
    """`exp`, `nbf` and `iat` where they are given (RFC 7519 §4.1)."""
    instants = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    for name, value in instants.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise AuthorizationError(_ERROR, f"The {name} of the request object must be a number of seconds.")
        if name == "exp" and value <= now - _SKEW:
            raise AuthorizationError(_ERROR, "The exp of the request object lies in the past.")
        if name != "exp" and value > now + _SKEW:
            raise AuthorizationError(_ERROR, f"The {name} of the request object lies in the future.")


def _merged(sent: Parameters, claims: Mapping[str, object]) -> Parameters:
    """What was sent, with the object's values in place of those around it."""
    inside = {name: _text(name, claims[name]) for name in ("client_id", *_HELD) if claims.get(name) is not None}
    if inside.pop("client_id", sent["client_id"]) != sent["client_id"]:
        raise AuthorizationError(_ERROR, "The client_id of the request object must be the one beside it.")
    outside = {name: value for name, value in sent.items() if name not in {BY_VALUE, BY_REFERENCE}}
    types = {response_types.canonical(each["response_type"]) for each in (inside, outside) if "response_type" in each}
    if len(types) > 1:
        raise AuthorizationError(_ERROR, "The response_type of the request object must be the one beside it.")
    return Parameters({name: value for name, value in (outside | inside).items() if value}, sent.repeated)


def _text(name: str, value: object) -> str:
    """A member as the parameter would be written: numbers and objects occur in `max_age` and `claims` (OIDC Core §6.1)."""
    if isinstance(value, dict) and name in {"claims", "registration"}:
        value = json.dumps(value)
    if isinstance(value, int) and not isinstance(value, bool) and name == "max_age":
        value = str(value)
    if not isinstance(value, str):
        expected = {"claims": "an object", "registration": "an object", "max_age": "a whole number of seconds"}.get(name)
        raise AuthorizationError(_ERROR, f"The {name} of the request object must be {expected or 'a string'}.")
    return value
