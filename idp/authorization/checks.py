"""The parameters of an authorization request, one small check for each (OIDC Core §3.1.2.1, §3.2.2.1, §3.3.2.1).

What is not named here is ignored: `display` and `claims_locales` have one answer only, since the pages fit every window and
claims are in one language, and `acr_values` names what the sign-in reaches, or is not reached. `ui_locales` counts where the
client said something of itself in several languages.
"""

import re
from collections.abc import Collection
from typing import Protocol

from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError, UnauthorizedClientError

from idp.authorization.errors import AuthorizationError
from idp.authorization.rules import PROMPTS
from idp.clients.rules import Client
from idp.protocol import claims as claims_parameter
from idp.protocol import errors, pkce, response_types, scopes, signatures
from idp.protocol.claims import ClaimsError
from idp.protocol.parameters import Parameters
from idp.sessions.rules import ACR

MAXIMUM_STATE = 4096
MAXIMUM_NONCE = 1024
_SECONDS = re.compile(r"[0-9]{1,9}")


class SubjectOf(Protocol):
    """Who is meant, in the provider's own words."""

    def hint(self, hint: str, client: Client) -> str | None:
        """The person that an ID token names, which was issued to the client; None for anything else."""
        ...

    def named(self, subject: str, client: Client) -> str | None:
        """The person whom the client knows by `subject`; None for nobody."""
        ...


def check_names(given: Parameters) -> None:
    """RFC 6749 §3.1: each parameter once. And what is announced as unsupported is refused by its own name."""
    if given.repeated:
        raise InvalidRequestError(errors.description(f"{min(given.repeated)} is given more than once."))
    if "registration" in given:
        description = "The parameter registration is not supported: register the client, and send its client_id."
        raise AuthorizationError("registration_not_supported", description)


def response_type(given: Parameters, client: Client, switched_on: Collection[str]) -> str:
    """What is asked for: something that is switched on, and that the client registered."""
    if "response_type" not in given:
        description = f"response_type is missing: it must be {_one_of(switched_on)}."
        raise InvalidRequestError(description)
    asked = response_types.canonical(given["response_type"])
    if asked not in switched_on:
        raise AuthorizationError("unsupported_response_type", f"response_type must be {_one_of(switched_on)}.")
    if not client.check_response_type(asked):
        description = f"The client did not register response_type {asked}; it registered {', '.join(client.response_types)}."
        raise UnauthorizedClientError(errors.description(description))
    return asked


def response_mode(given: Parameters, asked: str) -> str:
    """How the answer is sent. Tokens are never sent by query (Multiple Response Types 1.0 §5)."""
    mode = given.get("response_mode", response_types.default_mode(asked))
    allowed = [each for each in response_types.RESPONSE_MODES if each != "query" or not response_types.is_front_channel(asked)]
    if mode not in allowed:
        description = f"response_mode must be {_one_of(allowed)} for response_type {asked}."
        raise InvalidRequestError(description)
    return mode


def check_algorithm(client: Client, id_token_algs: Collection[str]) -> None:
    """An algorithm may have been switched off after the client registered it: said now, not when the code is redeemed."""
    if client.id_token_signed_response_alg not in id_token_algs:
        raise UnauthorizedClientError(signatures.switched_off(client.id_token_signed_response_alg))


def scope(given: Parameters, client: Client, asked: str) -> str:
    """What may be granted: unknown scopes are left out (OIDC Core §3.1.2.1), and nothing at all is an error.

    Without a code there is nobody to give a refresh token to, so `offline_access` means nothing (§11).
    """
    may_refresh = client.check_grant_type("refresh_token") and response_types.gives(asked, response_types.CODE)
    allowed = scopes.parse(client.get_allowed_scope(given.get("scope")))
    kept = [name for name in allowed if name != scopes.OFFLINE_ACCESS or may_refresh]
    if not kept:
        raise InvalidScopeError(errors.description(f"scope must hold at least one of: {client.scope}."))
    if response_types.gives(asked, response_types.ID_TOKEN) and scopes.OPENID not in kept:
        description = f"scope must hold openid: response_type {asked} asks for an ID token."
        raise InvalidScopeError(description)
    return scopes.join(kept)


