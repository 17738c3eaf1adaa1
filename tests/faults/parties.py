"""Relying parties that are down when they are told, and come up later."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


class LateReceiver:
    """A back-channel logout endpoint whose port is reserved: it refuses connections, then may hang, then answers 200."""

    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._arrived = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._hanging: list[socket.socket] = []
        self._taken = threading.Event()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, nobody gets through
        self.uri = f"http://127.0.0.1:{self._socket.getsockname()[1]}/backchannel"

    def hang(self) -> None:
        """Take connections from now on, and answer none."""
        self._socket.listen()
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        connection, _ = self._socket.accept()
        self._hanging.append(connection)
        if connection.recv(65536):
            self._taken.set()

    def wait_until_asked(self, seconds: float = 15) -> None:
        """Wait until a request hangs here: somebody attempts a delivery at this very moment."""
        assert self._taken.wait(seconds), "nobody attempted a delivery"

    def open(self) -> None:
        """Come up: whoever still hangs is dropped, and from now on every request is answered."""
        self._drop()
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(), bind_and_activate=False)
        server.socket.close()
        server.socket = self._socket
        server.daemon_threads = True
        server.server_activate()
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def tokens(self) -> list[str]:
        """The logout tokens that came."""
        with self._arrived:
            return list(self._tokens)

    def wait(self, seconds: float = 30) -> str:
        """The first logout token, once it has come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._tokens, seconds), f"no logout token came within {seconds} s"
            return self._tokens[0]

    def close(self) -> None:
        self._drop()
        if self._server is not None:
            self._server.shutdown()
        self._socket.close()

    def _drop(self) -> None:
        for connection in self._hanging:
            connection.close()
        self._hanging.clear()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                with receiver._arrived:
                    receiver._tokens.extend(body["logout_token"])
                    receiver._arrived.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        return Handler
