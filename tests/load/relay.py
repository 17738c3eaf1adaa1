"""What stands in front of the instances when the JWKS is fetched: each fetch is answered by the next of them."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support import http
from tests.support.serving import RunningProvider


@contextmanager
def relay(instances: list[RunningProvider]) -> Iterator[str]:
    """The address of the JWKS."""
    turn = itertools.cycle(instances)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = http.get(f"{next(turn).origin}/jwks")
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Content-Length", "Cache-Control", "ETag"):
                self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/jwks"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
