"""Metadata that somebody sends, as a whole: what its members must hold to together (RFC 7591 §2, §3.2.2)."""

import json
from collections.abc import Collection, Mapping

from idp.clients import rules, sectors
from idp.clients.metadata_fields import MAXIMUM_LIST, MAXIMUM_STRING, Json, MetadataError
from idp.clients.metadata_fields import read as read_members
from idp.protocol import scopes, uris
from idp.protocol.signatures import DEFAULT_ALG

__all__ = ["MAXIMUM_LIST", "MAXIMUM_SIZE", "MAXIMUM_STRING", "MetadataError", "parse"]

#: Bytes of everything that is kept of one client's metadata.
MAXIMUM_SIZE = 32_768
_ENCRYPTED = ("id_token_encrypted_response_alg", "userinfo_encrypted_response_alg")
_LINKS = ("client_uri", "logo_uri", "policy_uri", "tos_uri")
#: Where the app itself is; `insecure_uris` counts for these.
_OF_THE_APP = frozenset({"client_uri", "backchannel_logout_uri", "frontchannel_logout_uri", "initiate_login_uri"})
_ENDPOINTS = (*_LINKS, "backchannel_logout_uri", "frontchannel_logout_uri", "jwks_uri", "initiate_login_uri")


def parse(
    metadata: object,
    *,
    loopback_http: bool,
    id_token_algs: Collection[str] = (DEFAULT_ALG,),
    response_types: Collection[str] = rules.SWITCHED_ON,
) -> dict[str, Json]:
    """The members that we know, checked and with defaults applied. Raises MetadataError.

    `loopback_http` is set where the issuer itself is plain http on a loopback host: development. `id_token_algs` and
    `response_types` are those that are switched on.
    """
    if not isinstance(metadata, Mapping):
        message = "the metadata must be a JSON object"
        raise MetadataError(message)
    if metadata.get("software_statement") is not None:
        message = "software_statement: no issuer of software statements is trusted here; send the metadata itself"
        raise MetadataError(message, "unapproved_software_statement")
    known = read_members(metadata)
    _check_flow(known, response_types)
    _check_uris(known, loopback_http=loopback_http)
    _check_frame(known)
    _check_scope(known)
    _check_algorithms(known, id_token_algs)
    _check_keys(known)
    _check_sector(known)
    if len(json.dumps(known)) > MAXIMUM_SIZE:
        message = f"the metadata is longer than {MAXIMUM_SIZE} bytes"
        raise MetadataError(message)
    return known


def _check_flow(known: dict[str, Json], response_types: Collection[str]) -> None:
    """Grant types and response types must agree (RFC 7591 §2.1, OIDC Registration §2)."""
    if "grant_types" not in known:
        known["grant_types"] = _grants_of(known.get("response_types") or ["code"])
    grants = known["grant_types"]
    known.setdefault("response_types", ["code"] if "authorization_code" in grants else [])
    off = [each for each in known["response_types"] if each not in response_types]
    if off:
        message = f"response_types: {off[0]} is not switched on here; there is {', '.join(response_types)}"
        raise MetadataError(message)
    needed, interactive = set(_grants_of(known["response_types"])), {"authorization_code", rules.IMPLICIT} & set(grants)
    if needed != interactive:
        message = (
            "grant_types and response_types do not agree: code needs authorization_code, token and id_token need implicit,"
            " and each of these grant types needs such a response type"
        )
        raise MetadataError(message)
    if interactive and not known.get("redirect_uris"):
        message = f"redirect_uris: at least one is needed for {min(interactive)}"
        raise MetadataError(message, "invalid_redirect_uri")
    _check_grants(known, grants)


def _grants_of(response_types: list[str]) -> list[str]:
    words = {word for each in response_types for word in each.split()}
    return ["authorization_code"] * ("code" in words) + [rules.IMPLICIT] * bool({"token", "id_token"} & words)


def _check_grants(known: dict[str, Json], grants: list[str]) -> None:
    if "client_credentials" in grants and known.get("token_endpoint_auth_method") == "none":
        message = "grant_types: client_credentials needs a client that authenticates"
        raise MetadataError(message)
    if "refresh_token" in grants and "authorization_code" not in grants:
        message = "grant_types: refresh_token needs authorization_code, which gives the first one"
        raise MetadataError(message)


def _is_native(known: Mapping[str, Json]) -> bool:
    """A client whose redirects all lead to a program on the person's machine is native, whatever it calls itself.

    Command lines and agents register so, without `application_type`. Not where tokens come through the browser: a web client
    of the implicit flow may name no loopback host (OIDC Registration §2).
    """
    if known.get("application_type") == "native":
        return True
    redirects = known.get("redirect_uris", [])
    return bool(redirects) and rules.IMPLICIT not in known["grant_types"] and all(map(uris.is_loopback_redirect, redirects))


