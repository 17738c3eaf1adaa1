"""A receiver of pushes (RFC 8935): what came, in order, and what it answers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.signals.follower import unverified


@dataclass
class Pushed:
    """One request."""

    path: str
    headers: dict[str, str]
    body: str
    status: int

    @property
    def claims(self) -> dict:
        return unverified(self.body)

    @property
    def state(self) -> str | None:
        """The state of a verification."""
        ((_, payload),) = self.claims["events"].items()
        return payload.get("state")


@dataclass
class PushReceiver:
    """`answer` decides by the number of the request (from 1) and its body; with a 400 comes the `refusal`."""

    answer: Callable[[int, str], int] = lambda _number, _body: 202
    refusal: bytes = b'{"err": "invalid_request", "description": "a test"}'
    came: list[Pushed] = field(default_factory=list)
    port: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def open(self) -> "PushReceiver":
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with receiver.arrived:
                    status = receiver.answer(len(receiver.came) + 1, body)
                    receiver.came.append(Pushed(self.path, dict(self.headers), body, status))
                    receiver.arrived.notify_all()
                refusal = receiver.refusal if status == 400 else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(refusal)))
                self.end_headers()
                self.wfile.write(refusal)

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/events?to=me"

    def taken(self) -> list[str]:
        """The states of the verifications that were taken, in order."""
        return [str(one.state) for one in self.came if one.status < 300 and one.state is not None]

    def wait(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        with self.arrived:
            assert self.arrived.wait_for(condition, seconds), [(one.claims["sub_id"], one.status) for one in self.came[-5:]]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
