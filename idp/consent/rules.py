"""When a person must be asked."""

from collections.abc import Iterable
from dataclasses import dataclass

from idp.protocol import scopes
from idp.runtime.clock import Instant


@dataclass(frozen=True, slots=True)
class Consent:
    """What one person allowed one client.

    `redirect_origin` is where it was answered last, for a program that comes back on any port of the person's own machine:
    another program may listen on another one.
    """

    consent_id: str
    subject: str
    client_id: str
    scope: str
    granted_at: Instant
    ended_at: Instant | None
    redirect_origin: str | None = None


def covers(consent: Consent | None, asked: Iterable[str]) -> bool:
    """Whether all that is asked was allowed before: scopes that grew are shown again (OIDC Core §3.1.2.4)."""
    return consent is not None and set(asked) <= set(scopes.parse(consent.scope))


def covers_at(consent: Consent | None, redirect_origin: str | None) -> bool:
    """Whether an answer there was allowed before. None stands for what reaches the client alone (RFC 8252 §8.6)."""
    return redirect_origin is None or (consent is not None and consent.redirect_origin == redirect_origin)


def widened(consent: Consent | None, asked: Iterable[str]) -> str:
    """What stands after the person allowed `asked` as well."""
    before = scopes.parse(consent.scope) if consent is not None else ()
    return scopes.join(dict.fromkeys((*before, *asked)))


def answered_at(consent: Consent | None, redirect_origin: str | None) -> str | None:
    """Where it counts as answered last: a place that reaches the client alone takes that of no other."""
    return consent.redirect_origin if redirect_origin is None and consent is not None else redirect_origin
