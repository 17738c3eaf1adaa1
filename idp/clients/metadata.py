"""Reading the metadata that somebody sends: every value checked, unknown members ignored (RFC 7591 §2, §3.2.2)."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from idp.clients.rules import AUTH_METHODS, GRANT_TYPES, RESPONSE_TYPES
from idp.protocol import scopes, uris
from idp.protocol.signatures import ALGORITHMS, DEFAULT_ALG

MAXIMUM_STRING = 512
MAXIMUM_LIST = 32
_Json: TypeAlias = Any


class MetadataError(ValueError):
    """Metadata that cannot be registered: `error` is RFC 7591 §3.2.2's code, the text says which member and why."""

    def __init__(self, description: str, error: str = "invalid_client_metadata") -> None:
        super().__init__(description)
        self.error = error


def parse(metadata: object, *, loopback_http: bool, id_token_algs: Collection[str] = (DEFAULT_ALG,)) -> dict[str, _Json]:
    """The members that we know, checked and with defaults applied. Raises MetadataError.

    `loopback_http` is set where the issuer itself is plain http on a loopback host: development. `id_token_algs` are the
    algorithms that are switched on.
    """
    if not isinstance(metadata, Mapping):
        message = "the metadata must be a JSON object"
        raise MetadataError(message)
    known = {name: read(name, metadata[name]) for name, read in _MEMBERS.items() if metadata.get(name) is not None}
    _check_flow(known)
    _check_uris(known, loopback_http=loopback_http)
    _check_frame(known)
    _check_scope(known)
    _check_algorithm(known, id_token_algs)
    return known


def _check_flow(known: dict[str, _Json]) -> None:
    """Grant types and response types must agree (RFC 7591 §2.1)."""
    grants = known.setdefault("grant_types", ["authorization_code"])
    uses_code = "authorization_code" in grants
    known.setdefault("response_types", ["code"] if uses_code else [])
    if ("code" in known["response_types"]) != uses_code:
        message = "grant_types and response_types do not agree: authorization_code and code go together"
        raise MetadataError(message)
    if uses_code and not known.get("redirect_uris"):
        message = "redirect_uris: at least one is needed for authorization_code"
        raise MetadataError(message, "invalid_redirect_uri")
    if "client_credentials" in grants and known.get("token_endpoint_auth_method") == "none":
        message = "grant_types: client_credentials needs a client that authenticates"
        raise MetadataError(message)
    if "refresh_token" in grants and not uses_code:
        message = "grant_types: refresh_token needs authorization_code, which gives the first one"
        raise MetadataError(message)


def _check_uris(known: dict[str, _Json], *, loopback_http: bool) -> None:
    native = known.get("application_type") == "native"
    for name in ("redirect_uris", "post_logout_redirect_uris"):
        for uri in known.get(name, []):
            problem = uris.redirect_uri_problem(uri, native=native, loopback_http=loopback_http)
            if problem is not None:
                code = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
                message = f"{name}: {uri!r} cannot be registered: {problem}"
                raise MetadataError(message, code)
    for name in ("client_uri", "logo_uri", "policy_uri", "tos_uri", "backchannel_logout_uri", "frontchannel_logout_uri"):
        problem = uris.endpoint_problem(known[name], loopback_http=loopback_http) if name in known else None
        if problem is not None:
            message = f"{name}: {problem}"
            raise MetadataError(message)


def _check_frame(known: dict[str, _Json]) -> None:
    """A page that is loaded in a frame must be the app's own (Front-Channel Logout 1.0 §2)."""
    uri = known.get("frontchannel_logout_uri")
    if uri is not None and uris.origin(uri) not in map(uris.origin, known.get("redirect_uris", [])):
        message = "frontchannel_logout_uri: its scheme, host and port must be those of one of the redirect_uris"
        raise MetadataError(message)


def _check_scope(known: dict[str, _Json]) -> None:
    unknown = [name for name in scopes.parse(known.get("scope")) if not scopes.is_scope_token(name)]
    if unknown:
        message = f"scope: {unknown[0]!r} is not a scope token (RFC 6749 section 3.3)"
        raise MetadataError(message)


def _check_algorithm(known: dict[str, _Json], id_token_algs: Collection[str]) -> None:
    alg = known.get("id_token_signed_response_alg", DEFAULT_ALG)
    if alg not in id_token_algs:
        message = f"id_token_signed_response_alg: {alg} is not switched on here; there is {', '.join(id_token_algs)}"
        raise MetadataError(message)


def _string(name: str, value: _Json) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAXIMUM_STRING or not value.isprintable():
        message = f"{name}: must be a string of 1 to {MAXIMUM_STRING} printable characters"
        raise MetadataError(message)
    return value


def _uri(name: str, value: _Json) -> str:
    if not isinstance(value, str) or not uris.is_wellformed(value):
        message = f"{name}: must be an absolute URI in RFC 3986 characters, without user or password"
        raise MetadataError(message, "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata")
    return value


def _boolean(name: str, value: _Json) -> bool:
    if not isinstance(value, bool):
        message = f"{name}: must be true or false"
        raise MetadataError(message)
    return value


def _seconds(name: str, value: _Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2**31:
        message = f"{name}: must be a number of seconds"
        raise MetadataError(message)
    return value


def _list_of(read: Callable[[str, _Json], str]) -> Callable[[str, _Json], list[str]]:
    def read_list(name: str, value: _Json) -> list[str]:
        if not isinstance(value, list) or len(value) > MAXIMUM_LIST:
            message = f"{name}: must be an array of at most {MAXIMUM_LIST} strings"
            raise MetadataError(message)
        return list(dict.fromkeys(read(name, item) for item in value))

    return read_list


def _one_of(*choices: str) -> Callable[[str, _Json], str]:
    def read_choice(name: str, value: _Json) -> str:
        if value not in choices:
            message = f"{name}: must be one of {', '.join(choices)}"
            raise MetadataError(message)
        return str(value)

    return read_choice


_MEMBERS: dict[str, Callable[[str, _Json], _Json]] = {
    "redirect_uris": _list_of(_uri),
    "post_logout_redirect_uris": _list_of(_uri),
    "token_endpoint_auth_method": _one_of(*AUTH_METHODS),
    "grant_types": _list_of(_one_of(*GRANT_TYPES)),
    "response_types": _list_of(_one_of(*RESPONSE_TYPES)),
    "scope": _string,
    "application_type": _one_of("web", "native"),
    "client_name": _string,
    "client_uri": _uri,
    "logo_uri": _uri,
    "policy_uri": _uri,
    "tos_uri": _uri,
    "contacts": _list_of(_string),
    "default_max_age": _seconds,
    "id_token_signed_response_alg": _one_of(*ALGORITHMS),
    "backchannel_logout_uri": _uri,
    "backchannel_logout_session_required": _boolean,
    "backchannel_logout_include_sub": _boolean,
    "frontchannel_logout_uri": _uri,
    "frontchannel_logout_session_required": _boolean,
    "first_party": _boolean,
    "access_token_header_typ": _one_of("at+jwt", "JWT"),
    "resources": _list_of(_uri),
}
