"""Ending: one function for each thing that can be ended, in one transaction with everything that follows."""

from urllib.parse import urlencode

from idp.clients import ending as clients_ending
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.delivery.rules import Delivery, Message, NewDelivery
from idp.delivery.service import DeliveryService
from idp.keys import ending as keys_ending
from idp.keys.ending import RevokedKey
from idp.keys.rules import Key
from idp.keys.service import KeyService
from idp.logout import rules
from idp.protocol.signatures import DEFAULT_ALG
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.sessions import ending as sessions_ending
from idp.sessions.rules import Session
from idp.sessions.service import SessionService
from idp.tokens import ending as tokens_ending
from idp.tokens.rules import JTI_BYTES


class LogoutService:
    """The one door. Every function says what it ended; ending what has ended already is no error and tells nobody twice."""

    def __init__(
        self,
        issuer: str,
        sessions: SessionService,
        clients: ClientService,
        deliveries: DeliveryService,
        keys: KeyService,
        delivery_lifetime: int,
    ) -> None:
        self._issuer = issuer
        self._sessions = sessions
        self._clients = clients
        self._deliveries = deliveries
        self._keys = keys
        self._delivery_lifetime = delivery_lifetime

    def end_session(self, tx: Transaction, sid: str, reason: str) -> Session | None:
        """End one session: its cookie, its families, and its place at every relying party that took part."""
        session = sessions_ending.mark_ended(tx, sid, reason)
        if session is None:
            return None
        tokens_ending.end_of_session(tx, sid, reason)
        told = self._tell_parties(tx, session)
        tx.after_commit(lambda: audit.record("session.ended", sid=sid, subject=session.subject, reason=reason, parties=told))
        return session

    def end_account_sessions(self, tx: Transaction, subject: str, reason: str, *, keep: str | None = None) -> int:
        """End every session of a person, save `keep`. What was allowed offline stays allowed."""
        sids = sorted(session.sid for session in self._sessions.listed(tx, subject=subject) if session.sid != keep)
        # in one order always: two endings that lock the same rows in different orders would wait for each other
        return sum(self.end_session(tx, sid, reason) is not None for sid in sids)

    def end_account(self, tx: Transaction, subject: str, reason: str) -> int:
        """End every session and every family of a person, the offline ones too. Returns the number of sessions."""
        ended = self.end_account_sessions(tx, subject, reason)
        tokens_ending.end_of_subject(tx, subject, reason)
        return ended

    def end_family(self, tx: Transaction, family_id: str, reason: str) -> bool:
        """End one family: its refresh tokens and its access tokens. Sessions and other families are not touched."""
        ended = tokens_ending.end(tx, family_id, reason)
        if ended:
            tx.after_commit(lambda: audit.record("family.ended", family_id=family_id, reason=reason))
        return ended

    def end_access_token(self, tx: Transaction, jti: str, expires_at: Instant) -> bool:
        """End one access token, and nothing else."""
        ended = tokens_ending.end_token(tx, jti, expires_at)
        if ended:
            tx.after_commit(lambda: audit.record("token.ended", reason=rules.Reason.REVOKED))
        return ended

    def end_client(self, tx: Transaction, client_id: str) -> bool:
        """Remove a client: it can authenticate no more, and everything that it was given is dead."""
        ended = clients_ending.mark_removed(tx, client_id)
        if ended:
            tokens_ending.end_of_client(tx, client_id, rules.Reason.CLIENT_REMOVED)
            tx.after_commit(lambda: self._clients.forget(client_id))
            tx.after_commit(lambda: audit.record("client.removed", client_id=client_id))
        return ended

    def end_key(self, tx: Transaction, kid: str, reason: str, spare: Key | None) -> RevokedKey | None:
        """Revoke a signing key: everything it signed is dead, and its successor, else the `spare`, signs at once.

        Sessions and families go on: a refresh gives tokens of the successor. None when it was revoked already.
        """
        return keys_ending.mark_revoked(tx, self._keys.policy, kid, reason, spare)

    # -- telling the relying parties ------------------------------------------------------------------------------

    def _tell_parties(self, tx: Transaction, session: Session) -> int:
        """Write down one delivery for each client that took part and can be told."""
        parties = [self._clients.get(tx, client_id) for client_id in self._sessions.clients_of(tx, session.sid)]
        news = [
            self._news(tx, session, client, client.backchannel_logout_uri)
            for client in parties
            if client is not None and client.backchannel_logout_uri is not None
        ]
        self._deliveries.enqueue(tx, news)
        return len(news)

    def _news(self, tx: Transaction, session: Session, client: Client, uri: str) -> NewDelivery:
        payload = {"aud": client.client_id, "sid": session.sid, "jti": secrets.token(JTI_BYTES)}
        if client.backchannel_logout_include_sub:
            payload["sub"] = session.subject
        return NewDelivery(
            kind=rules.BACKCHANNEL,
            client_id=client.client_id,
            sid=session.sid,
            uri=uri,
            payload=payload,
            expires_at=tx.now + self._delivery_lifetime,
        )

    def compose(self, delivery: Delivery, now: Instant) -> Message:
        """The request body of a back-channel logout, signed at the moment of the attempt, with the `jti` of the first.

        It is signed as the client's ID tokens are, for it is validated like them (Back-Channel Logout 1.0 §2.6).
        """
        claims = rules.logout_token_claims(self._issuer, now, delivery.payload)
        client = self._clients.find(delivery.client_id)
        alg = DEFAULT_ALG if client is None else client.id_token_signed_response_alg
        token = self._keys.sign(rules.LOGOUT_TOKEN_TYP, claims, now, alg if self._keys.can_sign(alg) else DEFAULT_ALG)
        return Message(urlencode({"logout_token": token}).encode(), "application/x-www-form-urlencoded")
