"""An app that is pushed to: a verifier's endpoint over real HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from idp.verifier import Verifier


@contextmanager
def pushed_to(make: Callable[[str], Verifier]) -> Iterator[Verifier]:
    """The verifier that `make` makes of the endpoint's address."""

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            reply = verifier.receive(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    verifier = make(f"http://localhost:{server.server_address[1]}/events")
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield verifier
    finally:
        server.shutdown()
        server.server_close()
