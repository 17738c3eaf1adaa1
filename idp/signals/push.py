"""Push (RFC 8935): events go through the outbox, each stream's in a lane of its own, strictly in their order.

The outbox holds a little of each stream and the log the rest, so that a receiver that is away does not fill it.
"""

import base64
import json
from collections.abc import Collection, Mapping

from idp.delivery.rules import Delivery, Message, NewDelivery, Verdict, delivery_id, lane_in_order
from idp.delivery.service import DeliveryService
from idp.keys.service import KeyService
from idp.protocol import strict_json
from idp.protocol.events import KEY_REVOKED, SET_TYP
from idp.runtime.clock import Instant
from idp.runtime.database import Transaction
from idp.runtime.outbound.client import HttpReply
from idp.runtime.secrets import Secrets
from idp.signals import rules, store, stream_store
from idp.signals.rules import BATCH, Signal, Stream

KIND = "security_event"
CONTENT_TYPE = "application/secevent+jwt"
_ACCEPT = {"Accept": "application/json"}
#: So much of one stream is in the outbox at once. What waits there behind one that failed is looked through at every look.
HANDED = 64
_PURPOSE = "stream authorization"
_REFUSED = 400
#: What is wrong with us, and not with the event (RFC 8935 §2.4).
_OF_OURS = frozenset({"authentication_failed", "access_denied"})


class Pushing:
    """Hands the events of push streams to the outbox, and makes the requests."""

    def __init__(self, issuer: str, deliveries: DeliveryService, keys: KeyService, secrets: Secrets, lifetime: float) -> None:
        """`lifetime` is for how many seconds an event is tried at the least."""
        self._issuer = issuer
        self._deliveries = deliveries
        self._keys = keys
        self._secrets = secrets
        self._lifetime = lifetime

    def seal(self, stream_id: str, authorization: str) -> bytes:
        """An authorization header, as it may be stored."""
        return self._secrets.seal(_PURPOSE, stream_id, authorization.encode())

    def is_behind(self, tx: Transaction) -> bool:
        """Whether there is anything to hand over, and room for it."""
        last = store.last(tx)
        return any(self._room(tx, stream) > HANDED // 2 for stream in stream_store.pushed(tx, last))

    def hand_over(self, tx: Transaction) -> None:
        """Write down deliveries for what is new. The caller holds the lock under which numbers are given."""
        for stream in stream_store.pushed_held(tx, store.last(tx)):
            self._hand_over(tx, stream)

    def _hand_over(self, tx: Transaction, stream: Stream) -> None:
        room, cursor = self._room(tx, stream), stream.cursor
        news: list[NewDelivery] = []
        while len(news) < room and (batch := store.after(tx, cursor, BATCH)):
            for signal in batch:
                if stream.hears(signal):
                    if len(news) >= room:
                        break
                    news.append(self._news(tx, stream, signal))
                cursor = signal.place
        self._deliveries.enqueue(tx, news)
        if cursor != stream.cursor:
            stream_store.change(tx, stream.stream_id, cursor=cursor)

    def _room(self, tx: Transaction, stream: Stream) -> int:
        return HANDED - self._deliveries.waiting_in(tx, lane_in_order(stream.stream_id))

    def _news(self, tx: Transaction, stream: Stream, signal: Signal) -> NewDelivery:
        payload = {
            "claims": json.dumps(rules.set_claims(self._issuer, stream.client_id, signal)),
            "stream_id": stream.stream_id,
        }
        if stream.authorization is not None:
            payload["authorization"] = base64.b64encode(stream.authorization).decode("ascii")
        return NewDelivery(
            kind=KIND,
            client_id=stream.client_id,
            sid=None,
            once=_once(stream, signal),
            uri=stream.endpoint_url or "",
            payload=payload,
            # What is behind it goes out when it has died of age: no token that it names can be alive then.
            expires_at=max(signal.tokens_until, tx.now + self._lifetime),
            lane=lane_in_order(stream.stream_id),
            place=signal.place,
        )

    def waiting(self, tx: Transaction, stream: Stream) -> tuple[int, Instant | None]:
        """How much was handed over and has not arrived, and when the first of it happened."""
        lane = lane_in_order(stream.stream_id)
        first = self._deliveries.first_waiting(tx, lane)
        if first is None:
            return 0, None
        known = store.after(tx, first - 1, 1)
        return self._deliveries.waiting_in(tx, lane), known[0].occurred_at if known else None

    def withdraw(self, tx: Transaction, stream: Stream) -> int:
        """Take back what was handed over and has not arrived. Returns the cursor from which it can be handed over again."""
        lane = lane_in_order(stream.stream_id)
        first = self._deliveries.first_waiting(tx, lane)
        self._deliveries.withdraw(tx, lane)
        return stream.cursor if first is None else min(stream.cursor, first - 1)

    def arrived(self, tx: Transaction, pairs: Collection[tuple[Stream, Signal]]) -> set[tuple[str, str]]:
        """Which events the receivers of streams have taken, of these, by the names of both: one question for all."""
        names = {
            delivery_id(KIND, stream.client_id, _once(stream, signal)): (stream.stream_id, signal.signal_id)
            for stream, signal in pairs
        }
        return {names[taken] for taken in self._deliveries.arrived(tx, names)}

    def compose(self, delivery: Delivery, now: Instant) -> Message:
        """The request of an attempt (RFC 8935 §2.1), signed afresh by a key that is alive."""
        claims = strict_json.stored(delivery.payload["claims"])
        revoked = claims["events"].get(KEY_REVOKED) and claims["sub_id"]["id"]
        if revoked and self._keys.signing_kid() == revoked:
            self._keys.load()  # this process has not heard of it yet
        body = self._keys.sign(SET_TYP, claims, now).encode("ascii")
        return Message(body, CONTENT_TYPE, self._headers(delivery.payload), judge)

    def _headers(self, payload: Mapping[str, str]) -> dict[str, str]:
        if "authorization" not in payload:
            return dict(_ACCEPT)
        opened = self._secrets.unseal(_PURPOSE, payload["stream_id"], base64.b64decode(payload["authorization"]))
        if opened is None:
            message = "the authorization header was sealed under another secret"
            raise ValueError(message)
        return {**_ACCEPT, "Authorization": opened.decode()}


def judge(answer: HttpReply) -> Verdict:
    """What an answer means (RFC 8935 §2.2, §2.3): taken, refused for good, or not understood by whoever answered.

    A proxy on the way may answer 400 as well: only a receiver says in JSON what is wrong. And it is wrong for good only
    where it is the event: whom the receiver does not know today it may let in tomorrow.
    """
    if 200 <= answer.status < 300:  # noqa: PLR2004 - a class of HTTP statuses
        return Verdict.DELIVERED
    return Verdict.DEAD if answer.status == _REFUSED and _says_what_is_wrong(answer) else Verdict.RETRY


def _says_what_is_wrong(answer: HttpReply) -> bool:
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _ACCEPT["Accept"] or answer.cut_short:
        return False
    try:
        document = strict_json.loads(answer.body)
    except ValueError:
        return False
    err = document.get("err") if isinstance(document, dict) else None
    return isinstance(err, str) and err not in _OF_OURS


def _once(stream: Stream, signal: Signal) -> str:
    return f"{stream.stream_id} {signal.signal_id}"
