"""The one guarded client for everything that this provider fetches or posts (OWASP SSRF prevention; docs/threats.md 39-41).

A URL comes from whoever registered a client, so it may point at our own network, change its address between check
and connect, hang, drip, or never end. Hence: https, no redirects, no proxies from the environment, no cookies; each
address that the name has is checked, and a checked address is what the socket connects to; one deadline for name,
connection, TLS, headers and body together. Other requests of the process go on meanwhile.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import certifi

from idp import __version__
from idp.protocol.uris import is_wellformed
from idp.runtime.inbound.threads import release_thread
from idp.runtime.outbound import addresses, http1
from idp.runtime.outbound.http1 import Connection, HttpParserError, HttpReply
from idp.runtime.outbound.resolver import Lookups, NoRoomError, Resolver, system_resolver
from idp.setting_types import Network

__all__ = [
    "HttpReply",
    "Line",
    "Outbound",
    "OutboundBusyError",
    "OutboundError",
    "OutboundRefusedError",
    "Resolver",
    "UnreachableError",
]

MAX_BYTES = 65_536


class OutboundError(Exception):
    """No answer. Its text is one sentence for operators, without the URL's path or query."""


class OutboundRefusedError(OutboundError):
    """Our own policy forbids the request: the same request will be refused again."""


class UnreachableError(OutboundError):
    """The other side failed (name, connection, TLS, time, HTTP): another time it may not."""


class OutboundBusyError(OutboundError):
    """There was no room here for the request: nothing was sent, and nothing says anything of the other side."""


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
        self.max_bytes = max_bytes
        # Half of the time is for the look-up itself.
        self._lookups = Lookups(resolver, timeout / 2)
        self._tls = ssl.create_default_context(cafile=ca_file or certifi.where())
        self._tls.set_alpn_protocols(["http/1.1"])

    def post(self, url: str, *, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> HttpReply:
        """Post `body`. The status is the answer: a body that comes too late or is too long is cut, never an error."""
        return self._send("POST", url, body, {"Content-Type": content_type, **(headers or {})})

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> HttpReply:
        """Get `url`. Here the body is what is wanted: one that is not whole raises UnreachableError."""
        answer = self._send("GET", url, b"", headers or {})
        if answer.cut_short:
            message = f"{urlsplit(url).hostname}: {answer.cut_short}"
            raise UnreachableError(message)
        return answer

    def refusal(self, url: str) -> str | None:
        """Why `url` will not be contacted as its name resolves now, as a sentence; None when it will, or does not resolve."""
        try:
            with release_thread():
                asyncio.run(self._look(url))
        except OutboundRefusedError as error:
            return str(error)
        except (OSError, OutboundBusyError):
            return None
        return None

    def obstacle(self, url: str) -> str | None:
        """As `refusal`, and also why its name cannot be looked up now. Raises OutboundBusyError for want of room here."""
        try:
            with release_thread():
                asyncio.run(self._look(url))
        except OutboundBusyError:
            raise
        except (OutboundError, OSError) as error:
            return str(error) or f"its name cannot be looked up ({type(error).__name__})"
        return None

    async def _look(self, url: str) -> None:
        async with asyncio.timeout(self.timeout):
            await self._checked(_target(url))

    def line(self) -> "Line":
        """For several requests to the same place, one after another, in an event loop."""
        return Line(self)

    def _send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> HttpReply:
        with release_thread():
            return asyncio.run(self._once(method, url, body, {**headers, "Connection": "close"}))

    async def _once(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> HttpReply:
        async with self.line() as line:
            return await line.send(method, url, body, headers)

    async def connect(self, target: "_Target", deadline: float) -> Connection:
        """A connection to the first checked address that takes one. Each gets its share of the time that is left."""
        loop = asyncio.get_running_loop()
        checked = await self._checked(target)
        for index, address in enumerate(checked):
            share = (deadline - loop.time()) / (len(checked) - index)
            try:
                async with asyncio.timeout(share):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self.max_bytes),
                        address,
                        target.port,
                        ssl=self._tls if target.scheme == "https" else None,
                        server_hostname=target.host if target.scheme == "https" else None,
                    )
            except ssl.SSLError:
                raise
            except OSError:
                if index == len(checked) - 1:
                    raise
            else:
                return connection
        raise socket.gaierror

    async def _checked(self, target: "_Target") -> list[str]:
        """Every address of the target. One that is forbidden refuses all: a name that mixes them is set up to attack."""
        try:
            fixed = addresses.literal(target.host)
        except ValueError as error:
            raise _refused(target, str(error)) from None
        found = [str(fixed)] if fixed is not None else await self._look_up(target)
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

    async def _look_up(self, target: "_Target") -> list[str]:
        try:
            return await self._lookups.addresses(target.host, target.port)
        except NoRoomError:
            message = f"{target.host} is not contacted now: too many names are being looked up"
            raise OutboundBusyError(message) from None


