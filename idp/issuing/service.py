"""Deciding whether tokens are issued for a person, and issuing them."""

from dataclasses import dataclass, replace

from authlib.oauth2.rfc6749.errors import InvalidScopeError, OAuth2Error

from idp.accounts.service import AccountService
from idp.clients.authentication import ClientAuthenticationError
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.issuing import rules, store
from idp.issuing.rules import Refusal, Wish
from idp.protocol import errors, scopes
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.sessions.rules import Session
from idp.sessions.service import SessionService
from idp.tokens.issuing import ReusedRefreshTokenError, TokenIssuer
from idp.tokens.rules import AccessToken, Authorization, Family
from idp.tokens.service import TokenService

__all__ = ["IssuingService", "NotIssuedError", "Permit", "ReusedRefreshTokenError", "Tokens"]


class NotIssuedError(OAuth2Error):
    """Nothing is issued: RFC 6749 §5.2's error with its description, and the reason for our own code."""

    def __init__(self, reason: Refusal, grant_type: str, client: Client) -> None:
        super().__init__(errors.description(reason.description(grant_type, client)), error=reason.error)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be issued. Only `IssuingService` makes one, and it counts in the transaction in which it was made.

    `authorization` begins, or goes on where it is a Family; `refresh_token` is the next one of that.
    """

    client: Client
    authorization: Authorization | Family
    scope: str
    session: Session | None
    refresh_token: str | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was issued. `scope` is that of the access token."""

    scope: str
    access: AccessToken | None = None
    refresh_token: str | None = None
    id_token: str | None = None

    def response(self) -> dict[str, object]:
        """The members of a token response (RFC 6749 §5.1, OIDC Core §3.1.3.3)."""
        members: dict[str, object] = {}
        if self.access is not None:
            members = {"access_token": self.access.text, "token_type": "Bearer", "expires_in": self.access.expires_in}
        optional = {"scope": members and self.scope, "refresh_token": self.refresh_token, "id_token": self.id_token}
        return members | {name: value for name, value in optional.items() if value}


