"""The stored authorization request that a page belongs to: the one that its parameter `request` names."""

from dataclasses import dataclass

from idp.accounts.pending import PendingRequests, PendingSignIn
from idp.accounts.signed_in import SignedIn
from idp.clients.display import Over
from idp.protocol.parameters import Parameters
from idp.runtime.database import Database


@dataclass(frozen=True, slots=True)
class RequestsOfPages:
    """Each lookup is a transaction of its own. What a page does not name is None."""

    database: Database
    pending: PendingRequests

    def find(self, given: Parameters) -> PendingSignIn | None:
        """The open request of this browser."""
        with self.database.reading() as tx:
            return self.pending.sign_in(tx, given["request"]) if "request" in given else None

    def over(self, given: Parameters) -> Over | None:
        """What became of one that is over."""
        with self.database.reading() as tx:
            return self.pending.over(tx, given["request"]) if "request" in given else None

    def goes_on(self, given: Parameters, person: SignedIn) -> bool:
        """Whether it goes on as who is signed in, without a sign-in."""
        with self.database.reading() as tx:
            return "request" in given and self.pending.goes_on(tx, given["request"], person.session)

    def after(self, given: Parameters) -> str:
        """The path at which whoever is signed in goes on: the request's, which says what became of it too, or their account."""
        known = self.find(given) is not None or self.over(given) is not None
        return self.pending.location(given["request"]) if known else "account"
