"""What a person allowed, issued: a code, and in the hybrid and implicit flows tokens beside it or instead of it.

Tokens from here come to the client through the browser, and nobody redeems anything for them: so the client takes part in
the session, and a family stands behind the access token, from this moment on. Whatever ends one ends the other.
"""

from dataclasses import dataclass, replace

from idp.accounts.service import AccountService
from idp.authorization.rules import Asked
from idp.clients import encryption
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.grants.service import Binding, CodeService
from idp.protocol import scopes
from idp.protocol.response_types import CODE, ID_TOKEN, TOKEN, gives, is_front_channel
from idp.runtime.database import Transaction
from idp.sessions.rules import Session
from idp.sessions.service import SessionService
from idp.tokens.rules import Authorization
from idp.tokens.service import TokenService


@dataclass(frozen=True, slots=True)
class Issued:
    """What goes to a client, and for which request in which session."""

    client: Client
    asked: Asked
    session: Session
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Issuing:
    """Issues what one authorization response holds."""

    clients: ClientService
    accounts: AccountService
    sessions: SessionService
    tokens: TokenService
    codes: CodeService

    def take_part(self, tx: Transaction, client: Client, asked: Asked, session: Session) -> bool:
        """Let the client take part in the session, where tokens are issued at once; False when it has just ended.

        The session is held until the commit, so that its end finds those tokens. A code needs none of that: `/token` does it.
        """
        if not is_front_channel(asked.response_type):
            return True
        held = self.sessions.hold(tx, session.sid)
        if held is not None:
            self.sessions.take_part(tx, held, client)
        return held is not None

    def issue(self, tx: Transaction, client: Client, asked: Asked, session: Session) -> Issued:
        """The fields of the response (OIDC Core §3.1.2.5, §3.2.2.5, §3.3.2.5)."""
        given = _given(asked, session)
        family_id, fields = self._access_token(tx, client, asked, given, session)
        if gives(asked.response_type, CODE):
            redirect_uri = asked.redirect_uri if asked.redirect_uri_given else None
            binding = Binding(redirect_uri, asked.code_challenge, asked.nonce, family_id)
            fields["code"] = self.codes.issue(tx, session.sid, given, binding)
        if gives(asked.response_type, ID_TOKEN):
            # Where no access token is ever given, what the scopes ask for stands in the ID token (§5.4).
            alone = asked.response_type == ID_TOKEN
            about = self.accounts.claims_for_id_token(tx, client, given.subject, given.scope, given.claims, alone=alone)
            beside = {"access_token": fields.get("access_token"), "code": fields.get("code")}
            fields["id_token"] = self.tokens.id_token(tx, client, given, nonce=asked.nonce, about=about, **beside)
        return Issued(client, asked, session, fields)

    def sealed(self, issued: Issued) -> dict[str, str]:
        """The fields, with an ID token that only the client can read where it registered that (§10.2).

        Call it after the commit, for it may wait for the client's keys. Raises OAuth2Error where there is none that fits.
        """
        id_token = issued.fields.get("id_token")
        recipient = None if id_token is None else encryption.recipient(self.clients, issued.client, "id_token")
        return issued.fields if recipient is None else issued.fields | {"id_token": recipient.seal(issued.fields["id_token"])}

    def _access_token(
        self, tx: Transaction, client: Client, asked: Asked, given: Authorization, session: Session
    ) -> tuple[str | None, dict[str, str]]:
        """The family and the fields of an access token, if one was asked for.

        It never outlives the session: what is allowed offline comes by the code.
        """
        if not gives(asked.response_type, TOKEN):
            return None, {}
        scope = scopes.join(name for name in asked.scopes if name != scopes.OFFLINE_ACCESS)
        online = replace(given, offline=False, scope=scope)
        family, _ = self.tokens.start_family(tx, self.tokens.new_family_id(), online, refreshable=False)
        access = self.tokens.access_token(tx, client, family, scope, session)
        return family.family_id, {
            "access_token": access.text,
            "token_type": "Bearer",
            "expires_in": str(access.expires_in),
            "scope": scope,
        }


def _given(asked: Asked, session: Session) -> Authorization:
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
