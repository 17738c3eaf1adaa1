"""The authorization request that asks a person to allow something."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from idp.clients.display import Over
from idp.clients.rules import Client
from idp.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class PendingConsent:
    """What a stored authorization request asks of the person."""

    client: Client
    scopes: Sequence[str]
    redirect_uri: str
    redirect_host: str
    redirect_origin: str | None
    ui_locales: Sequence[str]
    #: The names of the claims that the app would be told.
    claims: Collection[str] = ()


class PendingConsents(Protocol):
    """The stored authorization requests, as this room sees them; `authorization` implements it."""

    def over(self, tx: Transaction, request_id: str) -> Over | None:
        """What became of a request that was answered or has expired; None for an open, unknown or foreign one."""

    def consent(self, tx: Transaction, request_id: str) -> PendingConsent | None:
        """What the request of this very browser asks for; None for an unknown, expired or foreign one."""

    def allow(self, tx: Transaction, request_id: str, subject: str) -> None:
        """Write down that this person allowed it."""

    def deny(self, tx: Transaction, request_id: str) -> None:
        """Write down that the person did not."""

    def location(self, request_id: str) -> str:
        """Where the request goes on."""
