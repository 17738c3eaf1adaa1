"""Writing security events down, numbering them after the commit, and telling how far one is known."""

from collections.abc import Callable, Sequence

from idp.protocol import events
from idp.runtime import secrets
from idp.runtime.database import Database, Transaction
from idp.signals import rules, store, stream_store
from idp.signals.rules import Exposure, NewSignal, Signal, Subject

#: How many events one transaction numbers, or one look reads.
BATCH = 1000


class SignalService:
    """The log. Whoever writes into it does so in the transaction of what happened, so that neither can be lost.

    `longest_token` is for how many seconds a token may count after its issue, the difference of clocks included.
    """

    def __init__(self, database: Database, issuer: str, *, longest_token: float, retention: float) -> None:
        self._dialect = database.dialect
        self._longest_token = longest_token
        self._retention = max(retention, longest_token)
        self._listeners: list[Callable[[], None]] = []
        self.issuer = issuer

    # -- writing down ---------------------------------------------------------------------------------------------

    def emit(self, tx: Transaction, news: Sequence[NewSignal]) -> None:
        """Write events down, and wake this process's hub after the commit."""
        if news:
            store.add(tx, [_new(tx, new) for new in news])
            tx.after_commit(self.wake)

    def session_ended(self, tx: Transaction, sid: str, subject: str, reason: str, *, by: str) -> None:
        """A session ended (CAEP 1.0 §3.1): every token that names its `sid` is dead. `by` is CAEP's initiating entity."""
        named = {"format": "complex", "session": rules.opaque(sid), "user": rules.person(self.issuer, subject)}
        details = {"initiating_entity": by, "reason_admin": {"en": reason}}
        self.emit(tx, [NewSignal(events.SESSION_REVOKED, named, self._tokens_until(tx), details, sid)])

    def families_ended(self, tx: Transaction, family_ids: Sequence[str], reason: str) -> None:
        """Families ended: every token whose `jti` begins with the name of one is dead."""
        self.emit(tx, [self._dead(tx, events.FAMILY_REVOKED, rules.opaque(name), reason) for name in family_ids])

    def token_ended(self, tx: Transaction, jti: str, expires_at: float, reason: str) -> None:
        """One access token ended, which would have lived until `expires_at`."""
        named = {"format": "jwt_id", "iss": self.issuer, "jti": jti}
        self.emit(tx, [NewSignal(events.TOKEN_REVOKED, named, expires_at, {"reason_admin": {"en": reason}})])

    def client_ended(self, tx: Transaction, client_id: str, reason: str) -> None:
        """A client ended: what it was given is dead, and it follows nothing any more."""
        named = {"format": "complex", "application": rules.opaque(client_id)}
        self.emit(tx, [self._dead(tx, events.TOKENS_REVOKED, named, reason)])
        stream_store.end_of_client(tx, client_id)

    def key_ended(self, tx: Transaction, kid: str, reason: str) -> None:
        """A signing key ended: everything that it signed is dead."""
        self.emit(tx, [self._dead(tx, events.KEY_REVOKED, rules.opaque(kid), reason)])

    def password_changed(self, tx: Transaction, subject: str, *, by: str) -> None:
        """A password was changed (CAEP 1.0 §3.3). It kills nothing itself: what ends with it has events of its own."""
        named = {"format": "complex", "user": rules.person(self.issuer, subject)}
        details = {"credential_type": "password", "change_type": "update", "initiating_entity": by}
        self.emit(tx, [NewSignal(events.CREDENTIAL_CHANGE, named, tx.now, details)])

    def _dead(self, tx: Transaction, event: str, subject: Subject, reason: str) -> NewSignal:
        return NewSignal(event, subject, self._tokens_until(tx), {"reason_admin": {"en": reason}})

    def _tokens_until(self, tx: Transaction) -> float:
        return tx.now + self._longest_token

    def when_woken(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever an event was committed. It must return at once: committers call it."""
        self._listeners.append(listener)

    def wake(self) -> None:
        """An event was committed. Other processes find it at their next look."""
        for listener in self._listeners:
            listener()

    # -- reading --------------------------------------------------------------------------------------------------

    def any_unnumbered(self, tx: Transaction) -> bool:
        """Whether an event was committed that has no number yet."""
        return store.any_unnumbered(tx)

    def number(self, tx: Transaction) -> int | None:
        """Number what was committed, at most `BATCH`; None when another process is at it just now."""
        return store.number(tx, self._dialect, BATCH)

    def after(self, tx: Transaction, place: int, most: int = BATCH) -> list[Signal]:
        """The events beyond a number, in order."""
        return store.after(tx, place, most)

    def last(self, tx: Transaction) -> int:
        """The last number that was given."""
        return store.last(tx)

    def exposure(self, tx: Transaction, sid: str) -> Exposure | None:
        """How far the end of a session is known; None when nothing was told of it, or that was long ago."""
        told = store.of_session(tx, sid)
        if not told:
            return None
        end = told[-1]
        followers = [stream for stream in stream_store.every(tx) if stream.hears(end)]
        confirmed = [stream for stream in followers if end.seq is not None and not stream.owes(end)]
        return Exposure(len(confirmed), len(followers), end.tokens_until)

    def tidy(self, tx: Transaction) -> int:
        """Delete what nobody needs to hear any more; returns the number of events."""
        return store.forget(tx, tx.now - self._retention)


def _new(tx: Transaction, new: NewSignal) -> Signal:
    return Signal(
        signal_id=secrets.token(rules.ID_BYTES),
        seq=None,
        event=new.event,
        subject=new.subject,
        details=new.details,
        sid=new.sid,
        stream_id=new.stream_id,
        occurred_at=tx.now,
        tokens_until=new.tokens_until,
    )
