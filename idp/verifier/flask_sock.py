"""The socket guard for Flask-Sock, and for whatever else serves its websockets by simple-websocket.

@sock.route("/live")
def live(socket):
    with guarded(guard, socket, claims) as handle:
        ...  # serve it; a refresh is handle.extend(newer_claims)

A token that `verify` refuses is answered by `refuse`: what a handler raises becomes an HTTP answer on top of the socket.
"""

import selectors
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR

from simple_websocket import ConnectionClosed, Server
from wsproto.utilities import LocalProtocolError

from idp.verifier.guard import SESSION_ENDED, Guard
from idp.verifier.holding import AnyClaims, Handle

#: Seconds that a page has to answer a close frame.
GOODBYE = 1.0
LONGEST_REASON = 123


@contextmanager
def guarded(guard: Guard, socket: Server, who: AnyClaims | str, expires: float | None = None) -> Iterator[Handle]:
    """Keep a socket while its handler runs (see `Guard.bind`).

    When it is closed, `receive` and `send` raise ConnectionClosed, as they do when a page leaves; so does this at once
    where the session has ended already. Flask-Sock catches it.
    """
    told = threading.Event()

    def close(code: int, reason: str) -> None:
        try:
            _end(socket, code, reason)
        finally:
            told.set()

    handle = guard.bind(who, expires, close)
    try:
        if not handle.closed:
            yield handle
    except OSError:
        if not handle.closed:
            raise
    finally:
        handle.release()
        if handle.closed:
            told.wait(GOODBYE)
            _hang_up(socket)
    if handle.closed:
        raise ConnectionClosed(SESSION_ENDED, handle.reason)


def refuse(socket: Server, reason: str) -> None:
    """Close a socket that is not to be served, its token being refused: with the code 4401, and its connection with it.

    `reason` is for the developer, as `error.description`; of one that is too long the beginning is sent (RFC 6455 §5.5).
    """
    _end(socket, SESSION_ENDED, reason.encode()[:LONGEST_REASON].decode(errors="ignore"))
    _hang_up(socket)


def _end(socket: Server, code: int, reason: str | None) -> None:
    """Close without ever waiting: one that reads nothing is not told."""
    with suppress(ConnectionClosed, LocalProtocolError):  # the page, or the handler, was first
        if _takes_more(socket):
            socket.close(code, reason)
        elif socket.connected:
            socket.connected = False
            _cut(socket)
    socket.input_buffer.clear()  # what came and was not read is not read any more
    socket.event.set()  # close() leaves a handler waiting until the page answers


def _hang_up(socket: Server) -> None:
    """Let the page answer the close frame, and end the connection. Otherwise an HTTP answer would follow on the frame."""
    socket.thread.join(GOODBYE)
    _cut(socket)


def _cut(socket: Server) -> None:
    with suppress(OSError):
        socket.sock.shutdown(SHUT_RDWR)


def _takes_more(socket: Server) -> bool:
    """Whether a close frame fits into what the system buffers for this socket."""
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(socket.sock, selectors.EVENT_WRITE)
        except (OSError, ValueError):  # it is closed
            return True
        return bool(selector.select(0))
