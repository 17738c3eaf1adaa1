"""What stands before Flask: documents that are ready bytes, the issuer's path, and who the peer really is.

A WSGI application. The JWKS answered here costs a fifth of what it costs through Flask.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from idp.runtime import audit
from idp.runtime.inbound.forwarding import Proxies, Sender
from idp.runtime.web.headers import HSTS, STRICT
from idp.setting_types import PROXY_HEADERS, Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Where the application finds the sender of a request.
_SENDER = "idp.sender"
_MOST_TOLD = 16
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
class CachedDocument:
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


class DocumentsFirst:
    """The outermost application. `documents` maps a path below the issuer to what answers it."""

    def __init__(
        self,
        application: "WSGIApplication",
        *,
        issuer: str,
        documents: Mapping[str, Callable[[], CachedDocument]],
        trusted_proxies: tuple[Network, ...],
        trusted_headers: tuple[str, ...] = PROXY_HEADERS,
    ) -> None:
        self._application = application
        self._issuer = urlsplit(issuer)
        self._root = unquote(self._issuer.path, "latin-1")  # as WSGI has paths (PEP 3333)
        self._documents = {place: document for path, document in documents.items() for place in _well_known(self._root, path)}
        self._always = [HSTS] if self._issuer.scheme == "https" else []
        self._proxies = Proxies(trusted_proxies, trusted_headers)
        self._told: set[tuple[str, str]] = set()

    def is_ready(self, path: str) -> bool:
        """Whether the path is answered with ready bytes."""
        return path in self._documents

    def located(self, path: str, peer: str, taken: str | None) -> str:
        """The path as it stands behind the issuer's host, whether a proxy took the issuer's path off, a part of it, or none.

        `taken` is what the proxy says it took off (`X-Forwarded-Prefix`); it is asked only where that is a part, and only
        a proxy that the operator named. No link is ever made of it: those come from the issuer.
        """
        if not self._root or path == self._root or path.startswith(self._root + "/") or path in self._documents:
            self._tell_of_prefix(peer, taken)
            return path
        if taken and self._proxies.trusts(peer):
            prefix = _prefix(taken)
            rest = self._root.removeprefix(prefix)
            if prefix and rest.startswith("/") and self._root.startswith(prefix) and (path + "/").startswith(rest + "/"):
                return prefix + path
            if prefix != self._root:
                self._tell_of_prefix(peer, taken)
        return self._root + path

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a ready document, or let the application answer."""
        peer = str(environ.get("REMOTE_ADDR", ""))
        path = self.located(environ.get("PATH_INFO", ""), peer, environ.pop("HTTP_X_FORWARDED_PREFIX", None))
        document = self._documents.get(path)
        if document is not None:
            return _send(document(), environ, start_response, self._always)
        # Nothing behind this line ever sees what a request says of its host.
        environ["HTTP_HOST"], environ["wsgi.url_scheme"] = self._issuer.netloc, self._issuer.scheme
        if self._root:
            environ["SCRIPT_NAME"] = self._root
            environ["PATH_INFO"] = path.removeprefix(self._root) or "/"
        said: dict[str, str] = {name: str(environ.get("HTTP_" + name.upper().replace("-", "_"), "")) for name in PROXY_HEADERS}
        sender = self._proxies.sender(peer, said)
        environ["REMOTE_ADDR"], environ[_SENDER] = sender.address, sender
        if sender.problem is not None:
            self._tell(sender.peer, sender.problem)
        return self._application(environ, start_response)

    def _tell_of_prefix(self, peer: str, taken: str | None) -> None:
        if taken and _prefix(taken) not in {"", self._root} and self._proxies.trusts(peer):
            has = f"has the path {self._root}" if self._root else "has no path"
            self._tell(peer, f"it says that it took {_prefix(taken)[:100]!r} off the path, and IDP_ISSUER {has}")

    def _tell(self, peer: str, problem: str) -> None:
        """One line for each peer and problem of a process. Anybody can cause them, so there are few."""
        told = (peer, problem)
        if told not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(told)
            audit.warn("proxy.misunderstood", peer=peer, problem=problem)


def sender_of(environ: "WSGIEnvironment") -> Sender:
    """Who sent this request, as the front found out."""
    sender = environ[_SENDER]
    assert isinstance(sender, Sender)
    return sender


def _prefix(taken: str) -> str:
    """What proxies took off, each behind another: `/a` and `/a, /b` and `/a/b/` alike."""
    return "".join("/" + part.strip().strip("/") for part in taken.split(",") if part.strip().strip("/"))


def _well_known(root: str, path: str) -> set[str]:
    """RFC 8414 §3.1 and SSF 1.0 §7.2 put the well-known part before the issuer's path, OpenID Discovery §4 behind it.

    Clients of each look in the other place too (RFC 8414 §5), so every such document is in both.
    """
    return {root + path, path + root} if path.startswith("/.well-known/") else {root + path}


def _send(
    ready: CachedDocument, environ: "WSGIEnvironment", start_response: "StartResponse", always: list[tuple[str, str]]
) -> Iterable[bytes]:
    method = environ.get("REQUEST_METHOD", "GET")
    headers = [*ready.headers, *always]
    if method == "OPTIONS":
        start_response("204 No Content", [*STRICT.items(), *always, *_PREFLIGHT])
        return []
    if method not in {"GET", "HEAD"}:
        start_response("405 Method Not Allowed", [("Allow", _ALLOWED), ("Content-Length", "0"), *STRICT.items(), *always])
        return []
    if ready.etag in str(environ.get("HTTP_IF_NONE_MATCH", "")):
        start_response("304 Not Modified", [pair for pair in headers if pair[0] != "Content-Type"])
        return []
    start_response("200 OK", [*headers, ("Content-Length", str(len(ready.body)))])
    return [] if method == "HEAD" else [ready.body]
