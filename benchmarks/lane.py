"""One keep-alive HTTP/1.1 connection of the load generator, as lean as Python allows: it shares the cores with the server."""

import socket
from dataclasses import dataclass

TIMEOUT = 30
_READ = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


class BrokenAnswerError(Exception):
    """The server closed the connection or answered in a way that this client does not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes


def request(method: str, path: str, port: int, headers: dict[str, str] | None = None, body: str = "") -> bytes:
    """A request as it goes over the wire; `body` is a form unless `headers` say otherwise."""
    fields = {"Host": f"localhost:{port}"}
    if method == "POST":
        fields |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    fields |= headers or {}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", body]
    return "\r\n".join(lines).encode("ascii")


class Lane:
    """A connection on which one request is under way at a time."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def fileno(self) -> int:
        """For a selector."""
        return self._sock.fileno()

    def send(self, encoded: bytes) -> None:
        """Begin an exchange."""
        self._received = b""
        self._sock.sendall(encoded)

    def receive(self) -> Answer | None:
        """Read what has come: the answer once it is whole. Raises BrokenAnswerError and OSError."""
        data = self._sock.recv(_READ)
        if not data:
            message = "the server closed the connection"
            raise BrokenAnswerError(message)
        self._received += data
        head, found, body = self._received.partition(_END_OF_HEAD)
        if not found:
            return None
        _, named, rest = head.lower().partition(_LENGTH)
        if not named:
            message = f"an answer without Content-Length: {head[:200]!r}"
            raise BrokenAnswerError(message)
        if len(body) < int(rest.partition(b"\r\n")[0]):
            return None
        return Answer(int(head[9:12]), body)

    def exchange(self, encoded: bytes) -> Answer:
        """One request and its answer."""
        self.send(encoded)
        while (answer := self.receive()) is None:
            pass
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()
