"""The socket guard for python-socketio's servers, sync and async.

    sockets = SocketIOGuard(server, guard)  # AsyncSocketIOGuard for an AsyncServer

    @server.event
    def connect(sid, environ, auth):
        try:
            claims = verifier.verify((auth or {}).get("token"))
        except TokenError as error:
            raise ConnectionRefusedError(str(error), SESSION_ENDED) from None
        sockets.bind(sid, claims)

    @server.event
    def disconnect(sid, reason):
        sockets.release(sid)

Whoever is disconnected is told first, by an event `session_ended` with `code` and `reason`: socket.io has no close codes.
"""

from functools import partial
from typing import Generic, TypeVar

from socketio import AsyncServer, Server
from socketio.exceptions import ConnectionRefusedError as RefusedError

from idp.verifier.guard import SESSION_ENDED, Guard
from idp.verifier.holding import AnyClaims, Handle, SocketEndedError

#: The event by which a socket is told why it is disconnected.
EVENT = "session_ended"

AnyServer = TypeVar("AnyServer", Server, AsyncServer)


class _Sockets(Generic[AnyServer]):
    """The guarded sockets of one namespace, by the `sid` that socket.io gives each (which is no session's)."""

    def __init__(self, server: AnyServer, guard: Guard, namespace: str = "/") -> None:
        self._server = server
        self._guard = guard
        self._namespace = namespace
        self._handles: dict[str, Handle] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def bind(self, socket_id: str, who: AnyClaims | str, expires: float | None = None) -> Handle:
        """Keep a socket (see `Guard.bind`). Called in the `connect` handler; refuses the connection of what has ended."""
        handle = self._guard.bind(who, expires, partial(self._end, socket_id))
        self._handles[socket_id] = handle
        if handle.closed and self._handles.pop(socket_id, None) is not None:
            raise RefusedError(handle.reason, SESSION_ENDED)
        return handle

    def extend(self, socket_id: str, given: AnyClaims | float) -> None:
        """Go on with a newer token (see `Handle.extend`). Raises SocketEndedError for a socket that is not kept."""
        handle = self._handles.get(socket_id)
        if handle is None:
            message = "The socket is not connected."
            raise SocketEndedError(message)
        handle.extend(given)

    def release(self, socket_id: str) -> None:
        """Forget a socket. Called in the `disconnect` handler."""
        handle = self._handles.pop(socket_id, None)
        if handle is not None:
            handle.release()

    def _transport(self, socket_id: str) -> str | None:
        """The engine.io connection below a socket. It is closed too: a disconnected client may keep it, and talk on."""
        found: str | None = self._server.manager.eio_sid_from_sid(socket_id, self._namespace)
        return found

    def _end(self, socket_id: str, code: int, reason: str) -> object:
        raise NotImplementedError


class SocketIOGuard(_Sockets[Server]):
    """For `socketio.Server`."""

    def _end(self, socket_id: str, code: int, reason: str) -> object:
        if self._handles.pop(socket_id, None) is None:  # `bind` has refused it
            return None
        # A thread of its own, as python-socketio has for each socket: an app's `disconnect` handler may take its time.
        return self._server.start_background_task(self._disconnect, socket_id, code, reason)

    def _disconnect(self, socket_id: str, code: int, reason: str) -> None:
        transport = self._transport(socket_id)
        self._server.emit(EVENT, {"code": code, "reason": reason}, to=socket_id, namespace=self._namespace)
        self._server.disconnect(socket_id, namespace=self._namespace)
        if transport is not None:
            self._server.eio.disconnect(transport)


class AsyncSocketIOGuard(_Sockets[AsyncServer]):
    """For `socketio.AsyncServer`. `bind` is called in the server's event loop, as handlers are."""

    async def _end(self, socket_id: str, code: int, reason: str) -> None:
        if self._handles.pop(socket_id, None) is None:  # `bind` has refused it
            return
        transport = self._transport(socket_id)
        await self._server.emit(EVENT, {"code": code, "reason": reason}, to=socket_id, namespace=self._namespace)
        await self._server.disconnect(socket_id, namespace=self._namespace)
        if transport is not None:
            await self._server.eio.disconnect(transport)
