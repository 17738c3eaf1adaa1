"""The provider's metadata (OpenID Connect Discovery 1.0 §3, RFC 8414 §2, and the logout specifications)."""

import json
from collections.abc import Sequence

from idp.authorization.rules import PROMPTS, RESPONSE_MODES
from idp.clients.rules import ASSERTION_ALGORITHMS, AUTH_METHODS, GRANT_TYPES, RESPONSE_TYPES
from idp.protocol import pkce, scopes
from idp.runtime.front import Ready
from idp.sessions.rules import ACR
from idp.signals.status_list_rules import aggregation_uri

MAX_AGE = 300
_ASSERTION_ALGS = [alg for algs in ASSERTION_ALGORITHMS.values() for alg in algs]
_AUTHENTICATED = [method for method in AUTH_METHODS if method != "none"]


def metadata(
    issuer: str,
    id_token_algs: Sequence[str],
    *,
    frontchannel: bool = False,
    management: bool = False,
    status_list: bool = False,
    registration: bool = False,
) -> dict[str, object]:
    """Every member is registered, and each says what the code does: a test uses them all."""
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
        "response_types_supported": list(RESPONSE_TYPES),
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": list(GRANT_TYPES),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(id_token_algs),
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
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        **({"registration_endpoint": f"{issuer}/register"} if registration else {}),
        **({"check_session_iframe": f"{issuer}/check_session"} if management else {}),
        **({"status_list_aggregation_endpoint": aggregation_uri(issuer)} if status_list else {}),
        **({"frontchannel_logout_supported": True, "frontchannel_logout_session_supported": True} if frontchannel else {}),
    }


def document(issuer: str, id_token_algs: Sequence[str], **switched_on: bool) -> Ready:
    """The metadata as it is sent; `switched_on` is what `metadata` takes."""
    return Ready(json.dumps(metadata(issuer, id_token_algs, **switched_on), separators=(",", ":")).encode(), MAX_AGE)
