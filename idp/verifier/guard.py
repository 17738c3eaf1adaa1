"""The socket guard: a socket lives no longer than what it was opened with.

A handshake is the one moment at which a socket shows a token, and a socket may stay open for days. So each is bound to
what its token names (session, family, `jti`, client and key). It is closed at once when one of them ends, when the token
expires and nobody brought a newer one, and when it cannot be known any more whether something ended.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Protocol, Self

from idp.verifier.closing import Close, Closing, Threads
from idp.verifier.deadlines import Deadlines
from idp.verifier.holding import AnyClaims, Handle, Name, Owner, SocketEndedError, instant, names_of
from idp.verifier.rules import EndedListener, Ending, StaleListener, Staleness

#: "Sign in again": close codes 4000 to 4999 are an application's own (RFC 6455 §7.4.2), and 401 is how HTTP says it.
SESSION_ENDED = 4401
#: Seconds after which the time of day is looked at again though nothing is due: it may have been set forward.
LOOK_AGAIN = 5.0

ENDED = "The session has ended"
EXPIRED = "The token has expired"
STALE = "The provider cannot be reached"


class Feed(Protocol):
    """What a guard asks of a verifier."""

    @property
    def refuses(self) -> bool:
        """Whether it refuses every token now, since it cannot know what has ended."""

    def now(self) -> float:
        """The time by which `exp` is judged, any leeway taken off."""

    def has_ended(self, names: Iterable[Name]) -> bool:
        """Whether one of them has ended."""

    def on_ended(self, listener: EndedListener) -> Callable[[], object]:
        """Have `listener` called when something ends, after `has_ended` knows of it; what undoes that."""

    def on_stale(self, listener: StaleListener) -> Callable[[], object]:
        """Have `listener` called when the verifier becomes stale, after `refuses` is true; what undoes that."""


class Guard:
    """The sockets of a process, served by threads, event loops or both. Every method may be called in any of them."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._changed = threading.Condition()
        self._bound: dict[Name, set[Handle]] = {}
        self._live: Deadlines[Handle] = Deadlines()
        self._threads = Threads()
        self._timer: threading.Thread | None = None
        self._over = False
        #: How many sockets were closed, by reason.
        self.closed: Counter[str] = Counter()
        #: How many could not be, by the name of what their `close` raised.
        self.failures: Counter[str] = Counter()
        self._unsubscribe = (feed.on_ended(self._on_ended), feed.on_stale(self._on_stale))

    def __len__(self) -> int:
        """How many sockets are bound."""
        return len(self._live)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def bind(self, who: AnyClaims | str, expires: float | None, close: Close) -> Handle:
        """Keep a socket: `close(4401, reason)` is called once, as soon as it must go. That may be at once.

        `who` is a verified token's claims, or a `sid` alone; `expires` is when the socket goes unless it is extended, by
        default the token's `exp`. `close` is called in the event loop that runs here, else in a thread. Serve the socket
        only where the handle is not `closed`, and `release` it when it has closed by itself.
        """
        claims: AnyClaims = {"sid": who} if isinstance(who, str) else who
        handle = Handle(
            keeper=self,
            close=Closing(close, self._threads, self._failed),
            owner=Owner(claims) if isinstance(who, str) else Owner.of(claims),
            names=names_of(claims),
            expires=instant(claims.get("exp") if expires is None else expires),
        )
        with self._changed:
            if self._over:
                message = "The guard is closed."
                raise SocketEndedError(message)
            self._name(handle, handle.names)
            self._await(handle)
        self._judge(handle)
        return handle

    def extend(self, handle: Handle, given: AnyClaims | float) -> None:
        """See `Handle.extend`."""
        claims = given if isinstance(given, Mapping) else None
        expires = instant(given if claims is None else claims.get("exp"))
        named = handle.names if claims is None else names_of(claims)
        with self._changed:
            owner = handle.owner if claims is None else handle.owner.then(claims)
            if handle not in self._live:
                raise SocketEndedError(handle.reason or "The socket was released.")
            if expires < handle.expires:
                return
            self._name(handle, named - handle.names)
            self._unname(handle, handle.names - named)
            handle.owner, handle.names, handle.expires = owner, named, expires
            self._await(handle)
        self._judge(handle)

    def end(self, handle: Handle, reason: str) -> None:
        """See `Handle.end`."""
        self._end((handle,), reason)

    def release(self, handle: Handle) -> None:
        """See `Handle.release`."""
        with self._changed:
            self._live.drop(handle)
            self._unname(handle, handle.names)

    def sweep(self) -> None:
        """Close what has expired. The guard's own timer calls it."""
        now = self._feed.now()
        with self._changed:
            gone = self._take(self._live.due(now), EXPIRED)
        self._close(gone, EXPIRED)

    def close(self) -> None:
        """Stop guarding. Sockets that are still bound stay as they are."""
        with self._changed:
            if self._over:
                return
            self._over = True
            self._changed.notify_all()
        for undo in self._unsubscribe:
            undo()
        if self._timer is not None:
            self._timer.join()
        self._threads.close()

    def _on_ended(self, ending: Ending) -> None:
        self._end(self._bound.get((ending.kind, ending.value), ()), ENDED)

    def _on_stale(self, staleness: Staleness) -> None:
        if staleness.is_stale and self._feed.refuses:
            self._end(self._live, STALE)

    def _failed(self, error: BaseException) -> None:
        with self._changed:
            self.failures[type(error).__name__] += 1

    def _judge(self, handle: Handle) -> None:
        """Close what should not have been bound. Asked afterwards: an end is known before it is told, so none slips by."""
        if self._feed.refuses:
            self._end((handle,), STALE)
        elif self._feed.has_ended(handle.names):
            self._end((handle,), ENDED)
        elif handle.expires <= self._feed.now():
            self._end((handle,), EXPIRED)

    def _end(self, handles: Iterable[Handle], reason: str) -> None:
        with self._changed:
            gone = self._take(handles, reason)
        self._close(gone, reason)

    def _close(self, handles: Iterable[Handle], reason: str) -> None:
        """Each by itself: where no thread can be had for one, the others are closed all the same."""
        for handle in handles:
            try:
                handle.close(SESSION_ENDED, reason)
            except Exception as error:  # noqa: BLE001 - it is counted, and nobody else stays open for it
                self._failed(error)

    # -- what is only called with the lock held ---------------------------------------------------------------------

    def _take(self, handles: Iterable[Handle], reason: str) -> list[Handle]:
        """Keep these no longer; those that were kept are to be closed. So each is closed once, whatever happens at once."""
        gone = [handle for handle in handles if handle in self._live]
        now = time.monotonic()
        for handle in gone:
            handle.reason, handle.closed_at = reason, now
            self._live.drop(handle)
            self._unname(handle, handle.names)
        self.closed[reason] += len(gone)
        return gone

    def _name(self, handle: Handle, by: Iterable[Name]) -> None:
        for name in by:
            self._bound.setdefault(name, set()).add(handle)

    def _unname(self, handle: Handle, by: Iterable[Name]) -> None:
        for name in by:
            bound = self._bound.get(name)
            if bound is not None:
                bound.discard(handle)
                if not bound:
                    del self._bound[name]

    def _await(self, handle: Handle) -> None:
        """Have it closed when it expires, unless something comes between."""
        first = self._live.next()
        self._live.put(handle, handle.expires)
        if self._timer is None:
            self._timer = threading.Thread(target=self._watch, name="idp-guard", daemon=True)
            self._timer.start()
        elif first is None or handle.expires < first:
            self._changed.notify_all()

    def _watch(self) -> None:
        while True:
            with self._changed:
                first = self._live.next()
                left = None if first is None else min(first - self._feed.now(), LOOK_AGAIN)
                if not self._over and (left is None or left > 0):
                    self._changed.wait(left)
                if self._over:
                    return
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 - were this thread gone, no socket would ever expire again
                self._failed(error)
