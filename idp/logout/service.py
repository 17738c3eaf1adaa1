"""Ending: one function for each thing that can be ended, in one transaction with everything that follows."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol, TypeAlias

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
from idp.logout.rules import AppProgress, Heard
from idp.logout.withdrawal import Withdrawal, withdrawn
from idp.protocol.signatures import DEFAULT_ALG
from idp.protocol.uris import with_parameters
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.runtime.listeners import Listeners
from idp.sessions import ending as sessions_ending
from idp.sessions.rules import Participation, Session
from idp.sessions.service import SessionService
from idp.signals.rules import Known
from idp.signals.service import SignalService
from idp.tokens import ending as tokens_ending
from idp.tokens.rules import JTI_BYTES, FamilyClosing
from idp.tokens.subjects import Subjects

#: More than so many sessions or families end batch by batch: one transaction of so many takes some 15 ms of CPU.
AT_ONCE = 100
_FOR_GOOD = frozenset({rules.Reason.ACCOUNT_REMOVED, rules.Reason.CLIENT_REMOVED})
#: Ends families that a closing names, at most so many; their names.
_Mark: TypeAlias = Callable[[Transaction, FamilyClosing, int], list[str]]
#: What a person is called in a sector.
_SubIn: TypeAlias = Callable[[str | None, str], str]
#: Deletes what is kept of a person or a client, at most so much; returns how much.
Forget: TypeAlias = Callable[[Transaction, str | None, str | None, int], int]


@dataclass(frozen=True, slots=True)
class _Owed:
    """Whom a client must be told of, and until when that makes sense at the least."""

    subject: str
    part: Participation
    until: Instant = 0.0


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
        self._listeners = Listeners()
        self._forgets: list[Forget] = []

    # -- sessions -------------------------------------------------------------------------------------------------

    def end_session(self, tx: Transaction, sid: str, reason: str) -> Session | None:
        """End one session: its cookie, its families, and its place at every relying party that took part."""
        session = sessions_ending.mark_ended(tx, sid, reason)
        if session is not None:
            self._follow(tx, [session], reason)
        return session

    def end_stale_sessions(self, tx: Transaction, limit: int) -> int:
        """End sessions that are idle or too old, as if somebody had signed out; returns the number.

        Each is looked at again while its row is locked: one that was used meanwhile goes on.
        """
        policy = self._sessions.policy
        reasons = (rules.Reason.IDLE, rules.Reason.EXPIRED)
        ended = sessions_ending.mark_stale(tx, sorted(self._sessions.stale(tx, limit)), reasons, policy)
        for reason in reasons:
            self._follow(tx, [session for session in ended if session.end_reason == reason], reason)
        return len(ended)

    def _follow(self, tx: Transaction, ended: Sequence[Session], reason: str) -> None:
        """What follows when sessions were marked ended, for all of them together: each statement is asked once."""
        if not ended:
            return
        sessions = sorted(ended, key=lambda session: session.sid)
        sids = [session.sid for session in sessions]
        tokens_ending.end_of_sessions(tx, sids, reason)
        parts = self._sessions.taken_part_in(tx, sids)
        sub_in = cache(partial(self._subjects.sub_in, tx))
        known = {session.sid: _names(session, parts[session.sid], sub_in) for session in sessions}
        self._signals.sessions_ended(tx, known, reason, by=rules.initiator(reason))
        owed = [_Owed(session.subject, part, session.expires_at) for session in sessions for part in parts[session.sid]]
        told = Counter(news.sid for news in self._tell_parties(tx, owed, sub_in))
        fields: list[dict[str, audit.Field]] = [
            {"sid": session.sid, "subject": session.subject, "reason": reason, "parties": told[session.sid]}
            for session in sessions
        ]
        tx.after_commit(lambda: audit.record_each("session.ended", fields))

    def end_account_sessions(self, tx: Transaction, subject: str, reason: str, *, keep: str | None = None) -> int:
        """End every session of a person, save `keep`. What was allowed offline stays allowed. Returns their number.

        Of very many the first are ended here, and the others are closed: they are over for everybody who asks, and who must
        be told of them is told batch by batch (`end_closed`, docs/adr/0023).
        """
        tx.take_time()
        closing = sessions_ending.closing(tx, subject, reason, keep)
        ended = sessions_ending.mark_some(tx, closing, AT_ONCE)
        self._follow(tx, ended, reason)
        if len(ended) < AT_ONCE:
            return len(ended)
        left = sessions_ending.close(tx, closing)
        if left:
            tx.wake_after_commit(self._wake)
        return len(ended) + left

    # -- accounts -------------------------------------------------------------------------------------------------

    def end_account(self, tx: Transaction, subject: str, reason: str) -> int:
        """End every session and every family of a person, the offline ones too. Returns the number of sessions."""
        ended = self.end_account_sessions(tx, subject, reason)
        self._end_families(tx, tokens_ending.closing(reason, subject=subject))
        return ended

    def end_after_password_change(self, tx: Transaction, subject: str, *, keep: str | None = None) -> int:
        """What a new password ends: every session of the person, save `keep`, in which it was chosen. Returns their number."""
        by = rules.initiator(rules.Reason.OPERATOR if keep is None else rules.Reason.PASSWORD_CHANGED)
        elsewhere = [Known(sector, sub) for sector, sub in self._subjects.names(tx, subject)]
        self._signals.password_changed(tx, [Known(None, subject), *elsewhere], by=by)
        return self.end_account_sessions(tx, subject, rules.Reason.PASSWORD_CHANGED, keep=keep)

    # -- what was allowed -----------------------------------------------------------------------------------------

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
        ended = self._end_families(tx, tokens_ending.closing(reason, subject=subject, client_id=client_id))
        tx.after_commit(
            lambda: audit.record("access.ended", subject=subject, client_id=client_id, reason=reason, families=ended)
        )

    # -- clients and keys -----------------------------------------------------------------------------------------

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
        left = self._leave_all(tx, client_id) if lost.sector else 0
        if before.pairwise_sector != after.pairwise_sector:
            self._signals.follow_sector(tx, after)
        tx.after_commit(lambda: self._clients.forget(client_id))
        if codes or families or left:
            figures = {"codes": codes, "families": len(families), "sessions": left}
            tx.after_commit(lambda: audit.record("client.withdrawn", client_id=client_id, **figures))
        return Consequences(lost, codes, len(families), left)

    def _leave_all(self, tx: Transaction, client_id: str) -> int:
        """Let a client leave every live session, and tell it so; returns their number. What it has left is listed no more."""
        left = 0
        while sessions := self._sessions.listed(tx, client_id=client_id):
            subjects = {session.sid: session.subject for session in sessions}
            parts = sessions_ending.leave_these(tx, list(subjects), client_id)
            owed = [_Owed(subjects[part.sid], part) for part in parts]
            self._tell_parties(tx, owed, cache(partial(self._subjects.sub_in, tx)))
            left += len(parts)
        return left

    def end_unused_clients(self, tx: Transaction, limit: int) -> int:
        """End clients that registered themselves and were not used for too long; returns the number."""
        lapsed = self._clients.unused(tx, limit)
        return sum(self._ended_client(tx, each, ended=clients_ending.mark_lapsed(tx, each)) for each in lapsed)

    def _ended_client(self, tx: Transaction, client_id: str, *, ended: bool) -> bool:
        """What follows when a client was marked removed."""
        if ended:
            tx.take_time()
            self._end_families(tx, tokens_ending.closing(rules.Reason.CLIENT_REMOVED, client_id=client_id))
            self._signals.client_ended(tx, client_id, rules.Reason.CLIENT_REMOVED)
            self._deliveries.forget_party(tx, client_id)
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

    # -- very many ------------------------------------------------------------------------------------------------

    def when_closed(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when `end_closed` has something to do. It must return at once: committers call it."""
        self._listeners.add(listener)

    def _wake(self) -> None:
        self._listeners.tell()

    def _end_families(self, tx: Transaction, closing: FamilyClosing) -> int:
        """End the families that a closing names, and what goes with them; of very many the first. The number of families.

        A person's families wait for the sessions: what ends with one of these has no event of its own.
        """
        waits = closing.client_id is None and self._sessions.is_closing(tx, closing.subject)
        ended, done = (0, 0) if waits else self._end_some(tx, closing, AT_ONCE, tokens_ending.mark_some)
        if waits or done >= AT_ONCE:
            tokens_ending.close(tx, closing)
            tx.wake_after_commit(self._wake)
            return ended + tokens_ending.count_to_end(tx, closing)
        return ended

    def _end_some(self, tx: Transaction, closing: FamilyClosing, most: int, mark: _Mark) -> tuple[int, int]:
        """One step: how many families ended, and how much was done in all, at most `most`; less where nothing is left."""
        subject, client_id = closing.subject, closing.client_id
        done = 0
        if subject is not None and client_id is not None:
            parts = sessions_ending.leave(tx, subject, client_id, self._sessions.policy, most)
            sub_in = cache(partial(self._subjects.sub_in, tx))
            self._tell_parties(tx, [_Owed(subject, part) for part in parts], sub_in)
            done = len(parts)
        ended = mark(tx, closing, most - done) if done < most else []
        if closing.reason != rules.Reason.CLIENT_REMOVED:  # that has one event for all
            self._signals.families_ended(tx, ended, closing.reason)
        done += len(ended)
        if done < most and closing.reason in _FOR_GOOD:
            done += self._forget_some(tx, closing, most - done)
        return len(ended), done

    def _forget_some(self, tx: Transaction, closing: FamilyClosing, most: int) -> int:
        """Forget what was allowed and how somebody was called, of a person or a client that is gone for good."""
        gone = 0
        for forget in self._forgets:
            gone += forget(tx, closing.subject, closing.client_id, most - gone)
        if gone < most and closing.subject is not None:
            gone += tokens_ending.forget_names(tx, closing.subject, most - gone)
        return gone

    def also_forgets(self, forget: Forget) -> None:
        """Have what a room above keeps of a person or a client deleted when they are gone for good."""
        self._forgets.append(forget)

    def end_closed(self, tx: Transaction, most: int) -> int:
        """Carry out what was decided before: end the next sessions or families that are closed; returns how much was done.

        At most `most`, and 0 where there is nothing to do, or others are at it. Whoever does it, and however often it begins
        anew: each session is marked once, and in the same commit everybody is written down who must hear of it.
        """
        reason, sessions = sessions_ending.mark_next(tx, most)
        self._follow(tx, sessions, reason)
        return len(sessions) or self._end_closed_families(tx, most)

    def _end_closed_families(self, tx: Transaction, most: int) -> int:
        after = ""
        while (closing := tokens_ending.take_closing(tx, after)) is not None:
            after = closing.closing_id
            if closing.client_id is None and self._sessions.is_closing(tx, closing.subject):
                continue
            _, done = self._end_some(tx, closing, most, tokens_ending.mark_next)
            if done < most and tokens_ending.count_to_end(tx, closing) == 0:
                tokens_ending.closed(tx, closing.closing_id)
            if done:
                return done
        return 0

    def left(self, tx: Transaction) -> int:
        """How much `end_closed` has still to do; 0 when everything that was decided is carried out."""
        return sessions_ending.left(tx) + tokens_ending.left(tx)

    # -- who was told ---------------------------------------------------------------------------------------------

    def told(self, tx: Transaction, sids: Sequence[str]) -> list[AppProgress]:
        """How far the apps of ended sessions have been told, in the order in which they took part."""
        now = tx.now
        states = {
            (delivery.sid, delivery.client_id): rules.heard(delivery.state(now))
            for delivery in self._deliveries.of_sessions(tx, sids)
        }
        parts = self._sessions.taken_part_in(tx, sids)
        clients = self._clients.get_each(tx, {part.client_id for each in parts.values() for part in each})
        return [
            AppProgress(clients[part.client_id].name, states.get((sid, part.client_id), Heard.UNTOLD))
            for sid in sids
            for part in parts[sid]
            if part.client_id in clients
        ]

    def frames(self, tx: Transaction, sids: Sequence[str]) -> list[str]:
        """The pages that the browser may load to sign apps out, if that is switched on (Front-Channel Logout 1.0 §3)."""
        by_sid = self._sessions.taken_part_in(tx, sids) if self._frontchannel else {}
        parts = [part for sid in sids for part in by_sid.get(sid, ())]
        clients = self._clients.get_each(tx, {part.client_id for part in parts})
        uris = [(part.told_sid, clients[part.client_id].frontchannel_logout_uri) for part in parts if part.client_id in clients]
        return [with_parameters(uri, [("iss", self._issuer), ("sid", sid)]) for sid, uri in uris if uri is not None]

    def is_hinted(self, tx: Transaction, sid: str, client: Client | None, hint_sid: str | None) -> bool:
        """Whether an ID token that is given back as a hint came from this very session."""
        if client is None or hint_sid is None:
            return hint_sid == sid
        return self._sessions.is_known_as(tx, sid, client.client_id, hint_sid)

    # -- telling the relying parties ------------------------------------------------------------------------------

    def _tell_parties(self, tx: Transaction, owed: Sequence[_Owed], sub_in: _SubIn) -> list[NewDelivery]:
        """Write down one delivery for each client that took part and can be told.

        It is tried until the session would have been over anyway, and for `delivery_lifetime` at the least.
        """
        clients = self._clients.get_each(tx, {each.part.client_id for each in owed})
        news = [
            self._news(each, client, client.backchannel_logout_uri, tx.now, sub_in)
            for each in owed
            if (client := clients.get(each.part.client_id)) is not None and client.backchannel_logout_uri is not None
        ]
        self._deliveries.enqueue(tx, news)
        return news

    def _news(self, owed: _Owed, client: Client, uri: str, now: Instant, sub_in: _SubIn) -> NewDelivery:
        part = owed.part
        payload = {"aud": client.client_id, "sid": part.told_sid, "jti": secrets.token(JTI_BYTES)}
        if client.backchannel_logout_include_sub:
            payload["sub"] = sub_in(part.sector, owed.subject)
        return NewDelivery(
            kind=rules.BACKCHANNEL,
            client_id=client.client_id,
            sid=part.sid,
            once=f"{part.sid} {part.first_used_at!r}",
            uri=uri,
            payload=payload,
            expires_at=max(owed.until, now + self._delivery_lifetime),
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


def _names(session: Session, parts: Sequence[Participation], sub_in: _SubIn) -> list[Known]:
    """Everything that the session is called: here, and in the sectors of those who took part."""
    sectors = sorted({(part.sector, part.told_sid) for part in parts if part.sector is not None})
    elsewhere = [Known(sector, sub_in(sector, session.subject), sid) for sector, sid in sectors]
    return [Known(None, session.subject, session.sid), *elsewhere]
