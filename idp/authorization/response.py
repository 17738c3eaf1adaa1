"""What a person allowed, issued: a code, and in the hybrid and implicit flows tokens beside it or instead of it.

Tokens from here come to the client through the browser, and nobody redeems anything for them: so the client takes part in
the session, and a family stands behind the access token, from this moment on. Whatever ends one ends the other.
"""

from dataclasses import dataclass, replace

from idp.authorization.errors import UntrustedRequestError
from idp.authorization.rules import AuthorizationRequest
from idp.clients import encryption
from idp.clients.authentication import ClientAuthenticationError
from idp.clients.rules import IMPLICIT, Client
from idp.clients.service import ClientService
from idp.grants.service import Binding, CodeService
from idp.issuing.service import IssuingService, Permit
from idp.protocol import scopes
from idp.protocol.response_types import CODE, ID_TOKEN, TOKEN, gives, is_front_channel
from idp.runtime.database import Transaction
from idp.sessions.rules import Session
from idp.tokens.rules import Authorization


@dataclass(frozen=True, slots=True)
class Issued:
    """What goes to a client, and for which request in which session."""

    client: Client
    asked: AuthorizationRequest
    session: Session
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class ResponseIssuer:
    """Issues what one authorization response holds."""

    clients: ClientService
    codes: CodeService
    door: IssuingService

    def admit(self, tx: Transaction, client: Client, asked: AuthorizationRequest, session: Session) -> Permit | None:
        """The door's word where tokens are issued at once, and the client takes part in the session; None for a code alone.

        The session is held until the commit, so that its end finds those tokens. A code needs none of that: `/token` does it.
        Raises NotIssuedError, and UntrustedRequestError for a client that was removed.
        """
        if not is_front_channel(asked.response_type):
            return None
        try:
            return self.door.begin(tx, IMPLICIT, client, _online(asked, session))
        except ClientAuthenticationError:
            description = "The client was removed."
            raise UntrustedRequestError("invalid_client", description) from None

    def issue(
        self, tx: Transaction, client: Client, asked: AuthorizationRequest, session: Session, permit: Permit | None
    ) -> Issued:
        """The fields of the response (OIDC Core §3.1.2.5, §3.2.2.5, §3.3.2.5)."""
        family_id = self.door.new_family_id() if gives(asked.response_type, TOKEN) else None
        fields: dict[str, str] = {}
        if gives(asked.response_type, CODE):
            redirect_uri = asked.redirect_uri if asked.redirect_uri_given else None
            binding = Binding(redirect_uri, asked.code_challenge, asked.nonce, family_id)
            fields["code"] = self.codes.issue(tx, session.sid, _allowed(asked, session), binding)
        if permit is not None:
            id_token = gives(asked.response_type, ID_TOKEN)
            tokens = self.door.first(
                tx, permit, family_id, refreshable=False, id_token=id_token, nonce=asked.nonce, code=fields.get("code")
            )
            fields |= {name: str(value) for name, value in tokens.response().items()}
        return Issued(client, asked, session, fields)

    def sealed(self, issued: Issued) -> dict[str, str]:
        """The fields, with an ID token that only the client can read where it registered that (§10.2).

        Call it after the commit, for it may wait for the client's keys. Raises OAuth2Error where there is none that fits.
        """
        id_token = issued.fields.get("id_token")
        recipient = None if id_token is None else encryption.recipient(self.clients, issued.client, "id_token")
        return issued.fields if recipient is None else issued.fields | {"id_token": recipient.seal(issued.fields["id_token"])}


def _allowed(asked: AuthorizationRequest, session: Session) -> Authorization:
    return Authorization(
        client_id=asked.client_id,
        subject=session.subject,
        sid=session.sid,
        scope=asked.scope,
        offline=scopes.OFFLINE_ACCESS in asked.scopes,
        auth_time=session.auth_time,
        acr=session.acr,
        amr=session.amr,
        claims=asked.claims,
    )


def _online(asked: AuthorizationRequest, session: Session) -> Authorization:
    """What comes through the browser never outlives the session: what is allowed offline comes by the code."""
    scope = scopes.join(name for name in asked.scopes if name != scopes.OFFLINE_ACCESS)
    return replace(_allowed(asked, session), offline=False, scope=scope)
