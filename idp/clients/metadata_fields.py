"""Reading one member of metadata: what each may be (RFC 7591 §2, OpenID Connect Registration 1.0 §2, the logout specs)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from idp.clients import jwks, rules
from idp.clients.similar import did_you_mean
from idp.protocol import response_types, uris
from idp.protocol.signatures import ALGORITHMS

MAXIMUM_STRING = 512
MAXIMUM_LIST = 32
Json: TypeAlias = Any
#: BCP 47, as far as its shape goes.
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,4}")


class MetadataError(ValueError):
    """Metadata that cannot be registered: `error` is RFC 7591 §3.2.2's code, the text says which member and why."""

    def __init__(self, description: str, error: str = "invalid_client_metadata") -> None:
        super().__init__(description)
        self.error = error


def read(metadata: Mapping[str, Json]) -> dict[str, Json]:
    """The members that we know and that have a value. Others are ignored (RFC 7591 §2). Raises MetadataError."""
    known = {name: reader(name, metadata[name]) for name, reader in MEMBERS.items() if metadata.get(name) is not None}
    localised = dict(_localised(metadata))
    return known | ({"localised": localised} if localised else {})


def _localised(metadata: Mapping[str, Json]) -> list[tuple[str, str]]:
    """`client_name#de` and its like; how a language is written does not matter (BCP 47 §2.1.1)."""
    found = []
    for name, value in metadata.items():
        member, mark, language = name.partition("#")
        if not mark or member not in rules.LOCALISED or value is None:
            continue
        if not _LANGUAGE.fullmatch(language):
            message = f"{member}#: what follows must be a language tag such as de or pt-BR (BCP 47)"
            raise MetadataError(message)
        found.append((name, MEMBERS[member](name, value)))
    if len(found) > MAXIMUM_LIST * len(rules.LOCALISED):
        message = f"client_name#...: at most {MAXIMUM_LIST} languages can be registered"
        raise MetadataError(message)
    return found


def _string(name: str, value: Json) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAXIMUM_STRING or not value.isprintable():
        message = f"{name}: must be a string of 1 to {MAXIMUM_STRING} printable characters"
        raise MetadataError(message)
    return value


def _uri(name: str, value: Json) -> str:
    if not isinstance(value, str) or not uris.is_wellformed(value):
        message = f"{name}: must be an absolute URI in RFC 3986 characters, without user or password"
        raise MetadataError(message, "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata")
    return value


def _boolean(name: str, value: Json) -> bool:
    if not isinstance(value, bool):
        message = f"{name}: must be true or false"
        raise MetadataError(message)
    return value


def _seconds(name: str, value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2**31:
        message = f"{name}: must be a whole number of seconds, from 0 to {2**31}"
        raise MetadataError(message)
    return value


def _list_of(read_one: Callable[[str, Json], str]) -> Callable[[str, Json], list[str]]:
    def read_list(name: str, value: Json) -> list[str]:
        if not isinstance(value, list) or len(value) > MAXIMUM_LIST:
            message = f"{name}: must be an array of at most {MAXIMUM_LIST} strings"
            raise MetadataError(message)
        return list(dict.fromkeys(read_one(name, item) for item in value))

    return read_list


def _one_of(*choices: str) -> Callable[[str, Json], str]:
    def read_choice(name: str, value: Json) -> str:
        if value not in choices:
            message = f"{name}: must be one of {', '.join(choices)}{did_you_mean(value, choices)}"
            raise MetadataError(message)
        return str(value)

    return read_choice


def _response_type(name: str, value: Json) -> str:
    """As `/authorize` reads it: `token id_token` is `id_token token` (OAuth Multiple Response Types §3)."""
    known = response_types.canonical(value) if isinstance(value, str) else ""
    if known not in response_types.RESPONSE_TYPES:
        meant = did_you_mean(value, response_types.RESPONSE_TYPES)
        message = f"{name}: must be among {', '.join(response_types.RESPONSE_TYPES)}{meant}"
        raise MetadataError(message)
    return known


def _jwks(name: str, value: Json) -> Json:
    try:
        jwks.read(value)
    except jwks.JwksError as error:
        message = f"{name}: {error}"
        raise MetadataError(message) from None
    return {"keys": [{word: part for word, part in key.items() if _is_plain(part)} for key in value["keys"]]}


def _is_plain(part: Json) -> bool:
    """What a key's member may be: a string, or a list of them (RFC 7517 §4)."""
    return isinstance(part, str) or (isinstance(part, list) and all(isinstance(item, str) for item in part))


#: Every assertion algorithm, whatever method it goes with.
_ASSERTION = [alg for algs in rules.ASSERTION_ALGORITHMS.values() for alg in algs]
MEMBERS: dict[str, Callable[[str, Json], Json]] = {
    "redirect_uris": _list_of(_uri),
    "post_logout_redirect_uris": _list_of(_uri),
    "token_endpoint_auth_method": _one_of(*rules.AUTH_METHODS),
    "token_endpoint_auth_signing_alg": _one_of(*_ASSERTION),
    "grant_types": _list_of(_one_of(*rules.GRANT_TYPES, rules.IMPLICIT)),
    "response_types": _list_of(_response_type),
    "scope": _string,
    "application_type": _one_of("web", "native"),
    "client_name": _string,
    "client_uri": _uri,
    "logo_uri": _uri,
    "policy_uri": _uri,
    "tos_uri": _uri,
    "contacts": _list_of(_string),
    "jwks": _jwks,
    "jwks_uri": _uri,
    "software_id": _string,
    "software_version": _string,
    "subject_type": _one_of(*rules.SUBJECT_TYPES),
    "sector_identifier_uri": _uri,
    "id_token_signed_response_alg": _one_of(*ALGORITHMS),
    "id_token_encrypted_response_alg": _one_of(*rules.ENCRYPTION_ALGORITHMS),
    "id_token_encrypted_response_enc": _one_of(*rules.CONTENT_ENCRYPTIONS),
    "userinfo_signed_response_alg": _one_of(*ALGORITHMS),
    "userinfo_encrypted_response_alg": _one_of(*rules.ENCRYPTION_ALGORITHMS),
    "userinfo_encrypted_response_enc": _one_of(*rules.CONTENT_ENCRYPTIONS),
    "request_object_signing_alg": _one_of(*ALGORITHMS, "none"),
    "request_uris": _list_of(_uri),
    "initiate_login_uri": _uri,
    "default_max_age": _seconds,
    "default_acr_values": _list_of(_string),
    "require_auth_time": _boolean,
    "backchannel_logout_uri": _uri,
    "backchannel_logout_session_required": _boolean,
    "backchannel_logout_include_sub": _boolean,
    "frontchannel_logout_uri": _uri,
    "frontchannel_logout_session_required": _boolean,
    "first_party": _boolean,
    "access_token_header_typ": _one_of("at+jwt", "JWT"),
    "resources": _list_of(_uri),
    "id_token_scope_claims": _boolean,
    "insecure_uris": _boolean,
}
