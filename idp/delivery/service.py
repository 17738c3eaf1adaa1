"""Writing deliveries down, looking at them, and sending one again."""

from collections.abc import Callable, Collection, Iterable

from idp.delivery import lane_store, rules, store
from idp.delivery.rules import Delivery, DeliveryState, NewDelivery, Party, Queue
from idp.runtime import audit, secrets
from idp.runtime.batches import AT_ONCE
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.listeners import Listeners
from idp.runtime.paging import Page

#: Seconds after the end of its lease. Whoever needs the lane has taken it over by then.
_ABANDONED = 3600.0
#: Seconds without an attempt. Whatever waits is attempted far more often.
_UNTRIED = 86_400.0
_FIRST = Page(100)


class DeliveryError(Exception):
    """What was asked of a delivery cannot be done; its text is a sentence for people."""


class DeliveryService:
    """The outbox. Whoever writes into it does so in the transaction of what happened, so that neither can be lost.

    `lanes` is how many requests to one client may be in flight at once.
    """

    def __init__(self, database: Database, *, lanes: int = 1) -> None:
        self._dialect = database.dialect
        self._lanes = lanes
        self._listeners = Listeners()

    def enqueue(self, tx: Transaction, news: Iterable[NewDelivery]) -> None:
        """Write deliveries down, due at once, and wake this process's worker after the commit."""
        rows = [_new(tx, new, self._lanes) for new in news]
        if rows:
            store.add(tx, self._dialect, rows)
            tx.wake_after_commit(self.wake)

    def when_woken(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever something may be due. It must return at once: committers call it."""
        self._listeners.add(listener)

    def wake(self) -> None:
        """Something may be due now. Workers of other processes find it at their next poll."""
        self._listeners.tell()

    def get(self, tx: Transaction, delivery_id: str) -> Delivery | None:
        """The delivery."""
        return store.by_id(tx, delivery_id)

    def listed(
        self, tx: Transaction, state: DeliveryState | None = None, limit: int = _FIRST.size, page: int = 1
    ) -> list[Delivery]:
        """The newest deliveries, of one state if named: one page of `limit`."""
        return store.listed(tx, state, Page(limit, page))

    def of_session(self, tx: Transaction, sid: str) -> list[Delivery]:
        """What is owed, or was, because of one session, oldest first."""
        return store.of_sessions(tx, [sid])

    def of_sessions(self, tx: Transaction, sids: Collection[str]) -> list[Delivery]:
        """What is owed, or was, because of these sessions, oldest first: one question for all."""
        return store.of_sessions(tx, sids)

    def waiting_in(self, tx: Transaction, lane: str) -> int:
        """How much waits in a lane."""
        return store.waiting_in(tx, lane)

    def first_waiting(self, tx: Transaction, lane: str) -> int | None:
        """The first place in a lane whose delivery waits or is in flight; None when everything there is done with."""
        return store.first_waiting(tx, lane)

    def arrived(self, tx: Transaction, delivery_ids: Collection[str]) -> set[str]:
        """Those of the deliveries that arrived."""
        return store.arrived(tx, delivery_ids)

    def withdraw(self, tx: Transaction, lane: str) -> int:
        """Delete what waits in a lane, and what is held against it; returns the number. What is in flight may still arrive."""
        store.answered(tx, [lane])
        return store.withdraw(tx, lane)

    def forget_party(self, tx: Transaction, client_id: str) -> None:
        """Hold nothing against a client any more: it is gone."""
        store.answered(tx, [client_id])

    def retry(self, tx: Transaction, delivery_id: str) -> Delivery:
        """Make a dead or waiting delivery due now, its attempts kept. Raises DeliveryError when it is neither."""
        found = store.by_id(tx, delivery_id)
        if found is None:
            message = "There is no such delivery."
            raise DeliveryError(message)
        expires_at = max(found.expires_at, tx.now + rules.RETRY_LIFETIME)
        again = store.retry(tx, delivery_id, expires_at)
        if again is None:
            message = "It was delivered already." if found.delivered_at is not None else "It is being attempted right now."
            raise DeliveryError(message)
        tx.wake_after_commit(self.wake)
        tx.after_commit(lambda: audit.record("delivery.requeued", delivery_id=delivery_id, kind=again.kind))
        return again

    def retry_of_client(self, tx: Transaction, client_id: str, most: int = AT_ONCE) -> int:
        """Send again what died of a client, at most `most`; returns the number. To be repeated until there is no more."""
        count = store.retry_of_client(tx, client_id, tx.now + rules.RETRY_LIFETIME, most)
        store.answered_all(tx, client_id)  # the operator knows better
        if count == 0:
            return 0
        tx.wake_after_commit(self.wake)
        tx.after_commit(lambda: audit.record("delivery.requeued", client_id=client_id, count=count))
        return count

    def parties(self, tx: Transaction, page: Page = _FIRST) -> list[Party]:
        """The relying parties that do not answer, the longest first: one page of them."""
        return store.parties(tx, page)

    def refusing(self, tx: Transaction, page: Page = _FIRST) -> list[Party]:
        """The relying parties that answered 400 and never took anything: most likely something is configured wrongly.

        One page of them.
        """
        return store.refusing(tx, page)

    def tidy(self, tx: Transaction) -> int:
        """Forget the lanes of workers that died long ago, and parties for which nothing waits; returns their number."""
        return lane_store.forget(tx, _ABANDONED) + store.forget_parties(tx, tx.now - _UNTRIED)

    def forget(self, tx: Transaction, before: Instant, most: int) -> int:
        """Delete what arrived or died before `before`, at most `most` of it; returns the number."""
        return store.forget(tx, before, most)

    def queue(self, tx: Transaction) -> Queue:
        """What waits."""
        return store.queue(tx)


def _new(tx: Transaction, new: NewDelivery, lanes: int) -> Delivery:
    return Delivery(
        delivery_id=rules.delivery_id(new.kind, new.client_id, new.once or secrets.token(rules.ID_BYTES)),
        kind=new.kind,
        client_id=new.client_id,
        lane=new.lane or rules.lane(new.client_id, new.sid, lanes),
        party=new.lane or new.client_id,
        place=new.place,
        sid=new.sid,
        uri=new.uri,
        payload=dict(new.payload),
        created_at=tx.now,
        expires_at=new.expires_at,
        next_attempt_at=tx.now,
        attempts=0,
        leased_until=None,
        delivered_at=None,
        dead_at=None,
        last_status=None,
        last_error=None,
    )