def _check_uris(known: dict[str, Json], *, loopback_http: bool) -> None:
    native, insecure = _is_native(known), bool(known.get("insecure_uris"))
    for name in ("redirect_uris", "post_logout_redirect_uris"):
        for uri in known.get(name, []):
            problem = uris.redirect_uri_problem(uri, native=native, loopback_http=loopback_http, insecure=insecure)
            if problem is not None:
                code = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
                message = f"{name}: {uri!r} cannot be registered: {problem}"
                raise MetadataError(message, code)
    pattern = next(filter(uris.has_wildcard, known.get("request_uris", [])), None)
    if pattern is not None:
        message = (
            f"request_uris: {pattern!r} must not hold a wildcard (*): they are compared to the letter, so register each one"
        )
        raise MetadataError(message)
    named = [(name, known[name]) for name in (*_ENDPOINTS, "sector_identifier_uri") if name in known]
    localised = list(known.get("localised", {}).items())
    # The fragment of a request_uri names a version of what is found there (OIDC Core §6.2).
    requests = [("request_uris", uri.partition("#")[0]) for uri in known.get("request_uris", [])]
    for name, uri in [*named, *requests, *(pair for pair in localised if not pair[0].startswith("client_name#"))]:
        # An app in the local network is told by http that its sessions ended, rather than never.
        may_be_http = insecure and name in _OF_THE_APP
        problem = uris.endpoint_problem(uri, loopback_http=loopback_http, insecure=may_be_http)
        if problem is not None:
            message = f"{name}: {problem}"
            raise MetadataError(message)


def _check_frame(known: dict[str, Json]) -> None:
    """A page that is loaded in a frame must be the app's own (Front-Channel Logout 1.0 §2)."""
    uri = known.get("frontchannel_logout_uri")
    if uri is not None and uris.origin(uri) not in map(uris.origin, known.get("redirect_uris", [])):
        message = "frontchannel_logout_uri: its scheme, host and port must be those of one of the redirect_uris"
        raise MetadataError(message)


def _check_scope(known: dict[str, Json]) -> None:
    unknown = [name for name in scopes.parse(known.get("scope")) if not scopes.is_scope_token(name)]
    if unknown:
        message = f"scope: {unknown[0]!r} is not a scope token (RFC 6749 section 3.3)"
        raise MetadataError(message)


def _check_algorithms(known: dict[str, Json], id_token_algs: Collection[str]) -> None:
    for name in ("id_token_signed_response_alg", "userinfo_signed_response_alg"):
        alg = known.get(name, DEFAULT_ALG)
        if alg not in id_token_algs:
            message = f"{name}: {alg} is not switched on here; there is {', '.join(id_token_algs)}"
            raise MetadataError(message)
    for kind in ("id_token", "userinfo"):
        alg, enc = f"{kind}_encrypted_response_alg", f"{kind}_encrypted_response_enc"
        if enc in known and alg not in known:
            message = f"{enc}: needs {alg} beside it"
            raise MetadataError(message)
        if alg in known:  # the specs' own default, A128CBC-HS256, is not offered: the answer says what is
            known.setdefault(enc, rules.CONTENT_ENCRYPTIONS[0])
    method, alg = known.get("token_endpoint_auth_method"), known.get("token_endpoint_auth_signing_alg")
    if method in rules.ASSERTION_ALGORITHMS and alg is not None and alg not in rules.ASSERTION_ALGORITHMS[method]:
        message = f"token_endpoint_auth_signing_alg: must be among {', '.join(rules.ASSERTION_ALGORITHMS[method])} for {method}"
        raise MetadataError(message)


def _check_keys(known: dict[str, Json]) -> None:
    """RFC 7591 §2: one of `jwks` and `jwks_uri`; and one of them must be there where something is done with the keys."""
    if "jwks" in known and "jwks_uri" in known:
        message = "jwks and jwks_uri: register only one of them"
        raise MetadataError(message)
    if "jwks" in known or "jwks_uri" in known:
        return
    method = known.get("token_endpoint_auth_method")
    wanting: list[str] = [name for name in _ENCRYPTED if name in known]
    wanting += ["token_endpoint_auth_method private_key_jwt"] if method == "private_key_jwt" else []
    wanting += ["request_object_signing_alg"] if known.get("request_object_signing_alg", "none") != "none" else []
    if wanting:
        message = f"jwks or jwks_uri: one of them is needed for {wanting[0]}"
        raise MetadataError(message)


def _check_sector(known: dict[str, Json]) -> None:
    """Of several hosts one must say where pairwise subjects are the same (OIDC Core §8.1)."""
    if "sector_identifier_uri" in known or known.get("subject_type") != "pairwise":
        return
    if len(sectors.https_hosts(known.get("redirect_uris", []))) > 1:
        message = "sector_identifier_uri: is needed for pairwise subjects where the redirect_uris have several hosts"
        raise MetadataError(message)
