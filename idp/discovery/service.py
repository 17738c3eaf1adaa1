"""The provider's metadata (OpenID Connect Discovery 1.0 §3, RFC 8414 §2, and the logout specifications)."""

import json
from collections.abc import Mapping, Sequence

from idp.authorization.rules import PROMPTS
from idp.clients.rules import (
    ASSERTION_ALGORITHMS,
    AUTH_METHODS,
    CONTENT_ENCRYPTIONS,
    ENCRYPTION_ALGORITHMS,
    GRANT_TYPES,
    SUBJECT_TYPES,
)
from idp.config import Settings
from idp.protocol import pkce, response_types, scopes
from idp.protocol.signatures import ALGORITHMS
from idp.runtime.inbound.documents import CachedDocument
from idp.sessions.rules import ACR
from idp.status_list.rules import aggregation_uri

MAX_AGE = 300
_ASSERTION_ALGS = [alg for algs in ASSERTION_ALGORITHMS.values() for alg in algs]
_AUTHENTICATED = [method for method in AUTH_METHODS if method != "none"]


def metadata(
    issuer: str,
    id_token_algs: Sequence[str],
    *,
    types: Sequence[str] = (response_types.CODE,),
    request_objects: Sequence[str] = (),
    frontchannel: bool = False,
    management: bool = False,
    status_list: bool = False,
    registration: bool = False,
) -> dict[str, object]:
    """Every member is registered, and each says what the code does: a test uses them all.

    `types` and `request_objects` are the response types and the ways for request objects that are switched on.
    """
    implicit = ["implicit"] if any(map(response_types.is_front_channel, types)) else []
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "end_session_endpoint": f"{issuer}/logout",
        "revocation_endpoint": f"{issuer}/revoke",
        "introspection_endpoint": f"{issuer}/introspect",
        "scopes_supported": list(scopes.SUPPORTED),
        "response_types_supported": list(types),
        "response_modes_supported": list(response_types.RESPONSE_MODES),
        "grant_types_supported": [*GRANT_TYPES, *implicit],
        "subject_types_supported": list(SUBJECT_TYPES),
        "id_token_signing_alg_values_supported": list(id_token_algs),
        "userinfo_signing_alg_values_supported": list(id_token_algs),
        **{
            f"{what}_encryption_{part}_values_supported": list(values)
            for what in ("id_token", "userinfo")
            for part, values in (("alg", ENCRYPTION_ALGORITHMS), ("enc", CONTENT_ENCRYPTIONS))
        },
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint_auth_methods_supported": _AUTHENTICATED,
        "token_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGS,
        "revocation_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGS,
        "introspection_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGS,
        "code_challenge_methods_supported": [pkce.METHOD],
        "prompt_values_supported": list(PROMPTS),
        "acr_values_supported": [ACR],
        "claims_supported": [
            "iss",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "nonce",
            "acr",
            "amr",
            "sid",
            *sorted(scopes.claims_of(scopes.SUPPORTED)),
        ],
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": True,
        "display_values_supported": ["page", "popup", "touch"],
        "ui_locales_supported": ["en"],
        "request_parameter_supported": "request" in request_objects,
        "request_uri_parameter_supported": "request_uri" in request_objects,
        "require_request_uri_registration": True,
        **({"request_object_signing_alg_values_supported": list(ALGORITHMS)} if request_objects else {}),
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        **({"registration_endpoint": f"{issuer}/register"} if registration else {}),
        **({"check_session_iframe": f"{issuer}/check_session"} if management else {}),
        **({"status_list_aggregation_endpoint": aggregation_uri(issuer)} if status_list else {}),
        **({"frontchannel_logout_supported": True, "frontchannel_logout_session_supported": True} if frontchannel else {}),
    }


def metadata_of(settings: Settings) -> dict[str, object]:
    """What this deployment announces."""
    return metadata(
        settings.issuer,
        settings.keys_algorithms,
        types=settings.authorization_response_types,
        request_objects=settings.authorization_request_objects,
        frontchannel=settings.logout_frontchannel,
        management=settings.sessions_management,
        status_list=settings.signals_status_list,
        registration=settings.clients_registration != "off",
    )


def document(metadata: Mapping[str, object]) -> CachedDocument:
    """The metadata as it is sent."""
    return CachedDocument(json.dumps(metadata, separators=(",", ":")).encode(), MAX_AGE)
