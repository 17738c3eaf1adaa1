"""`/.well-known/ssf-configuration`: what this transmitter can do (SSF 1.0 §7.1)."""

import json

from idp.runtime.inbound.documents import CachedDocument
from idp.signals import rules

MAX_AGE = 300


def metadata(issuer: str) -> dict[str, object]:
    """The transmitter's configuration."""
    return {
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "delivery_methods_supported": [rules.PUSH, rules.POLL],
        "configuration_endpoint": f"{issuer}/ssf/streams",
        "status_endpoint": f"{issuer}/ssf/status",
        "add_subject_endpoint": f"{issuer}/ssf/subjects/add",
        "remove_subject_endpoint": f"{issuer}/ssf/subjects/remove",
        "verification_endpoint": f"{issuer}/ssf/verify",
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
        "default_subjects": "ALL",
    }


def document(issuer: str) -> CachedDocument:
    """The configuration as it is sent."""
    return CachedDocument(json.dumps(metadata(issuer), separators=(",", ":")).encode(), MAX_AGE)
