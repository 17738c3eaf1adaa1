"""When a person must be asked."""

from collections.abc import Iterable
from dataclasses import dataclass

from idp.protocol import scopes
from idp.runtime.clock import Instant


@dataclass(frozen=True, slots=True)
class Consent:
    """What one person allowed one client."""

    consent_id: str
    subject: str
    client_id: str
    scope: str
    granted_at: Instant
    ended_at: Instant | None


def covers(consent: Consent | None, asked: Iterable[str]) -> bool:
    """Whether all that is asked was allowed before: scopes that grew are shown again (OIDC Core §3.1.2.4)."""
    return consent is not None and set(asked) <= set(scopes.parse(consent.scope))


def widened(consent: Consent | None, asked: Iterable[str]) -> str:
    """What stands after the person allowed `asked` as well."""
    before = scopes.parse(consent.scope) if consent is not None else ()
    return scopes.join(dict.fromkeys((*before, *asked)))
