"""An app whose callback does not stay at its own origin: sign-in brokers and mobile apps redirect on."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


class RedirectingApp:
    """What comes to `/callback` or `/bye` is sent on: to another origin, or to a native app. `asked` is what came."""

    def __init__(self, *, natively: bool) -> None:
        self.asked: list[str] = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                app.asked.append(self.path)
                self._answer()

            def do_POST(self) -> None:
                app.asked.append(f"{self.path}?{self.rfile.read(int(self.headers['Content-Length'])).decode()}")
                self._answer()

            def _answer(self) -> None:
                if self.path.startswith(("/callback", "/bye")):
                    self.send_response(303)
                    self.send_header("Location", app.onward)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content = b"<main id=landed>landed</main>"
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.origin = f"http://localhost:{port}"
        #: Another origin than the app's, though the same server; or the scheme of a native app.
        self.onward = "com.example.landed://in" if natively else f"http://127.0.0.1:{port}/landed"

    def register(self, provider: RunningProvider, **more: object) -> RelyingParty:
        uris = {"redirect_uris": [f"{self.origin}/callback"], "post_logout_redirect_uris": [f"{self.origin}/bye"]}
        return RelyingParty.register(provider, **(uris | more))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
