"""Who may read `/metrics`, and the address of its own at which it may be served.

On the address that everybody reaches, the address of whoever asks is poor evidence: behind a proxy on the same machine
that passes on nothing of it, all the world comes from 127.0.0.1. So under https it counts only where the operator named
networks, and never where it is a proxy's.
"""

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from idp.config import OperatorError, Settings
from idp.runtime.inbound.forwarding import Proxies, Sender
from idp.runtime.inbound.listening import Place
from idp.runtime.supervision import SLACK, Supervised
from idp.runtime.web.headers import NO_STORE, STRICT
from idp.setting_types import Network

PATH = "/metrics"


@dataclass(frozen=True, slots=True)
class Scrapes:
    """Who may read them. `is_public`: the address that everybody reaches is that of an https issuer.

    `is_elsewhere`: they have an address of their own, and are not served at the public one.
    """

    allow: tuple[Network, ...]
    token: str
    proxies: Proxies
    is_public: bool
    is_elsewhere: bool

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the operator decided. Under https the default networks are nobody's: a proxy stands in front there."""
        is_decided = not settings.secure or "metrics_allow" in settings.model_fields_set
        return cls(
            settings.metrics_allow if is_decided else (),
            settings.metrics_token.get_secret_value(),
            Proxies(settings.trusted_proxies),
            settings.secure,
            bool(settings.metrics_bind),
        )

    def knows(self, authorization: str) -> bool:
        """Whether the bearer token that was set is presented (RFC 6750 §2.1)."""
        scheme, _, given = authorization.partition(" ")
        return (
            bool(self.token) and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())
        )

    def admits(self, sender: Sender) -> bool:
        """Whether the address alone lets somebody in. Whoever comes through a proxy that nobody named has the proxy's."""
        is_disguised = sender.problem is not None and (self.is_public or not self.proxies.trusted)
        if is_disguised or (self.is_public and self.proxies.trusts(sender.address)):
            return False
        try:
            address = ip_address(sender.address)
        except ValueError:
            return False
        return any(address in network for network in self.allow)


def figures(folder: str | None) -> bytes:
    """Every worker process's figures together, where `idp serve` runs several and they write into `folder`."""
    if folder is None:
        return generate_latest(REGISTRY)
    forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_the_dead(folder: Path) -> None:
    """Delete the gauges of worker processes that are gone: a follower or a queue of theirs would be counted for ever."""
    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        if pid.isdecimal() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Server(ThreadingHTTPServer):
    """Leaves nothing behind that keeps a process from ending. `beat` is called whenever it goes round."""

    daemon_threads = True

    def __init__(self, place: Place, handler: type[BaseHTTPRequestHandler], beat: Callable[[], None]) -> None:
        self.address_family = place.family
        self._beat = beat
        super().__init__((place.host, place.port), handler)

    def service_actions(self) -> None:
        """It goes round."""
        self._beat()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever left in the middle of an answer is nobody's failure."""


class Listener:
    """`/metrics` at an address of its own, in threads beside what the process does."""

    def __init__(self, bind: str, token: str, folder: str | None) -> None:
        """Listen. Raises OperatorError where somebody else does."""
        place = Place("IDP_METRICS_BIND", bind)
        place.see_that_it_is_free()
        scrapes = Scrapes((), token, Proxies(), is_public=False, is_elsewhere=True)

        class Handler(BaseHTTPRequestHandler):
            """Answers one scrape."""

            timeout = 10
            server_version, sys_version = "idp", ""

            def do_GET(self) -> None:
                if self.path.partition("?")[0] != PATH:
                    self._answer(HTTPStatus.NOT_FOUND)
                elif token and not scrapes.knows(self.headers.get("Authorization", "")):
                    self._answer(HTTPStatus.UNAUTHORIZED)
                else:
                    self._answer(HTTPStatus.OK, figures(folder))

            def _answer(self, status: HTTPStatus, content: bytes = b"") -> None:
                self.send_response(status)
                headers = {**STRICT, **NO_STORE, "Content-Type": CONTENT_TYPE_LATEST, "Content-Length": str(len(content))}
                if status is HTTPStatus.UNAUTHORIZED:
                    headers["WWW-Authenticate"] = "Bearer"
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                """There is no access log."""

        self._thread = Supervised("idp-metrics", self._serve, SLACK)
        try:
            self._server = _Server(place, Handler, self._thread.beat)
        except OSError as error:
            message = f"IDP_METRICS_BIND {bind} cannot be listened on ({error.strerror}): set another."
            raise OperatorError(message) from None

    def _serve(self) -> None:
        self._server.serve_forever()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.stop()
        self._server.shutdown()
        self._server.server_close()
