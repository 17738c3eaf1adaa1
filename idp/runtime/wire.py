"""One HTTP/1.1 exchange over one socket: one deadline for all of it, and bounded bytes.

h11 parses. No redirect is followed, nothing is decompressed, no connection is kept: each of them is a way to make a
small answer large or a short exchange long.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import h11

#: For status line and headers together, the interim (1xx) answers before them included.
HEADER_LIMIT = 32 * 1024
_READ = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Header names are in lower case, repeated headers joined by a comma (RFC 9110 §5.2).

    `cut_short` says why the body is not whole; it is empty when it is.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut_short: str = ""


class TooMuchError(OSError):
    """The other side sent more than is read from it."""


class Deadline:
    """The moment at which an exchange is over, whatever it is doing: a time-out per read lets a server drip for ever."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds left; raises TimeoutError when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def exchange(sock: socket.socket, deadline: Deadline, request: h11.Request, body: bytes, max_bytes: int) -> Answer:
    """Send a request and read its answer, of whose body `max_bytes` are kept.

    Raises OSError or `h11.RemoteProtocolError` when no status came. What goes wrong after that is `Answer.cut_short`.
    """
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_LIMIT)
    parts = [parser.send(event) for event in (request, h11.Data(data=body), h11.EndOfMessage())]
    _send(sock, deadline, b"".join(part for part in parts if part))
    reader = _Reader(sock, deadline, parser)
    response = reader.response()
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    content, cut_short = reader.body(max_bytes)
    return Answer(response.status_code, headers, content, cut_short)


def in_words(error: OSError | h11.RemoteProtocolError) -> str:
    """Why an exchange failed, in our own words: none of the other side's bytes may reach a log or a terminal."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case TooMuchError():
            return "the answer is too large"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted ({error.verify_message})"
        case ssl.SSLError():
            return f"TLS failed ({error.reason or 'the connection was closed'})"
        case socket.gaierror():
            return "its name cannot be resolved"
        case OSError():
            return (error.strerror or "the connection failed").lower()
    return "the answer is not HTTP/1.1"


def _send(sock: socket.socket, deadline: Deadline, data: bytes) -> None:
    """`sendall` of a TLS socket starts its time-out anew with each record; this one does not."""
    view = memoryview(data)
    while view:
        sock.settimeout(deadline.left())
        view = view[sock.send(view) :]


class _Reader:
    def __init__(self, sock: socket.socket, deadline: Deadline, parser: h11.Connection) -> None:
        self._sock = sock
        self._deadline = deadline
        self._parser = parser
        self._budget = HEADER_LIMIT

    def response(self) -> h11.Response:
        """The final status and its headers; interim answers are passed over."""
        while not isinstance(event := self._event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                message = "no answer to the request"
                raise h11.RemoteProtocolError(message)
        return event

    def body(self, max_bytes: int) -> tuple[bytes, str]:
        """The body's first `max_bytes`, and why there is no more of it."""
        self._budget = max_bytes + HEADER_LIMIT  # chunk sizes and trailers count too
        content = b""
        try:
            while isinstance(event := self._event(), h11.Data):
                content += event.data
                if len(content) > max_bytes:
                    raise TooMuchError
        except (OSError, h11.RemoteProtocolError) as error:
            return content[:max_bytes], in_words(error)
        return content, ""

    def _event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            if self._budget <= 0:
                raise TooMuchError
            self._sock.settimeout(self._deadline.left())
            data = self._sock.recv(min(_READ, self._budget))
            self._budget -= len(data)
            self._parser.receive_data(data)
        return event  # type: ignore[return-value]
