"""Real local HTTP servers that stand for relying parties, and waiting for what must come true."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 20.0


def eventually(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until `condition` holds; it is an error when it does not within PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came true"
        time.sleep(0.002)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Request:
    target: str
    headers: Mapping[str, str]
    body: bytes
    at: float


class Receiver:
    """A relying party. `reply` says what the n-th request (from 0) is answered with; `hold()` makes requests hang."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections: set[object] = set()
        self.keeps_open = True
        self.reply: Callable[[int], Reply] = lambda _n: Reply()
        self._guard = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, target: str = "/logout") -> str:
        return f"http://127.0.0.1:{self.port}{target}"

    def answers(self, *statuses: int) -> None:
        """Answer with these, one after the other, and with the last one from then on."""
        self.reply = lambda n: Reply(statuses[min(n, len(statuses) - 1)])

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    @property
    def bodies(self) -> list[bytes]:
        with self._guard:
            return [request.body for request in self.requests]

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._guard:
                    number = len(receiver.requests)
                    receiver.connections.add(self.client_address)
                    receiver.requests.append(Request(self.path, dict(self.headers), body, time.time()))
                receiver._open.wait(PATIENCE)
                reply = receiver.reply(number)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("Content-Length", str(len(reply.body)))
                if not receiver.keeps_open:
                    self.close_connection = True  # and says nothing of it
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_args: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    pass

        return Handler


@contextmanager
def receiving() -> Iterator[Callable[[], Receiver]]:
    """Makes receivers, and closes them at the end."""
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver())
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.release()
        for one in made:
            one.close()
