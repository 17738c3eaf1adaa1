"""Writing security events down, and numbering them after the commit."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from idp.clients.rules import Client
from idp.protocol import events
from idp.runtime import secrets
from idp.runtime.database import Database, Glance, Transaction
from idp.runtime.listeners import Listeners
from idp.signals import rules, store, stream_store
from idp.signals.push import Pushing
from idp.signals.rules import BATCH, Known, NewSignal, Reach, Signal, Subject

#: What tells an event from others of its `txn`.
_OWN_BYTES = 8


class SignalService:
    """The log. Whoever writes into it does so in the transaction of what happened, so that neither can be lost.

    `longest_token` is for how many seconds a token may count after its issue; for those whose clock is behind by at most
    `clock_skew` seconds it counts that much longer.
    """

    def __init__(
        self,
        database: Database,
        issuer: str,
        pushing: Pushing,
        *,
        longest_token: float,
        clock_skew: float,
        retention: float,
    ) -> None:
        self._database = database
        self._pushing = pushing
        self._longest_token = longest_token
        self._clock_skew = clock_skew
        self._retention = max(retention, longest_token + clock_skew)
        self._listeners = Listeners()
        self._owing: list[Callable[[Transaction], bool]] = []
        self.issuer = issuer

    # -- writing down ---------------------------------------------------------------------------------------------

    def emit(self, tx: Transaction, news: Sequence[NewSignal]) -> None:
        """Write events down, and wake this process's hub after the commit."""
        if news:
            store.add(tx, [_new(tx, new) for new in news])
            tx.wake_after_commit(self.wake)

    def sessions_ended(self, tx: Transaction, known: Mapping[str, Sequence[Known]], reason: str, *, by: str) -> None:
        """Sessions ended (CAEP 1.0 §3.1): every token that names one is dead, by whichever of its names.

        `known` holds the names of each by its `sid`. One event for each name, since each is for others to hear. `by` is
        CAEP's initiating entity.
        """
        details = {"initiating_entity": by, "reason_admin": {"en": reason}}
        until = self._tokens_until(tx)
        news = [
            NewSignal(events.SESSION_REVOKED, self._session(name), until, details, sid, sector=name.sector)
            for sid, names in known.items()
            for name in names
        ]
        self.emit(tx, news)

    def _session(self, name: Known) -> Subject:
        session = rules.opaque(name.sid or "")
        return {"format": "complex", "session": session, "user": rules.person(self.issuer, name.sub)}

    def families_ended(self, tx: Transaction, family_ids: Sequence[str], reason: str) -> None:
        """Families ended: every token whose `jti` begins with the name of one is dead."""
        self.emit(tx, [self._dead(tx, events.FAMILY_REVOKED, rules.opaque(name), reason) for name in family_ids])

    def token_ended(self, tx: Transaction, jti: str, expires_at: float, reason: str) -> None:
        """One access token ended, which would have lived until `expires_at`."""
        named, until = {"format": "jwt_id", "iss": self.issuer, "jti": jti}, expires_at + self._clock_skew
        self.emit(tx, [NewSignal(events.TOKEN_REVOKED, named, until, {"reason_admin": {"en": reason}})])

    def client_ended(self, tx: Transaction, client_id: str, reason: str) -> None:
        """A client ended: what it was given is dead, and it follows nothing any more."""
        named = {"format": "complex", "application": rules.opaque(client_id)}
        self.emit(tx, [self._dead(tx, events.TOKENS_REVOKED, named, reason)])
        for stream in stream_store.of_client(tx, client_id):
            self._pushing.withdraw(tx, stream)
            stream_store.end(tx, stream.stream_id, client_id)

    def follow_sector(self, tx: Transaction, client: Client) -> None:
        """A client has pairwise subjects in another sector now: its streams hear that one's names."""
        for stream in stream_store.of_client(tx, client.client_id):
            stream_store.change(tx, stream.stream_id, sector=client.pairwise_sector)

    def key_ended(self, tx: Transaction, kid: str, reason: str) -> None:
        """A signing key ended: everything that it signed is dead."""
        self.emit(tx, [self._dead(tx, events.KEY_REVOKED, rules.opaque(kid), reason)])

    def password_changed(self, tx: Transaction, known: Sequence[Known], *, by: str) -> None:
        """A password was changed (CAEP 1.0 §3.3). It kills nothing itself: what ends with it has events of its own.

        One event for each name of the person.
        """
        details = {"credential_type": "password", "change_type": "update", "initiating_entity": by}
        people = [(name.sector, {"format": "complex", "user": rules.person(self.issuer, name.sub)}) for name in known]
        self.emit(tx, [NewSignal(events.CREDENTIAL_CHANGE, who, tx.now, details, sector=sector) for sector, who in people])

    def verification(self, tx: Transaction, stream_id: str, state: str | None) -> None:
        """A receiver asked for this event to see that its stream works (SSF 1.0 §8.1.4.1)."""
        details = {} if state is None else {"state": state}
        self.emit(tx, [NewSignal(events.VERIFICATION, rules.opaque(stream_id), tx.now, details, stream_id=stream_id)])

    def stream_ended(self, tx: Transaction, stream_id: str) -> None:
        """A stream is gone. Nobody hears of this event, but a poll that waits for the stream looks around, in any process."""
        self.emit(tx, [NewSignal(events.STREAM_UPDATED, rules.opaque(stream_id), tx.now, {}, stream_id=stream_id)])

    def _dead(self, tx: Transaction, event: str, subject: Subject, reason: str) -> NewSignal:
        return NewSignal(event, subject, self._tokens_until(tx), {"reason_admin": {"en": reason}})

    def _tokens_until(self, tx: Transaction) -> float:
        return tx.now + self._longest_token + self._clock_skew

    def when_owing(self, is_owing: Callable[[Transaction], bool]) -> None:
        """Have `is_owing` asked whether something has ended of which events are written down only later."""
        self._owing.append(is_owing)

    def is_owing(self, tx: Transaction) -> bool:
        """Whether something has ended of which the log does not tell yet: then nobody may say that this is all."""
        return any(ask(tx) for ask in self._owing)

    def when_woken(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever an event was committed. It must return at once: committers call it."""
        self._listeners.add(listener)

    def wake(self) -> None:
        """An event was committed. Other processes find it at their next look."""
        self._listeners.tell()

    # -- reading --------------------------------------------------------------------------------------------------

    def any_news(self) -> Glance:
        """Answers whether `news` would find something `after` a number, for next to nothing."""
        return self._database.glance(store.ANY_NEWS)

    def news(self, tx: Transaction, place: int) -> list[Signal]:
        """The events beyond a number, in order, and those that were committed and have no number yet."""
        return store.news(tx, place, BATCH)

    def number(self, tx: Transaction) -> int | None:
        """Number what was committed, at most `BATCH`, and write down what is to be pushed of it.

        None when another process is at it just now.
        """
        numbered = store.number(tx, self._database.dialect, BATCH)
        if numbered is not None:
            self._pushing.hand_over(tx)
        return numbered

    def is_push_behind(self, tx: Transaction) -> bool:
        """Whether `number` would find something to push though nothing is new: a receiver that was away has made room."""
        return self._pushing.is_behind(tx)

    def after(self, tx: Transaction, place: int, most: int = BATCH) -> list[Signal]:
        """The events beyond a number, in order."""
        return store.after(tx, place, most)

    def reach(self, tx: Transaction) -> Reach:
        """How many follow, and how far the last of them is behind."""
        streams, slowest = stream_store.slowest(tx)
        return Reach(streams, 0 if slowest is None else store.last(tx) - slowest)

    def last(self, tx: Transaction) -> int:
        """The last number that was given."""
        return store.last(tx)

    def tidy(self, tx: Transaction) -> int:
        """Delete what nobody needs to hear any more; returns the number of events."""
        return store.forget(tx, tx.now - self._retention)


def _txn(tx: Transaction, new: NewSignal) -> str:
    """What happened in one go to a person is told by one `txn` (SSF 1.0 §4.1.9), as far as one sector hears of it.

    If it were the same for two sectors, it would tell them of whom both know (docs/adr/0017); so would one that families share,
    of which everybody hears.
    """
    if new.event not in rules.NAMING:
        return secrets.token(rules.ID_BYTES)
    return sha256(f"{tx.name} {new.sector or ''}".encode()).hexdigest()[: 2 * rules.ID_BYTES]


def _new(tx: Transaction, new: NewSignal) -> Signal:
    return Signal(
        signal_id=f"{_txn(tx, new)}.{secrets.token(_OWN_BYTES)}",
        seq=None,
        event=new.event,
        subject=new.subject,
        details=new.details,
        sid=new.sid,
        stream_id=new.stream_id,
        sector=new.sector,
        occurred_at=tx.now,
        tokens_until=new.tokens_until,
    )