def bounded(given: Parameters, name: str, most: int) -> str | None:
    """A text of at most `most` characters."""
    value = given.get(name)
    if value is not None and len(value) > most:
        description = f"{name} is longer than {most} characters."
        raise InvalidRequestError(description)
    return value


def nonce(given: Parameters, asked: str) -> str | None:
    """Demanded where the ID token comes through the browser: nothing else ties it to this request (§3.2.2.1, §3.3.2.1)."""
    value = bounded(given, "nonce", MAXIMUM_NONCE)
    if value is None and response_types.gives(asked, response_types.ID_TOKEN):
        description = f"nonce is missing: response_type {asked} demands it."
        raise InvalidRequestError(description)
    return value


def code_challenge(given: Parameters, client: Client, asked: str) -> str | None:
    """S256 only, and demanded of public clients (RFC 9700 §2.1.1)."""
    challenge, method = given.get("code_challenge"), given.get("code_challenge_method")
    if not response_types.gives(asked, response_types.CODE):
        return None
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


def prompt(given: Parameters) -> tuple[str, ...]:
    """What the person is asked in any case, or that nothing is asked (§3.1.2.1)."""
    values = tuple(dict.fromkeys(given.get("prompt", "").split()))
    if any(value not in PROMPTS for value in values):
        description = f"prompt holds an unknown value: it may hold, separated by spaces, {', '.join(PROMPTS)}."
        raise InvalidRequestError(description)
    if "none" in values and len(values) > 1:
        description = "prompt=none goes with no other value."
        raise InvalidRequestError(description)
    return values


def max_age(given: Parameters, client: Client) -> int | None:
    """How old the sign-in may be, in seconds."""
    value = given.get("max_age")
    if value is None:
        return client.default_max_age
    if not _SECONDS.fullmatch(value):
        description = "max_age must be a number of seconds, of at most 9 digits."
        raise InvalidRequestError(description)
    return int(value)


def claims(given: Parameters, client: Client) -> str | None:
    """The claims that are asked for by name (§5.5): those that the client's scopes would ask for, in canonical JSON.

    Raises `unmet_authentication_requirements` where an essential `acr` cannot be reached here, whoever signs in (§5.5.1.1).
    """
    sent = given.get("claims")
    if sent is None:
        return None
    try:
        asked = claims_parameter.parse(sent)
    except ClaimsError as error:
        raise InvalidRequestError(errors.description(str(error))) from None
    acr = asked.get(claims_parameter.ID_TOKEN, {}).get("acr")
    if acr is not None and acr.essential and not acr.accepts(ACR):
        description = f"claims: acr is essential and none of its values can be reached; there is {ACR}."
        raise AuthorizationError("unmet_authentication_requirements", description)
    allowed = scopes.claims_of(scopes.parse(client.scope)) | claims_parameter.OF_THE_SIGN_IN
    return claims_parameter.dump(asked, allowed)


def subject_required(given: Parameters, client: Client, asked: str | None, subject_of: SubjectOf) -> str | None:
    """The person whom `id_token_hint` (§3.1.2.1) or the claim `sub` (§5.5.1) names: nobody else may answer the request."""
    found: set[str | None] = set()
    hint = given.get("id_token_hint")
    if hint is not None:
        found.add(subject_of.hint(hint, client))
        if found == {None}:
            description = "id_token_hint is not an ID token that was issued here to this client."
            raise InvalidRequestError(description)
    for place in claims_parameter.PLACES:
        sub = claims_parameter.requested(asked, place).get("sub")
        found |= {subject_of.named(str(value), client) for value in (() if sub is None else sub.values)}
    if len(found) > 1:
        description = "id_token_hint and claims name several persons: name one."
        raise InvalidRequestError(description)
    if None in found:
        raise AuthorizationError("login_required", "claims: sub names nobody whom this client could know.")
    return found.pop() if found else None


def _one_of(values: Collection[str]) -> str:
    return " or ".join(values)
