"""The arena: who plays, where each one stands, and the sockets by the session that opened them.

Everything here runs on the event loop's one thread, so there are no locks.
"""

import asyncio
import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from examples.journal import tell
from examples.sessions import Session
from idp.verifier import SESSION_ENDED
from idp.verifier.asgi import GuardedSocket, socket_of

NOT_UNDERSTOOD = 1008  # "policy violation" (RFC 6455 §7.4.1)
LONGEST_MESSAGE = 256  # bytes
TICK = 0.04  # seconds between two pictures of the arena, at most
MOST_SOCKETS = 8  # for one session


@dataclass(eq=False, slots=True)
class Player:
    """One socket, bound at its handshake to the session that opened it. `x` and `y` run from 0 to 1."""

    session: Session
    number: int
    guarded: GuardedSocket
    x: float = 0.5
    y: float = 0.5


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
    """All players. A socket lives exactly as long as its session, and as its page: the guard sees to the former."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._players: set[Player] = set()
        self._changed = asyncio.Event()
        self._count = 0

    def admit(self, session: Session, socket: WebSocket) -> Player | None:
        """A player for this session, its socket bound to it; None when it has enough of them, or has ended.

        Called without an `await` after the session was found living, so that no ending slips in between.
        """
        if sum(player.session.key == session.key for player in self._players) >= MOST_SOCKETS:
            return None
        guarded = socket_of(socket.scope)
        if guarded.bind({"sid": session.sid, "client_id": self._client_id}, session.expires_at).closed:
            return None
        self._count += 1
        player = Player(session, self._count, guarded)
        self._players.add(player)
        self._wake()
        return player

    def end(self, sessions: list[Session]) -> None:
        """Close every socket of these sessions, now; nothing that such a socket still sends is heard."""
        keys = {session.key for session in sessions}
        for player in [player for player in self._players if player.session.key in keys]:
            player.guarded.end("The session has ended")
            self._remove(player)

    async def play(self, socket: WebSocket, player: Player) -> None:
        """Serve one accepted socket until its page leaves or the guard closes it: the app sees no difference."""
        tell("socket_opened", app="arena", sid=player.session.sid)
        work = [asyncio.create_task(part) for part in (self._listen(socket, player), self._show(socket, player))]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._remove(player)
        await self._leave(socket, player)

    async def _leave(self, socket: WebSocket, player: Player) -> None:
        """Say goodbye where nobody has yet, and write down why it is over."""
        code = None
        if player.guarded.closed:
            code = SESSION_ENDED
        elif socket.client_state is WebSocketState.CONNECTED:
            code = NOT_UNDERSTOOD
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(code)
        await player.guarded.leave()
        ended_at = player.guarded.handle and player.guarded.handle.closed_at
        since = round((time.monotonic() - ended_at) * 1000, 1) if ended_at else None
        tell("socket_closed", app="arena", sid=player.session.sid, code=code, ms=since)

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
