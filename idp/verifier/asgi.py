"""The socket guard for ASGI websockets: Starlette, FastAPI, Django Channels, Quart, or none of them.

`GuardedSockets` goes around the app. With `authenticate` it lets in only who has a good token, and binds the socket to it;
without, the app binds it itself: `socket_of(scope).bind(...)`. What the app sees of a closed socket is what it sees of
every other: `websocket.disconnect` when it receives, and OSError when it sends (ASGI websocket specification 2.4).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from inspect import isawaitable
from typing import Any, TypeAlias, TypeVar

from idp.verifier.errors import NoTokenError, TokenError
from idp.verifier.guard import SESSION_ENDED, Guard
from idp.verifier.holding import AnyClaims, Handle

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
#: The verified claims of who opens this socket, or None for nobody; it may raise TokenError.
Authenticate: TypeAlias = Callable[[Scope], AnyClaims | Awaitable[AnyClaims | None] | None]
Verify: TypeAlias = Callable[[str], AnyClaims | Awaitable[AnyClaims]]
Answer = TypeVar("Answer")

#: The subprotocol by which a browser, whose sockets cannot carry headers, presents a token: `["access_token", TOKEN]`.
TOKEN_PROTOCOL = "access_token"
#: Seconds that a peer has to take the close frame; one that reads nothing keeps its socket no longer.
GOODBYE = 1.0
#: Characters of a close reason, which are as many bytes here (RFC 6455 §5.5.1: 125 with the code).
LONGEST_REASON = 123
_KEY = "idp.verifier.socket"


def socket_of(scope: Mapping[str, Any]) -> "GuardedSocket":
    """The guarded socket of a websocket's scope, which came through `GuardedSockets`."""
    socket = scope[_KEY]
    assert isinstance(socket, GuardedSocket)
    return socket


def token_of(scope: Mapping[str, Any]) -> str | None:
    """The access token of a handshake: of its `Authorization` (RFC 6750 §2.1), or after `access_token` in its subprotocols.

    Never of its address, which is written into logs. An app answers the subprotocol with `access_token`.
    """
    for name, value in scope["headers"]:
        scheme, _, token = value.decode("latin-1").partition(" ")
        if name == b"authorization" and scheme.lower() == "bearer":
            return str(token.strip())
    match scope.get("subprotocols"):
        case [first, str(token)] if first == TOKEN_PROTOCOL:
            return token
    return None


def bearer(verify: Verify) -> Authenticate:
    """For `GuardedSockets`: whoever presents a token (`token_of`) that `verify` accepts. An AsyncVerifier's holds up nobody."""

    def authenticate(scope: Scope) -> AnyClaims | Awaitable[AnyClaims | None] | None:
        token = token_of(scope)
        return None if token is None else verify(token)

    return authenticate


class _ClosedError(OSError):
    """The guard has closed the socket; the text is the reason."""


class _EndedError(TokenError):
    """It ended while its socket was opened."""

    reason = "ended"


class GuardedSockets:
    """ASGI middleware: every websocket of `app` can be bound to a token, and is closed with it."""

    def __init__(self, app: App, guard: Guard, authenticate: Authenticate | None = None) -> None:
        self._app = app
        self._guard = guard
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        socket = GuardedSocket(self._guard, scope, receive, send)
        try:
            if self._authenticate is None or await socket.admit(self._authenticate):
                await self._app({**scope, _KEY: socket}, socket.receive, socket.send)
        finally:
            await socket.leave()


class GuardedSocket:
    """One websocket. Used in its own event loop alone."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self._guard = guard
        self._scope = scope
        self._receive = receive
        self._send = send
        self._waits: set[asyncio.Timeout] = set()
        self._connected = False
        self._answered = False
        self._told = asyncio.Event()
        #: What it was opened with, where `authenticate` found it.
        self.claims: AnyClaims | None = None
        #: What keeps it, once it was bound.
        self.handle: Handle | None = None

    @property
    def closed(self) -> bool:
        """Whether the guard has closed it."""
        return self.handle is not None and self.handle.closed

    def bind(self, who: AnyClaims | str, expires: float | None = None) -> Handle:
        """Close this socket when `who` ends or expires (see `Guard.bind`). What has ended already is refused at once."""
        self.release()
        self.handle = self._guard.bind(who, expires, self._end)
        return self.handle

    def release(self) -> None:
        """Guard it no longer: it is closing by itself."""
        if self.handle is not None:
            self.handle.release()

    def end(self, reason: str) -> None:
        """Close it for a reason of the app's own. It must have been bound."""
        if self.handle is not None:
            self.handle.end(reason)

    async def leave(self) -> None:
        """The app is done with it. What the guard has closed is gone only when the page was told so."""
        self.release()
        if self.closed:
            await self._told.wait()

    async def admit(self, authenticate: Authenticate) -> bool:
        """Bind it to who opens it; False when nobody may, and the handshake was refused."""
        refusal: TokenError = NoTokenError()
        try:
            found = authenticate(self._scope)
            self.claims = await found if isawaitable(found) else found
        except TokenError as error:
            refusal = error
        if self.claims is None:
            await self._goodbye(SESSION_ENDED, refusal.description[:LONGEST_REASON], refusal)
            return False
        return not self.bind(self.claims).closed  # and what has ended already, `_end` refuses

    async def receive(self) -> Message:
        """The next message; `websocket.disconnect` once the guard has closed the socket, whatever still comes."""
        if self.closed and not self._connected:  # an app is told of a connection before it is told of its end
            self._connected = True
            return {"type": "websocket.connect"}
        try:
            message = await self._while_open(self._receive)
        except _ClosedError as closed:
            return {"type": "websocket.disconnect", "code": SESSION_ENDED, "reason": str(closed)}
        self._connected = True
        if message["type"] == "websocket.disconnect":
            self.release()
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on. Raises OSError once the guard has closed the socket; to accept or close it is passed over then."""
        if self.closed and message["type"] in {"websocket.accept", "websocket.close"}:
            return
        self._answered = True
        if message["type"] == "websocket.close":
            self.release()
        await self._while_open(lambda: self._send(message))

    async def _while_open(self, doing: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `doing` gives. Raises _ClosedError as soon as the guard closes the socket, whatever `doing` waits for."""
        if self.closed:
            raise _ClosedError(self._reason)
        wait = asyncio.timeout(None)
        self._waits.add(wait)
        try:
            async with wait:
                answer = await doing()
        except TimeoutError:
            if wait.expired():
                raise _ClosedError(self._reason) from None
            raise
        finally:
            self._waits.discard(wait)
        if self.closed:
            raise _ClosedError(self._reason)
        return answer

    @property
    def _reason(self) -> str:
        return (self.handle and self.handle.reason) or ""

    async def _end(self, code: int, reason: str) -> None:
        """Called by the guard: wake the app, and close."""
        now = asyncio.get_running_loop().time()
        for wait in tuple(self._waits):
            wait.reschedule(now)
        try:
            async with asyncio.timeout(GOODBYE):
                await self._goodbye(code, reason)
        except (OSError, RuntimeError):
            pass  # the page has left already, or reads nothing, or the app had closed the socket itself
        finally:
            self._told.set()

    async def _goodbye(self, code: int, reason: str, refusal: TokenError | None = None) -> None:
        """Close an open socket; refuse a handshake in words where the server can pass them on (it says 403 by itself)."""
        if self._answered or "websocket.http.response" not in (self._scope.get("extensions") or {}):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
            return
        answer = refusal or _EndedError(reason)
        body = json.dumps(answer.body).encode()
        named = {**answer.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]
        await self._send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": body})
