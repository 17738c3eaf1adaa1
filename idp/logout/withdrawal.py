"""What a client may no more when its metadata is changed, and what of that which it was given dies by it. Pure."""

from dataclasses import dataclass

from idp.clients.rules import IMPLICIT, Client
from idp.protocol import scopes
from idp.protocol.uris import is_registered
from idp.tokens.rules import OpenFamily

_FOR_PEOPLE = frozenset({"authorization_code", IMPLICIT})


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was taken away from a client. Whatever else was changed lets everything live that it was given."""

    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]
    redirect_uris: tuple[str, ...]
    resources: tuple[str, ...]
    #: People and sessions have other names for it now, so that it could be told of the end of none of those it knows.
    sector: bool
    after: Client

    def family_dies(self, family: OpenFamily) -> bool:
        """Whether what a family allows is allowed no more."""
        lost = set(self.grant_types)
        if self.sector or "authorization_code" in lost:
            return True
        if family.refreshable and "refresh_token" in lost:
            return True
        if not family.refreshable and IMPLICIT in lost:  # it may have come from there: nothing says that it did not
            return True
        return not set(self.scopes).isdisjoint(scopes.parse(family.scope))

    def code_dies(self, redirect_uri: str | None, scope: str) -> bool:
        """Whether a code in flight is worth nothing any more."""
        if self.sector or "authorization_code" in self.grant_types:
            return True
        uris, any_port = self.after.redirect_uris, self.after.has_any_port
        if redirect_uri is not None and not is_registered(redirect_uri, uris, any_port=any_port):
            return True
        return not set(self.scopes).isdisjoint(scopes.parse(scope))

    @property
    def for_itself(self) -> bool:
        """Whether tokens of the client's own die: those by `client_credentials` that say what is allowed no more."""
        before = "client_credentials" in (*self.grant_types, *self.after.grant_types)
        return before and ("client_credentials" in self.grant_types or bool(self.scopes))


def withdrawn(before: Client, after: Client) -> Withdrawal:
    """What a change takes away."""
    gone = tuple(uri for uri in before.redirect_uris if uri not in after.redirect_uris)
    return Withdrawal(
        grant_types=tuple(grant for grant in before.grant_types if grant not in after.grant_types),
        scopes=tuple(scope for scope in scopes.parse(before.scope) if scope not in scopes.parse(after.scope)),
        redirect_uris=gone,
        resources=tuple(each for each in before.resources if each not in after.resources),
        sector=before.pairwise_sector != after.pairwise_sector and not _FOR_PEOPLE.isdisjoint(before.grant_types),
        after=after,
    )
