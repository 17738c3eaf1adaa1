"""Looking names up, without waiting any longer than one wants to.

The system's resolver knows no deadline: each look-up has a thread of its own, which lives on when nobody waits for it any
more. So there are only so many of them, and one for each host: a party whose name server hangs takes one place, however
much is for it.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from idp.runtime import clock

#: Look-ups that may hang at once: twice what may be delivered at once, since one that nobody waits for any more hangs on.
MOST = 512
#: How soon, in seconds, a place is asked for again: those who hold it are threads.
_PAUSE = 0.02
#: A look-up that has been under way for longer has lost its answer, or never asked: the next one begins anew.
_JOINED_SECONDS = 30.0

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]


class NoRoomError(Exception):
    """So many look-ups hang that another one could not begin: the name was not asked for."""


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of `host` as the system resolves them, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(eq=False, slots=True)
class _LookUp:
    """One that is under way since `since`, and who waits for it, each in an event loop of its own."""

    since: float
    waiting: set["asyncio.Future[Sequence[str]]"] = field(default_factory=set)


class Lookups:
    """One process's look-ups. Whoever needs one waits at most `patience` seconds for a place."""

    def __init__(self, resolver: Resolver, patience: float) -> None:
        self._resolver = resolver
        self._patience = patience
        self._guard = threading.Lock()
        self._running: dict[str, _LookUp] = {}
        self._count = 0

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of `host`. Raises socket.gaierror when it has none, and NoRoomError."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        until = loop.time() + self._patience
        while (joined := self._join(host, port, found)) is None:
            if loop.time() > until:
                raise NoRoomError
            await asyncio.sleep(_PAUSE)
        try:
            addresses = await found
        finally:
            with self._guard:
                joined.waiting.discard(found)
        if not addresses:
            raise socket.gaierror
        return list(addresses)

    def _join(self, host: str, port: int, waiting: "asyncio.Future[Sequence[str]]") -> _LookUp | None:
        """Wait for the look-up of `host` that is under way, or for a new one; None while there is no room for that."""
        with self._guard:
            running = self._running.get(host)
            if running is None or clock.elapsed() - running.since > _JOINED_SECONDS:
                if self._count >= MOST:
                    return None
                running = _LookUp(clock.elapsed())
                thread = threading.Thread(target=self._look_up, args=(host, port, running), name="idp-lookup", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no room for another thread
                    return None
                self._running[host] = running
                self._count += 1
            running.waiting.add(waiting)
            return running

    def _look_up(self, host: str, port: int, running: _LookUp) -> None:
        found: Sequence[str] = ()
        try:
            found = self._resolver(host, port)
        except (OSError, UnicodeError):
            found = ()
        finally:
            with self._guard:
                self._count -= 1
                if self._running.get(host) is running:
                    del self._running[host]
                waiting = tuple(running.waiting)
            for one in waiting:
                with suppress(RuntimeError):  # its event loop has come to its end
                    one.get_loop().call_soon_threadsafe(_tell, one, found)


def _tell(waiting: "asyncio.Future[Sequence[str]]", found: Sequence[str]) -> None:
    if not waiting.done():
        waiting.set_result(found)
