"""Ending: one function for each thing that can be ended, in one transaction with everything that follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
from idp.logout.rules import Heard, Told
from idp.logout.withdrawal import Withdrawal, withdrawn
from idp.protocol.signatures import DEFAULT_ALG
from idp.protocol.uris import with_parameters
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.sessions import ending as sessions_ending
from idp.sessions.rules import Participation, Session
from idp.sessions.service import SessionService
from idp.signals.rules import Known
from idp.signals.service import SignalService
from idp.tokens import ending as tokens_ending
from idp.tokens.rules import JTI_BYTES
from idp.tokens.subjects import Subjects


class CodesInFlight(Protocol):
    """Authorization codes, as this room sees them; `grants`, above it, has them."""

    def end_access(self, tx: Transaction, subject: str, client_id: str) -> int:
        """Make the codes worthless that are in flight between a person and a client."""

    def end_of_client(self, tx: Transaction, client_id: str, dead: Callable[[str | None, str], bool]) -> int:
        """Make those codes of a client worthless of whose redirect URI and scope `dead` says so."""


@dataclass(frozen=True, slots=True)
class Consequences:
    """What ended when something was withdrawn from a client: codes in flight, families, and sessions that it left."""

    lost: Withdrawal
    codes: int
    families: int
    sessions: int

    def shown(self) -> dict[str, object]:
        """For operators: what was taken away, and how much that ended."""
        lost = self.lost
        return {
            "withdrawn": {
                name: list(value)
                for name in ("grant_types", "scopes", "redirect_uris", "resources")
                if (value := getattr(lost, name))
            }
            | ({"sector": True} if lost.sector else {}),
            "codes_ended": self.codes,
            "authorizations_ended": self.families,
            "sessions_left": self.sessions,
            "own_tokens_ended": lost.for_itself,
        }


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
        codes: CodesInFlight,
        signals: SignalService,
        subjects: Subjects,
        *,
        frontchannel: bool = False,
    ) -> None:
        self._issuer = issuer
        self._sessions = sessions
        self._clients = clients
        self._deliveries = deliveries
        self._keys = keys
        self._delivery_lifetime = delivery_lifetime
        self._codes = codes
        self._signals = signals
        self._subjects = subjects
        self._frontchannel = frontchannel

    def end_session(self, tx: Transaction, sid: str, reason: str) -> Session | None:
        """End one session: its cookie, its families, and its place at every relying party that took part."""
        return self._ended(tx, sessions_ending.mark_ended(tx, sid, reason))

    def end_stale_sessions(self, tx: Transaction, limit: int) -> int:
        """End sessions that are idle or too old, as if somebody had signed out; returns the number.

        Each is looked at again while its row is locked: one that was used meanwhile goes on.
        """
        policy = self._sessions.policy
        reasons = (rules.Reason.IDLE, rules.Reason.EXPIRED)
        sids = sorted(self._sessions.stale(tx, limit))
        return sum(self._ended(tx, sessions_ending.mark_stale(tx, sid, reasons, policy)) is not None for sid in sids)

    def _ended(self, tx: Transaction, session: Session | None) -> Session | None:
        """What follows when a session was marked ended."""
        if session is None:
            return None
        reason = str(session.end_reason)
        tokens_ending.end_of_session(tx, session.sid, reason)
        parts = self._sessions.taken_part(tx, session.sid)
        self._signals.session_ended(tx, session.sid, self._names(tx, session, parts), reason, by=rules.initiator(reason))
        told = self._tell_parties(tx, session.subject, parts, session.expires_at)
        sid, subject = session.sid, session.subject
        tx.after_commit(lambda: audit.record("session.ended", sid=sid, subject=subject, reason=reason, parties=told))
        return session

    def _names(self, tx: Transaction, session: Session, parts: Sequence[Participation]) -> list[Known]:
        """Everything that the session is called: here, and in the sectors of those who took part."""
        sectors = sorted({(part.sector, part.told_sid) for part in parts if part.sector is not None})
        elsewhere = [Known(sector, self._subjects.sub_in(tx, sector, session.subject), sid) for sector, sid in sectors]
        return [Known(None, session.subject, session.sid), *elsewhere]

    def end_account_sessions(self, tx: Transaction, subject: str, reason: str, *, keep: str | None = None) -> int:
        """End every session of a person, save `keep`. What was allowed offline stays allowed."""
        tx.take_time()
        sids = sorted(session.sid for session in self._sessions.listed(tx, subject=subject) if session.sid != keep)
        # in one order always: two endings that lock the same rows in different orders would wait for each other
        return sum(self.end_session(tx, sid, reason) is not None for sid in sids)

    def end_account(self, tx: Transaction, subject: str, reason: str) -> int:
        """End every session and every family of a person, the offline ones too. Returns the number of sessions."""
        ended = self.end_account_sessions(tx, subject, reason)
        self._signals.families_ended(tx, tokens_ending.end_of_subject(tx, subject, reason), reason)
        return ended

    def end_after_password_change(self, tx: Transaction, subject: str, *, keep: str | None = None) -> int:
        """What a new password ends: every session of the person, save `keep`, in which it was chosen. Returns their number."""
        by = rules.initiator(rules.Reason.OPERATOR if keep is None else rules.Reason.PASSWORD_CHANGED)
        elsewhere = [Known(sector, sub) for sector, sub in self._subjects.names(tx, subject)]
        self._signals.password_changed(tx, [Known(None, subject), *elsewhere], by=by)
        return self.end_account_sessions(tx, subject, rules.Reason.PASSWORD_CHANGED, keep=keep)

    def end_family(self, tx: Transaction, family_id: str, reason: str) -> bool:
        """End one family: its refresh tokens and its access tokens. Sessions and other families are not touched."""
        ended = tokens_ending.end(tx, family_id, reason)
        if ended:
            self._signals.families_ended(tx, [family_id], reason)
            tx.after_commit(lambda: audit.record("family.ended", family_id=family_id, reason=reason))
        return ended

    def end_access_token(self, tx: Transaction, jti: str, expires_at: Instant) -> bool:
        """End one access token, and nothing else."""
        ended = tokens_ending.end_token(tx, jti, expires_at)
        if ended:
            self._signals.token_ended(tx, jti, expires_at, rules.Reason.REVOKED)
            tx.after_commit(lambda: audit.record("token.ended", reason=rules.Reason.REVOKED))
        return ended

    def end_access(self, tx: Transaction, subject: str, client_id: str, reason: str) -> None:
        """End what one client may do for one person: codes in flight, families, offline ones too, and its sessions there.

        The person stays signed in here, and at every other app.
        """
        # Codes first: one that is being redeemed right now is waited for, and then its family is there to be ended.
        self._codes.end_access(tx, subject, client_id)
        ended = tokens_ending.end_of_access(tx, subject, client_id, reason)
        self._signals.families_ended(tx, ended, reason)
        left = sessions_ending.leave(tx, subject, client_id, self._sessions.policy)
        self._tell_parties(tx, subject, left)
        tx.after_commit(
            lambda: audit.record("access.ended", subject=subject, client_id=client_id, reason=reason, families=len(ended))
        )

    def end_client(self, tx: Transaction, client_id: str) -> bool:
        """Remove a client: it can authenticate no more, and everything that it was given is dead."""
        return self._ended_client(tx, client_id, ended=clients_ending.mark_removed(tx, client_id))

    def end_withdrawn(self, tx: Transaction, before: Client, after: Client) -> Consequences:
        """End what a client was given and may have no more, now that its metadata was changed. The rest lives on.

        Where people get other names at it, it leaves every session: it is told by the names that it knows.
        """
        tx.take_time()
        client_id, lost = after.client_id, withdrawn(before, after)
        codes = self._codes.end_of_client(tx, client_id, lost.code_dies)
        given = tokens_ending.open_of_client(tx, client_id)
        dead = [each.family_id for each in given if lost.family_dies(each)]
        families = tokens_ending.end_these(tx, dead, rules.Reason.CLIENT_CHANGED)
        self._signals.families_ended(tx, families, rules.Reason.CLIENT_CHANGED)
        left = 0
        for subject in sorted({each.subject for each in self._sessions.listed(tx, client_id=client_id)} if lost.sector else ()):
            parts = sessions_ending.leave(tx, subject, client_id, self._sessions.policy)
            self._tell_parties(tx, subject, parts)
            left += len(parts)
        if before.pairwise_sector != after.pairwise_sector:
            self._signals.follow_sector(tx, after)
        tx.after_commit(lambda: self._clients.forget(client_id))
        if codes or families or left:
            figures = {"codes": codes, "families": len(families), "sessions": left}
            tx.after_commit(lambda: audit.record("client.withdrawn", client_id=client_id, **figures))
        return Consequences(lost, codes, len(families), left)

    def end_unused_clients(self, tx: Transaction, limit: int) -> int:
        """End clients that registered themselves and were not used for too long; returns the number."""
        lapsed = self._clients.unused(tx, limit)
        return sum(self._ended_client(tx, each, ended=clients_ending.mark_lapsed(tx, each)) for each in lapsed)

    def _ended_client(self, tx: Transaction, client_id: str, *, ended: bool) -> bool:
        """What follows when a client was marked removed."""
        if ended:
            tx.take_time()
            tokens_ending.end_of_client(tx, client_id, rules.Reason.CLIENT_REMOVED)
            self._signals.client_ended(tx, client_id, rules.Reason.CLIENT_REMOVED)
            tx.after_commit(lambda: self._clients.forget(client_id))
            tx.after_commit(lambda: audit.record("client.removed", client_id=client_id))
        return ended

    def end_key(self, tx: Transaction, kid: str, reason: str, spare: Key | None) -> RevokedKey | None:
        """Revoke a signing key: everything it signed is dead, and its successor, else the `spare`, signs at once.

        Sessions and families go on: a refresh gives tokens of the successor. None when it was revoked already.
        """
        tx.take_time()
        revoked = keys_ending.mark_revoked(tx, self._keys.policy, kid, reason, spare)
        if revoked is not None:
            self._signals.key_ended(tx, kid, rules.Reason.KEY_REVOKED)
        return revoked

    def told(self, tx: Transaction, sids: Sequence[str]) -> list[Told]:
        """How far the apps of ended sessions have been told, in the order in which they took part."""
        now = tx.now
        states = {
            (delivery.sid, delivery.client_id): rules.heard(delivery.state(now))
            for sid in sids
            for delivery in self._deliveries.of_session(tx, sid)
        }
        found = []
        for sid in sids:
            for client_id in self._sessions.clients_of(tx, sid):
                client = self._clients.get(tx, client_id)
                if client is not None:
                    found.append(Told(client.name, states.get((sid, client_id), Heard.UNTOLD)))
        return found

    def frames(self, tx: Transaction, sids: Sequence[str]) -> list[str]:
        """The pages that the browser may load to sign apps out, if that is switched on (Front-Channel Logout 1.0 §3)."""
        parts = [part for sid in sids for part in self._sessions.taken_part(tx, sid)] if self._frontchannel else []
        clients = [(part.told_sid, self._clients.get(tx, part.client_id)) for part in parts]
        return [
            with_parameters(client.frontchannel_logout_uri, [("iss", self._issuer), ("sid", sid)])
            for sid, client in clients
            if client is not None and client.frontchannel_logout_uri is not None
        ]

    def is_hinted(self, tx: Transaction, sid: str, client: Client | None, hint_sid: str | None) -> bool:
        """Whether an ID token that is given back as a hint came from this very session."""
        if client is None or hint_sid is None:
            return hint_sid == sid
        return self._sessions.is_known_as(tx, sid, client.client_id, hint_sid)

    # -- telling the relying parties ------------------------------------------------------------------------------

    def _tell_parties(self, tx: Transaction, subject: str, taken_part: Sequence[Participation], until: Instant = 0.0) -> int:
        """Write down one delivery for each client that took part and can be told.

        It is tried until `until`, when the session would have been over anyway, and for `delivery_lifetime` at the least.
        """
        until = max(until, tx.now + self._delivery_lifetime)
        parties = [(each, self._clients.get(tx, each.client_id)) for each in taken_part]
        news = [
            self._news(tx, subject, each, client, client.backchannel_logout_uri, until)
            for each, client in parties
            if client is not None and client.backchannel_logout_uri is not None
        ]
        self._deliveries.enqueue(tx, news)
        return len(news)

    def _news(
        self, tx: Transaction, subject: str, part: Participation, client: Client, uri: str, until: Instant
    ) -> NewDelivery:
        payload = {"aud": client.client_id, "sid": part.told_sid, "jti": secrets.token(JTI_BYTES)}
        if client.backchannel_logout_include_sub:
            payload["sub"] = self._subjects.sub_in(tx, part.sector, subject)
        return NewDelivery(
            kind=rules.BACKCHANNEL,
            client_id=client.client_id,
            sid=part.sid,
            once=f"{part.sid} {part.first_used_at!r}",
            uri=uri,
            payload=payload,
            expires_at=until,
        )

    def compose(self, delivery: Delivery, now: Instant) -> Message:
        """The request body of a back-channel logout, signed at the moment of the attempt, with the `jti` of the first.

        It is signed as the client's ID tokens are, for it is validated like them (Back-Channel Logout 1.0 §2.6).
        """
        claims = rules.logout_token_claims(self._issuer, now, delivery.payload)
        client = self._clients.find(delivery.client_id)
        alg = DEFAULT_ALG if client is None else client.id_token_signed_response_alg
        token = self._keys.sign(rules.LOGOUT_TOKEN_TYP, claims, now, alg if self._keys.can_sign(alg) else DEFAULT_ALG)
        # A JWT is letters, digits, "-", "_" and ".": nothing in it has to be escaped in a form.
        hint = rules.HINT if "sub" in delivery.payload else rules.HINT_WITHOUT_SUB
        return Message(f"logout_token={token}".encode("ascii"), "application/x-www-form-urlencoded", hint=hint)