class Line:
    """Requests one after another, on one connection while they go to the same place and the other side keeps it open.

    Each has the time-out and the checks of a request of its own. A context manager that closes the connection.
    """

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._connection: Connection | None = None
        self._place: tuple[str, str, int] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._close()
            await asyncio.sleep(0)  # the loop closes sockets in its next round, which may be its last

    async def post(self, url: str, *, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> HttpReply:
        """As `Outbound.post`."""
        return await self.send("POST", url, body, {"Content-Type": content_type, **(headers or {})})

    async def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> HttpReply:
        """One exchange. Raises OutboundRefusedError, UnreachableError and OutboundBusyError."""
        target = _target(url)
        request = _request(method, target, body, tuple(headers.items()))
        place = (target.scheme, target.host, target.port)
        if place != self._place:
            self._close()
        self._place = place
        deadline = asyncio.get_running_loop().time() + self._outbound.timeout
        try:
            answer = await self._exchange(target, deadline, request)
        except (OSError, HttpParserError) as error:
            self._close()
            message = f"{target.host}: {http1.in_words(error)}"
            raise UnreachableError(message) from error
        if self._connection is not None and not self._connection.reusable:
            self._close()
        return answer

    async def _exchange(self, target: "_Target", deadline: float, request: bytes) -> HttpReply:
        kept = self._connection
        if kept is not None:
            try:
                return await kept.exchange(request, deadline)
            except OSError as error:
                if kept.answering or isinstance(error, TimeoutError):
                    raise
                self._close()  # the other side may close what it kept open at any moment: that is no answer
        async with asyncio.timeout_at(deadline):
            self._connection = await self._outbound.connect(target, deadline)
        return await self._connection.exchange(request, deadline)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _refused(target: _Target, reason: str) -> OutboundRefusedError:
    return OutboundRefusedError(f"{target.host} is not contacted: {reason}")


@lru_cache(1024)
def _target(url: str) -> _Target:
    """The parts of `url`, with path and query to the letter: relying parties tell their endpoints apart by them."""
    if not is_wellformed(url) or "#" in url:
        message = "The URL is not contacted: it is not an absolute URL in RFC 3986 characters, without user or fragment"
        raise OutboundRefusedError(message)
    parts = urlsplit(url)
    bracketed = parts.netloc.startswith("[")
    if parts.scheme not in {"https", "http"} or not parts.hostname or bracketed != (":" in parts.hostname):
        message = "The URL is not contacted: it is not an https URL with a host"
        raise OutboundRefusedError(message)
    rest = url[len(parts.scheme) + len("://") + len(parts.netloc) :]
    path = rest if rest.startswith("/") else f"/{rest}"
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    return _Target(parts.scheme, parts.hostname, port, parts.netloc, path)


def _request(method: str, target: _Target, body: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The request as it goes over the wire. Raises OutboundRefusedError for a header that could become two."""
    length = b"Content-Length: %d\r\n" % len(body) if method == "POST" else b""
    return b"%b%b\r\n%b" % (_head(method, target, headers), length, body)


@lru_cache(1024)
def _head(method: str, target: _Target, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [
        f"{method} {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        f"User-Agent: idp/{__version__}",
        *(["Accept: */*"] if all(name.lower() != "accept" for name, _ in headers) else []),
        "Accept-Encoding: identity",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if not all(line.isascii() and line.isprintable() for line in lines):
        message = f"{target.host} is not contacted: a header may hold printable ASCII characters only"
        raise OutboundRefusedError(message)
    return "\r\n".join([*lines, ""]).encode("ascii")
