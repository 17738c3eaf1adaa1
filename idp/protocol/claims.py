"""Single claims that a request asks for by name (the `claims` parameter, OpenID Connect Core 1.0 §5.5).

A text that somebody sends is read once, strictly, by `parse`; what is stored is `dump`'s: canonical, so that two requests
for the same are the same text.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from idp.protocol import scopes, strict_json
from idp.protocol.strict_json import JsonError

USERINFO = "userinfo"
ID_TOKEN = "id_token"
PLACES = (ID_TOKEN, USERINFO)
#: Claims about the sign-in, which a request may also name in `id_token`; who issues the token knows them.
OF_THE_SIGN_IN = frozenset({"sub", "acr", "auth_time"})
MAXIMUM_LENGTH = 8192
MAXIMUM_CLAIMS = 64
_MAXIMUM_NAME = 128
_MAXIMUM_VALUES = 32
_SINGLE = str | int | float


class ClaimsError(ValueError):
    """A `claims` parameter that makes no sense. Its text may stand in `error_description`."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """How a claim is asked for (§5.5.1). `values` is empty where any will do; one `value` stands there as well."""

    essential: bool = False
    values: tuple[Any, ...] = ()

    def accepts(self, value: object) -> bool:
        """Whether the value is one of those that were asked for."""
        return not self.values or value in self.values


def parse(text: str) -> dict[str, dict[str, ClaimRequest]]:
    """What the parameter asks for, by place and name; unknown members are ignored (§5.5). Raises ClaimsError."""
    if len(text) > MAXIMUM_LENGTH:
        message = f"claims is longer than {MAXIMUM_LENGTH} characters."
        raise ClaimsError(message)
    try:
        sent = strict_json.loads(text)
    except JsonError as error:
        message = f"claims is not JSON: {error}."
        raise ClaimsError(message) from None
    return _by_place(sent)


def _by_place(sent: object) -> dict[str, dict[str, ClaimRequest]]:
    if not isinstance(sent, dict):
        message = "claims must be a JSON object with the members userinfo and id_token."
        raise ClaimsError(message)
    return {place: found for place in PLACES if (found := _place(place, sent.get(place)))}


def dump(asked: Mapping[str, Mapping[str, ClaimRequest]], allowed: Collection[str] | None = None) -> str | None:
    """What is stored of it: canonical JSON in ASCII, or None for nothing. `allowed` leaves out every other name."""
    kept = {
        place: {name: _written(wanted) for name, wanted in names.items() if allowed is None or name in allowed}
        for place, names in asked.items()
    }
    kept = {place: names for place, names in kept.items() if names}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")) if kept else None


def requested(stored: str | None, place: str) -> dict[str, ClaimRequest]:
    """What a stored text asks for in one place."""
    return {} if stored is None else _by_place(strict_json.stored(stored)).get(place, {})


def names(stored: str | None) -> set[str]:
    """Every name that a stored text holds, wherever it is to stand."""
    return set() if stored is None else {name for found in _by_place(strict_json.stored(stored)).values() for name in found}


def scopes_behind(stored: str | None) -> tuple[str, ...]:
    """The scopes that would ask for those claims: what a person must have allowed before an app is told them."""
    wanted = names(stored) - OF_THE_SIGN_IN
    return tuple(scope for scope, claims in scopes.CLAIMS.items() if wanted & set(claims))


def _place(place: str, sent: object) -> dict[str, ClaimRequest]:
    if sent is None:
        return {}
    if not isinstance(sent, dict) or len(sent) > MAXIMUM_CLAIMS:
        message = f"claims: {place} must be an object of at most {MAXIMUM_CLAIMS} claims."
        raise ClaimsError(message)
    if any(len(name) > _MAXIMUM_NAME for name in sent):
        message = f"claims: a name in {place} is longer than {_MAXIMUM_NAME} characters."
        raise ClaimsError(message)
    return {name: _wanted(f"{place}.{name}", asked) for name, asked in sent.items()}


def _wanted(where: str, sent: object) -> ClaimRequest:
    if sent is None:
        return ClaimRequest()
    if not isinstance(sent, dict):
        message = f"claims: {where} must be null or an object."
        raise ClaimsError(message)
    essential, values = sent.get("essential", False), sent.get("values", [])
    if not isinstance(essential, bool):
        message = f"claims: {where}.essential must be true or false."
        raise ClaimsError(message)
    if not isinstance(values, list) or len(values) > _MAXIMUM_VALUES or ("value" in sent and "values" in sent):
        message = f"claims: {where} may have a value, or an array of at most {_MAXIMUM_VALUES} values."
        raise ClaimsError(message)
    found = tuple(values or ([sent["value"]] if sent.get("value") is not None else []))
    if not all(isinstance(value, _SINGLE) for value in found):
        message = f"claims: {where} may ask for strings, numbers and booleans."
        raise ClaimsError(message)
    return ClaimRequest(essential, found)


def _written(wanted: ClaimRequest) -> dict[str, object] | None:
    members = {"essential": True} if wanted.essential else {}
    return {**members, **({"values": list(wanted.values)} if wanted.values else {})} or None
