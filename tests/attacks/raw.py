"""HTTP by hand: what is sent is sent to the letter, so that no client library tidies an attack up."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

from tests.support.serving import RunningProvider

Headers = Sequence[tuple[str | bytes, str | bytes]]


@dataclass(frozen=True)
class Answer:
    """An answer as it came. `status` is 0 when the connection was closed without one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    def __contains__(self, needle: str) -> bool:
        """Whether it stands anywhere in the answer."""
        return any(needle in value for _, value in self.headers) or needle.encode() in self.body


def octets(value: str | bytes) -> bytes:
    """Text as the bytes that a header or target is made of."""
    return value if isinstance(value, bytes) else value.encode("latin-1")


def connect(provider: RunningProvider, timeout: float = 10) -> socket.socket:
    """A connection to the provider."""
    return socket.create_connection(("127.0.0.1", provider.port), timeout)


def exchange(sock: socket.socket, method: str, data: bytes) -> Answer:
    """Send bytes and read one answer."""
    try:
        sock.sendall(data)
        response = HTTPResponse(sock, method=method)
        response.begin()
        return Answer(response.status, tuple(response.getheaders()), response.read())
    except (HTTPException, ConnectionError):
        return Answer(0)


def message(method: str | bytes, target: str | bytes, headers: Headers, body: bytes) -> bytes:
    """A request as bytes. `Host` and `Content-Length` are added when they are missing."""
    given = [(octets(name), octets(value)) for name, value in headers]
    names = {name.lower() for name, _ in given}
    if b"host" not in names:
        given.insert(0, (b"Host", b"localhost"))
    if body and not names & {b"content-length", b"transfer-encoding"}:
        given.append((b"Content-Length", str(len(body)).encode()))
    given.append((b"Connection", b"close"))
    lines = [octets(method) + b" " + octets(target) + b" HTTP/1.1", *(name + b": " + value for name, value in given)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def send(
    provider: RunningProvider, method: str, target: str | bytes, headers: Headers = (), body: bytes = b"", timeout: float = 10
) -> Answer:
    """One request on a connection of its own."""
    with connect(provider, timeout) as sock:
        return exchange(sock, method, message(method, target, headers, body))
