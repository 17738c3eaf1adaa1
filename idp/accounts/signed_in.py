"""Who is signed in at this browser, as Flask-Login asks for it."""

from dataclasses import dataclass

from idp.accounts.rules import Account
from idp.sessions.rules import Session


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A live session and its account. `cookie` is the session's secret: what Flask-Login keeps in the signed cookie.

    The four members that Flask-Login asks for are written out, for its own mixin is untyped.
    """

    session: Session
    account: Account
    cookie: str

    @property
    def is_authenticated(self) -> bool:
        """Always: there is no such object for a disabled account or an ended session."""
        return True

    @property
    def is_active(self) -> bool:
        """As `is_authenticated`."""
        return True

    @property
    def is_anonymous(self) -> bool:
        """Never."""
        return False

    def get_id(self) -> str:
        """What the signed cookie carries."""
        return self.cookie

    def __repr__(self) -> str:
        """Without the secret."""
        return f"SignedIn(sid={self.session.sid!r})"
