"""The authorization request that sent a person here, as far as signing in is concerned."""

from dataclasses import dataclass
from typing import Protocol

from idp.clients.display import Over
from idp.clients.rules import Client
from idp.runtime.database import Transaction
from idp.sessions.rules import Session


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """What the sign-in page shows of a stored request."""

    client: Client
    login_hint: str | None
    redirect_uri: str
    subject_required: str | None
    ui_locales: tuple[str, ...] = ()


class PendingRequests(Protocol):
    """The stored authorization requests of this very browser; `authorization` implements it."""

    def sign_in(self, tx: Transaction, request_id: str) -> PendingSignIn | None:
        """What the request asks of the sign-in; None for an unknown, expired or foreign one."""

    def goes_on(self, tx: Transaction, request_id: str, session: Session) -> bool:
        """Whether an open request asks for no sign-in of who is signed in already."""

    def over(self, tx: Transaction, request_id: str) -> Over | None:
        """What became of a request that was answered or has expired; None for an open, unknown or foreign one."""

    def signed_in(self, tx: Transaction, request_id: str, subject: str) -> None:
        """Somebody signed in for this request: `prompt=login` and `max_age` are satisfied, whatever clocks say."""

    def select(self, tx: Transaction, request_id: str, subject: str) -> None:
        """The person goes on as who they are."""

    def deny(self, tx: Transaction, request_id: str) -> None:
        """The person selects no account, and goes back to the app (OIDC Core §3.1.2.1)."""

    def location(self, request_id: str) -> str:
        """Where the request goes on, relative to the issuer."""
