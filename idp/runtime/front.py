"""What stands before Flask: documents that are ready bytes, the issuer's path, and who the peer really is.

A WSGI application. The JWKS answered here costs a fifth of what it costs through Flask.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from idp.config import Network
from idp.runtime.headers import STRICT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ALLOWED = "GET, HEAD, OPTIONS"
_PREFLIGHT = (
    ("Allow", _ALLOWED),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", _ALLOWED),
    # Whatever a program in a browser sends beside it: the documents are everybody's. The star does not stand for Authorization.
    ("Access-Control-Allow-Headers", "*, Authorization"),
    ("Access-Control-Max-Age", "86400"),
)


@dataclass(frozen=True)
class Ready:
    """A public JSON document as it is sent: its bytes and the seconds for which it may be kept."""

    body: bytes
    max_age: int
    headers: tuple[tuple[str, str], ...] = field(init=False)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        etag = f'"{sha256(self.body).hexdigest()[:32]}"'
        object.__setattr__(self, "etag", etag)
        headers = {
            **STRICT,
            "Content-Type": "application/json",
            "Cache-Control": f"public, max-age={self.max_age}",
            "ETag": etag,
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        object.__setattr__(self, "headers", tuple(headers.items()))


class Front:
    """The outermost application. `documents` maps a path below the issuer to what answers it."""

    def __init__(
        self,
        application: "WSGIApplication",
        *,
        issuer: str,
        documents: Mapping[str, Callable[[], Ready]],
        trusted_proxies: tuple[Network, ...],
    ) -> None:
        self._application = application
        self._issuer = urlsplit(issuer)
        self._prefix = self._issuer.path
        self._documents = {place: document for path, document in documents.items() for place in _well_known(self._prefix, path)}
        self._trusted = trusted_proxies

    def is_ready(self, path: str) -> bool:
        """Whether the path is answered with ready bytes."""
        return path in self._documents

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a ready document, or let the application answer."""
        path = environ.get("PATH_INFO", "")
        document = self._documents.get(path)
        if document is not None:
            return _send(document(), environ, start_response)
        # Nothing behind this line ever sees what a request says of its host.
        environ["HTTP_HOST"], environ["wsgi.url_scheme"] = self._issuer.netloc, self._issuer.scheme
        if self._prefix and path.startswith(self._prefix + "/"):
            environ["SCRIPT_NAME"] = self._prefix
            environ["PATH_INFO"] = path[len(self._prefix) :]
        if self._trusted:
            environ["REMOTE_ADDR"] = self._peer(environ)
        return self._application(environ, start_response)

    def _peer(self, environ: "WSGIEnvironment") -> str:
        """The client's address: the nearest hop that is not a trusted proxy. Nothing else a proxy says is believed."""
        hops = [*str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(","), str(environ.get("REMOTE_ADDR", ""))]
        peer = hops[-1]
        for hop in reversed([hop.strip() for hop in hops]):
            try:
                address = ip_address(hop)
            except ValueError:
                break
            peer = hop
            if not any(address in network for network in self._trusted):
                break
        return peer


def _well_known(issuer_path: str, path: str) -> set[str]:
    """RFC 8414 §3.1 and SSF 1.0 §7.2 put the well-known part before the issuer's path; OpenID Discovery and the rest behind it.

    Receivers of security events look in either place.
    """
    if path == "/.well-known/oauth-authorization-server":
        return {path + issuer_path}
    if path == "/.well-known/ssf-configuration":
        return {path + issuer_path, issuer_path + path}
    return {issuer_path + path}


def _send(ready: Ready, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    method = environ.get("REQUEST_METHOD", "GET")
    headers = list(ready.headers)
    if method == "OPTIONS":
        start_response("204 No Content", [*STRICT.items(), *_PREFLIGHT])
        return []
    if method not in {"GET", "HEAD"}:
        start_response("405 Method Not Allowed", [("Allow", _ALLOWED), ("Content-Length", "0"), *STRICT.items()])
        return []
    if ready.etag in str(environ.get("HTTP_IF_NONE_MATCH", "")):
        start_response("304 Not Modified", [pair for pair in headers if pair[0] != "Content-Type"])
        return []
    start_response("200 OK", [*headers, ("Content-Length", str(len(ready.body)))])
    return [] if method == "HEAD" else [ready.body]
