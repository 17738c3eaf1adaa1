"""The arena: who plays, where each one stands, and the sockets by the session that opened them.

Everything here runs on the event loop's one thread, so there are no locks.
"""

import asyncio
import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from examples.journal import tell
from examples.sessions import Session

SESSION_ENDED = 4401  # close codes 4000 to 4999 are an application's own (RFC 6455 §7.4.2); this one says "sign in"
NOT_UNDERSTOOD = 1008  # "policy violation" (RFC 6455 §7.4.1)
LONGEST_MESSAGE = 256  # bytes
TICK = 0.04  # seconds between two pictures of the arena, at most
MOST_SOCKETS = 8  # for one session


@dataclass(eq=False, slots=True)
class Player:
    """One socket, bound at its handshake to the session that opened it. `x` and `y` run from 0 to 1."""

    session: Session
    number: int
    x: float = 0.5
    y: float = 0.5
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ended_by: float = 0.0  # the moment its logout token came, by `time.perf_counter`


def place_of(message: str) -> tuple[float, float] | None:
    """The place `[x, y]` that a page sends, pulled inside the arena; None for anything else."""
    try:
        sent = json.loads(message)
    except ValueError:
        return None
    match sent:
        case [int() | float() as x, int() | float() as y] if math.isfinite(x) and math.isfinite(y):
            return min(max(float(x), 0.0), 1.0), min(max(float(y), 0.0), 1.0)
    return None


class Game:
    """All players. A socket lives exactly as long as its session, and as its page."""

    def __init__(self) -> None:
        self._players: set[Player] = set()
        self._changed = asyncio.Event()
        self._count = 0

    def admit(self, session: Session) -> Player | None:
        """A player for this session, or None when it has enough of them.

        Called without an `await` after the session was found living, so that no ending slips in between.
        """
        if sum(player.session.key == session.key for player in self._players) >= MOST_SOCKETS:
            return None
        self._count += 1
        player = Player(session, self._count)
        self._players.add(player)
        self._wake()
        return player

    def end(self, sessions: list[Session], received: float) -> None:
        """Close every socket of these sessions, now; nothing that such a socket still sends is heard."""
        keys = {session.key for session in sessions}
        for player in [player for player in self._players if player.session.key in keys]:
            player.ended_by = received
            player.ended.set()
            self._remove(player)

    async def play(self, socket: WebSocket, player: Player) -> None:
        """Serve one accepted socket until its page leaves, its session ends or its time is over."""
        tell("socket_opened", app="arena", sid=player.session.sid)
        parts = (self._listen(socket, player), self._show(socket, player), player.ended.wait())
        work = [asyncio.create_task(part) for part in parts]
        listening = work[0]
        try:
            left = player.session.expires_at - time.time()
            await asyncio.wait(work, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            code = NOT_UNDERSTOOD if listening.done() and not player.ended.is_set() else SESSION_ENDED
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._remove(player)
        await self._close(socket, player, code)

    async def _close(self, socket: WebSocket, player: Player, code: int) -> None:
        """Say goodbye, unless the page has left already."""
        here = socket.client_state is WebSocketState.CONNECTED
        if here:
            with suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
                async with asyncio.timeout(1):  # a page that reads nothing must not keep us waiting
                    await socket.close(code, "Your session ended" if code == SESSION_ENDED else "")
        since = round((time.perf_counter() - player.ended_by) * 1000, 1) if player.ended_by else None
        tell("socket_closed", app="arena", sid=player.session.sid, code=code if here else None, ms=since)

    async def _listen(self, socket: WebSocket, player: Player) -> None:
        """Take the player's moves, until the page leaves or sends something else."""
        async for message in socket.iter_text():
            place = place_of(message)
            if place is None:
                return
            player.x, player.y = place
            self._wake()

    async def _show(self, socket: WebSocket, player: Player) -> None:
        """Send the newest picture whenever it changed; one who reads slowly skips pictures and holds up nobody."""
        while True:
            changed = self._changed
            picture = [[each.number, each.session.name, round(each.x, 4), round(each.y, 4)] for each in self._players]
            await socket.send_text(json.dumps({"you": player.number, "players": picture}))
            await asyncio.sleep(TICK)
            await changed.wait()

    def _remove(self, player: Player) -> None:
        self._players.discard(player)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
