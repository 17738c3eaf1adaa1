"""The one guarded client for everything that this provider fetches or posts (OWASP SSRF prevention; THREATS 39-41).

A URL comes from whoever registered a client, so it may point at our own network, change its address between check
and connect, hang, drip, or never end. Hence: https, no redirects, no proxies from the environment, no cookies; each
address that the name has is checked, and a checked address is what the socket connects to; one deadline for name,
connection, TLS, headers and body together.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import certifi
import h11

from idp import __version__
from idp.config import Network
from idp.protocol.uris import is_wellformed
from idp.runtime import addresses, wire
from idp.runtime.wire import Answer, Deadline

__all__ = ["Answer", "Outbound", "OutboundError", "RefusedError", "Resolver", "UnreachableError"]

MAX_BYTES = 65_536
#: Name lookups that may hang at once. The system's resolver knows no deadline: a lookup that we stop waiting for lives on.
_MAX_LOOKUPS = 64

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]


class OutboundError(Exception):
    """No answer. Its text is one sentence for operators, without the URL's path or query."""


class RefusedError(OutboundError):
    """Our own policy forbids the request: the same request will be refused again."""


class UnreachableError(OutboundError):
    """The other side failed (name, connection, TLS, time, HTTP): another time it may not."""


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of `host` as the system resolves them, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class _Target:
    scheme: str
    host: str
    port: int
    authority: str
    path: str


class Outbound:
    """Posts and gets. `allow` and `allow_loopback` say what may be reached besides public addresses, also by http.

    `timeout` is in seconds, for a whole exchange. Raises OSError at construction when `ca_file` cannot be read.
    """

    def __init__(
        self,
        *,
        allow: tuple[Network, ...] = (),
        allow_loopback: bool = False,
        ca_file: Path | None = None,
        timeout: float = 5,
        max_bytes: int = MAX_BYTES,
        resolver: Resolver = system_resolver,
    ) -> None:
        self.timeout = timeout
        self._allow = allow
        self._allow_loopback = allow_loopback
        self._max_bytes = max_bytes
        self._resolver = resolver
        self._tls = ssl.create_default_context(cafile=ca_file or certifi.where())
        self._tls.set_alpn_protocols(["http/1.1"])
        self._lookups = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def post(self, url: str, *, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Post `body`. The status is the answer: a body that comes too late or is too long is cut, never an error."""
        return self._send("POST", url, body, {"Content-Type": content_type, **(headers or {})})

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Get `url`. Here the body is what is wanted: one that is not whole raises UnreachableError."""
        answer = self._send("GET", url, b"", headers or {})
        if answer.cut_short:
            message = f"{urlsplit(url).hostname}: {answer.cut_short}"
            raise UnreachableError(message)
        return answer

    def _send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        target = _target(url)
        deadline = Deadline(self.timeout)
        request = h11.Request(method=method, target=target.path, headers=_headers(target, body, method, headers))
        try:
            with self._connect(target, deadline) as sock:
                return wire.exchange(sock, deadline, request, body, self._max_bytes)
        except (OSError, h11.RemoteProtocolError) as error:
            message = f"{target.host}: {wire.in_words(error)}"
            raise UnreachableError(message) from error

    def _connect(self, target: _Target, deadline: Deadline) -> socket.socket:
        """A connection to the first checked address that takes one. Each gets its share of the time that is left."""
        checked = self._checked(target, deadline)
        for index, address in enumerate(checked):
            share = deadline.left() / (len(checked) - index)
            try:
                sock = socket.create_connection((address, target.port), timeout=share)
                break
            except OSError:
                if index == len(checked) - 1:
                    raise
        # Request and body leave at once; Nagle would hold a second small packet for the peer's delayed ACK (40 ms).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.scheme == "http":
            return sock
        try:
            sock.settimeout(deadline.left())  # for a handshake, OpenSSL's time-out is a deadline already
            return self._tls.wrap_socket(sock, server_hostname=target.host)
        except BaseException:
            sock.close()
            raise

    def _checked(self, target: _Target, deadline: Deadline) -> list[str]:
        """Every address of the target. One that is forbidden refuses all: a name that mixes them is set up to attack."""
        try:
            fixed = addresses.literal(target.host)
        except ValueError as error:
            raise _refused(target, str(error)) from None
        found = [str(fixed)] if fixed is not None else self._look_up(target, deadline)
        for text in found:
            address = ip_address(text)
            if addresses.is_exempt(address, self._allow, allow_loopback=self._allow_loopback):
                continue
            kind = addresses.kind_of(address)
            if kind is not None:
                raise _refused(target, f"{text} is {kind}, and IDP_OUTBOUND_ALLOW does not name its network")
            if target.scheme != "https":
                raise _refused(target, "plain http is for allowed networks only")
        return found

    def _look_up(self, target: _Target, deadline: Deadline) -> list[str]:
        """Resolve in a thread of its own, so that a name server that hangs holds nobody longer than the deadline."""
        found: list[str] = []
        failed: list[Exception] = []

        def look_up() -> None:
            try:
                found.extend(self._resolver(target.host, target.port))
            except (OSError, UnicodeError) as error:
                failed.append(error)
            finally:
                self._lookups.release()

        if not self._lookups.acquire(timeout=deadline.left()):
            raise TimeoutError
        thread = threading.Thread(target=look_up, name="idp-lookup", daemon=True)
        thread.start()
        thread.join(deadline.left())
        if thread.is_alive():
            raise TimeoutError
        if failed or not found:
            raise socket.gaierror
        return found


def _refused(target: _Target, reason: str) -> RefusedError:
    return RefusedError(f"{target.host} is not contacted: {reason}")


def _target(url: str) -> _Target:
    """The parts of `url`, with path and query to the letter: relying parties tell their endpoints apart by them."""
    if not is_wellformed(url) or "#" in url:
        message = "The URL is not contacted: it is not an absolute URL in RFC 3986 characters, without user or fragment"
        raise RefusedError(message)
    parts = urlsplit(url)
    bracketed = parts.netloc.startswith("[")
    if parts.scheme not in {"https", "http"} or not parts.hostname or bracketed != (":" in parts.hostname):
        message = "The URL is not contacted: it is not an https URL with a host"
        raise RefusedError(message)
    rest = url[len(parts.scheme) + len("://") + len(parts.netloc) :]
    path = rest if rest.startswith("/") else f"/{rest}"
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    return _Target(parts.scheme, parts.hostname, port, parts.netloc, path)


def _headers(target: _Target, body: bytes, method: str, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    length = {"Content-Length": str(len(body))} if method == "POST" else {}
    ours = {
        "Host": target.authority,
        "User-Agent": f"idp/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
    }
    return list({**ours, **headers, **length, "Connection": "close"}.items())
