"""HTTP/1.1 exchanges over one connection of an event loop, with bounded bytes. Whoever asks sets the deadline.

httptools (llhttp) parses. No redirect is followed and nothing is decompressed: each of them is a way to make a small
answer large or a short exchange long.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

__all__ = ["Connection", "HttpParserError", "HttpReply", "in_words"]

#: For status line and headers together, the interim (1xx) answers before them included.
HEADER_LIMIT = 32 * 1024
_FINAL = 200


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a server answered. Header names are in lower case, repeated headers joined by a comma (RFC 9110 §5.2).

    `cut_short` says why the body is not whole; it is empty when it is.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut_short: str = ""


class TooMuchError(OSError):
    """The other side sent more than is read from it."""


class ClosedError(OSError):
    """The other side closed the connection before its answer was whole."""


class Connection(asyncio.Protocol):
    """Sends a request and reads its answer, of whose body `max_bytes` are kept; then perhaps another one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._finished: asyncio.Future[None] | None = None
        #: Whether another request may follow: the answer was whole, with nothing after it, and the server keeps open.
        self.reusable = False
        #: Whether anything was read for the latest request.
        self.answering = False
        self._begin()

    async def exchange(self, request: bytes, deadline: float) -> HttpReply:
        """Send a request and read its answer, until the loop's time is `deadline`.

        Raises OSError or HttpParserError when no status came. What goes wrong after that is `HttpReply.cut_short`.
        """
        self._begin()
        if self._transport is None or self._transport.is_closing():
            raise ClosedError
        loop = asyncio.get_running_loop()
        self._finished = loop.create_future()
        self._transport.write(request)
        cut_short = ""
        alarm = loop.call_at(deadline, self._end, TimeoutError())
        try:
            await self._finished
        except (OSError, HttpParserError) as error:
            if not self._status:
                raise
            cut_short = in_words(error)
        finally:
            alarm.cancel()
            self._finished = None
        self.reusable = self.reusable and not cut_short
        return HttpReply(self._status, self._headers, bytes(self._body[: self._max_bytes]), cut_short)

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._status = 0
        self._read = 0
        self._whole = self.reusable = self.answering = False

    def _end(self, error: Exception | None = None) -> None:
        if self._finished is not None and not self._finished.done():
            if error is None:
                self._finished.set_result(None)
            else:
                self._finished.set_exception(error)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """There is none any more. RFC 9112 §6.3: a body of no stated length ends with the connection."""
        stated = "content-length" in self._headers or "transfer-encoding" in self._headers
        ends_here = exc is None and self._status and not stated
        self._end(None if ends_here else exc or ClosedError())
        self.reusable = False
        self._transport = None
        del self._parser  # it holds this object, as this object holds it

    def data_received(self, data: bytes) -> None:
        """A part of an answer, or something that nobody asked for."""
        if self._finished is None or self._finished.done():
            self.reusable = False
            self.close()
            return
        self.answering = True
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._end(HttpParserError("it switches to another protocol"))
        except HttpParserError as error:
            self._end(error)
        else:
            limit = 2 * (HEADER_LIMIT + self._max_bytes) if self._status else HEADER_LIMIT
            if len(self._body) > self._max_bytes or (self._read > limit and not self._whole):
                self.reusable = False
                self._end(TooMuchError())  # chunk sizes and trailers count too
            elif self._whole:
                self._end()

    # What the parser calls, in this order. A message with a status below 200 is interim, and passed over.

    def on_message_begin(self) -> None:
        """Something begins."""
        if self._whole:
            self.reusable = False  # nobody asked for it
        else:
            self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or trailer."""
        if not self._whole:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The status is known."""
        status = self._parser.get_status_code()
        if status >= _FINAL and not self._whole:
            self._status = status

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if not self._whole and len(self._body) <= self._max_bytes:
            self._body += data

    def on_message_complete(self) -> None:
        """The message is whole."""
        if self._status and not self._whole:
            self._whole, self.reusable = True, self._parser.should_keep_alive()


def in_words(error: OSError | HttpParserError) -> str:
    """Why an exchange failed, in our own words: none of the other side's bytes may reach a log or a terminal."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case TooMuchError():
            return "the answer is too large"
        case ClosedError():
            return "the connection was closed before the answer was whole"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted ({error.verify_message})"
        case ssl.SSLError():
            return f"TLS failed ({error.reason or 'the connection was closed'})"
        case socket.gaierror():
            return "its name cannot be resolved"
        case OSError():
            return (error.strerror or "the connection failed").lower()
    return "the answer is not HTTP/1.1"