class IssuingService:
    """The one door through which tokens are issued."""

    def __init__(
        self, clients: ClientService, accounts: AccountService, sessions: SessionService, tokens: TokenService
    ) -> None:
        self._clients = clients
        self._accounts = accounts
        self._sessions = sessions
        self._issuer = TokenIssuer(tokens)

    # -- deciding -------------------------------------------------------------------------------------------------

    def begin(self, tx: Transaction, grant_type: str, client: Client, authorization: Authorization) -> Permit:
        """Decide about what a person allowed just now, and let the client take part in their session.

        The session is held until the commit, so that its end finds what is issued. Raises NotIssuedError, and
        ClientAuthenticationError for a client that was removed.
        """
        session = None if authorization.sid is None else self._sessions.hold(tx, authorization.sid)
        wish = Wish(grant_type, client, authorization, authorization.scope)
        client = self._decide(tx, wish, tx.now, session_is_alive=session is not None)
        if session is not None:
            self._sessions.take_part(tx, session, client)
        return Permit(client, authorization, wish.scope, session)

    def refresh(self, tx: Transaction, client: Client, refresh_token: str, scope: str | None) -> Permit:
        """Spend a refresh token, and decide whether what it stands for goes on, within `scope` (RFC 6749 §6).

        Raises InvalidGrantError, NotIssuedError, ReusedRefreshTokenError when the family must end for it, and
        ClientAuthenticationError for a client that was removed.
        """
        family, successor = self._issuer.rotate(tx, client, refresh_token)
        sid = family.session_behind
        session = None if sid is None else self._sessions.alive(tx, sid)
        wish = Wish(rules.REFRESH_TOKEN, client, family, scopes.join(scopes.parse(scope)) or family.scope)
        client = self._decide(tx, wish, family.started_at, session_is_alive=sid is None or session is not None)
        if session is not None:
            self._sessions.note_use_by_app(tx, session)
        return Permit(client, family, wish.scope, session, successor)

    def _decide(self, tx: Transaction, wish: Wish, since: Instant, *, session_is_alive: bool) -> Client:
        """The client as it is registered at this moment, whatever this process remembers of it."""
        client = wish.client
        standing = store.standing(tx, wish.authorization.subject, client.client_id, since)
        if standing.registered is not None:
            client = self._clients.as_registered(tx, client, standing.registered)
        reason = rules.reason_against(replace(wish, client=client), standing, session_is_alive=session_is_alive)
        if reason is Refusal.CLIENT_REMOVED:
            raise ClientAuthenticationError
        if reason is not None:
            raise NotIssuedError(reason, wish.grant_type, client)
        return client

    # -- issuing --------------------------------------------------------------------------------------------------

    def new_family_id(self) -> str:
        """A name for a family that does not exist yet, so that what comes before it can name it."""
        return self._issuer.new_family_id()

    def first(
        self,
        tx: Transaction,
        permit: Permit,
        family_id: str | None,
        *,
        refreshable: bool,
        id_token: bool,
        nonce: str | None,
        code: str | None = None,
    ) -> Tokens:
        """What an authorization gives that begins: tokens of a family of that name, or without one an ID token alone.

        `code` is what the authorization response brings beside an ID token (OIDC Core §3.3.2.11).
        """
        client, authorization, session = permit.client, permit.authorization, permit.session
        issued = Tokens(permit.scope)
        if family_id is not None and isinstance(authorization, Authorization):
            family, first = self._issuer.start_family(tx, family_id, authorization, refreshable=refreshable)
            access = self._issuer.access_token(tx, client, family, permit.scope, session)
            authorization, issued = family, Tokens(permit.scope, access, first)
        if not id_token:
            return issued
        return self._with_id_token(tx, replace(permit, authorization=authorization), issued, nonce, code)

    def next(self, tx: Transaction, permit: Permit) -> Tokens:
        """What a family gives that goes on; the ID token says the same `sid` and `auth_time` (OIDC Core §12.2)."""
        assert isinstance(permit.authorization, Family)
        access = self._issuer.access_token(tx, permit.client, permit.authorization, permit.scope, permit.session)
        issued = Tokens(permit.scope, access, permit.refresh_token)
        return self._with_id_token(tx, permit, issued, None, None) if scopes.OPENID in scopes.parse(permit.scope) else issued

    def _with_id_token(self, tx: Transaction, permit: Permit, issued: Tokens, nonce: str | None, code: str | None) -> Tokens:
        """An ID token beside the others, or instead of them. Nobody is looked up unless that was asked for by name."""
        client, authorization = permit.client, permit.authorization
        # Where no access token is ever given, what the scopes ask for stands in the ID token (OIDC Core §5.4).
        alone = issued.access is None and code is None
        about = self._accounts.claims_for_id_token(
            tx, client, authorization.subject, permit.scope, authorization.claims, alone=alone
        )
        access_token = None if issued.access is None else issued.access.text
        id_token = self._issuer.id_token(
            tx, client, authorization, nonce=nonce, access_token=access_token, code=code, about=about
        )
        return replace(issued, id_token=id_token)

    # -- a client by itself ---------------------------------------------------------------------------------------

    def for_itself(self, tx: Transaction, client: Client, scope: str | None) -> Tokens:
        """A token for a client: no person, no session and no family stand behind it (RFC 6749 §4.4).

        It has no refresh token, since the client can always ask again. What a process still gives to a client that another
        one has just removed or changed counts nowhere (`TokenService.live_access_token`). Raises NotIssuedError
        and InvalidScopeError.
        """
        if not client.check_grant_type(rules.CLIENT_CREDENTIALS):
            raise NotIssuedError(Refusal.GRANT_TYPE, rules.CLIENT_CREDENTIALS, client)
        allowed, wanted = rules.scopes_for_itself(client), scopes.parse(scope)
        if not set(wanted) <= set(allowed):
            description = f"scope may hold: {scopes.join(allowed) or 'nothing, for this client'}."
            raise InvalidScopeError(description)
        granted = scopes.join(wanted or allowed)
        return Tokens(granted, self._issuer.client_access_token(tx, client, granted))
