"""Which URIs may be registered, and when a presented redirect URI is the registered one.

Matching is exact string comparison (RFC 9700 §2.1), save the port of a loopback redirect (RFC 8252 §7.3).
"""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit

#: RFC 3986 characters only: no space, backslash, control character, quote or non-ASCII, which parsers disagree about.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(?::([0-9]{1,5}))?(?=[/?]|$)")
_MAXIMUM_LENGTH = 2048
#: Names that no public server can have (RFC 6762 §3, RFC 8375, ICANN's `internal`, and what routers call their own network).
_LOCAL_NAMES = (".local", ".home.arpa", ".internal", ".lan", ".home", ".localdomain")
#: Schemes by which a browser runs, reads or sends something itself, or starts an app that the address chooses.
_NO_APP = frozenset({
    "about", "blob", "chrome", "chrome-extension", "data", "file", "filesystem", "ftp", "intent", "jar", "javascript", "mailto",
    "moz-extension", "sms", "tel", "urn", "vbscript", "view-source", "ws", "wss",
})  # fmt: skip
#: What stands before the path of an http(s) URI: a name or an address, and a port.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


def is_loopback_host(host: str | None) -> bool:
    """Whether `host` (without port or brackets) names this very machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local_host(host: str | None) -> bool:
    """Whether `host` (without port or brackets) is of somebody's own network: private, link-local, or so by its name."""
    if host is None:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)
    return (address.is_private or address.is_link_local) and not address.is_unspecified


def is_loopback_redirect(uri: str) -> bool:
    """Whether `uri` leads to a program on the person's own machine, whose port may be another each time (RFC 8252 §7.3)."""
    return _LOOPBACK.match(uri) is not None


def is_wellformed(uri: str) -> bool:
    """Whether every parser reads `uri` alike: absolute, RFC 3986 characters only, no user part, a sane port."""
    if len(uri) > _MAXIMUM_LENGTH or not _URI.fullmatch(uri):
        return False
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or port == 0:
        return False
    return parts.scheme not in {"http", "https"} or _AUTHORITY.fullmatch(parts.netloc) is not None


def redirect_uri_problem(uri: str, *, native: bool, loopback_http: bool, insecure: bool = False) -> str | None:
    """Why `uri` may not be registered as a redirect URI, or None. `native` is `application_type` (OIDC Registration §2).

    `loopback_http` is set in development, where any client may use http on a loopback host. `insecure` is the operator's
    word that this client may use http in the local network, and a private scheme that another app could claim as well.
    """
    if not is_wellformed(uri):
        return "it must be an absolute URI in RFC 3986 characters, without user or password"
    parts = urlsplit(uri)
    if "#" in uri:
        return "it must not have a fragment (RFC 6749 section 3.1.2)"
    if has_wildcard(uri):
        return "it must not hold a wildcard (*): redirect URIs are compared to the letter, so register each one"
    if parts.scheme == "https":
        return None if parts.hostname else "it must name a host"
    if parts.scheme == "http":
        if is_loopback_host(parts.hostname) and (native or loopback_http):
            return None
        if insecure:
            return None if is_local_host(parts.hostname) else "http is for hosts of the local network only: use https"
        return "http is for the loopback interface of native apps only: use https"
    return _private_scheme_problem(parts.scheme, native=native, insecure=insecure)


def _private_scheme_problem(scheme: str, *, native: bool, insecure: bool) -> str | None:
    """RFC 8252 §7.1: a reversed domain name is somebody's own. Any app may claim a word without a dot."""
    if insecure:
        return f"the scheme {scheme!r} is none of an app: use https" if scheme in _NO_APP else None
    if not native:
        return f"the scheme {scheme!r} is for native apps only: use https"
    if "." not in scheme:
        return "a private-use scheme must be a reversed domain name such as com.example.app (RFC 8252 section 7.1)"
    return None


def has_wildcard(uri: str) -> bool:
    """Whether somebody likely meant a pattern. None is ever one here (RFC 9700 §2.1), so that nothing would match it."""
    return "*" in uri or "%2a" in uri.lower()


def endpoint_problem(uri: str, *, loopback_http: bool, insecure: bool = False) -> str | None:
    """Why `uri` may not be an endpoint that this provider posts to or links to, or None.

    `insecure` is the operator's word that http may be used in the local network.
    """
    if not is_wellformed(uri) or "#" in uri:
        return "it must be an absolute URI in RFC 3986 characters, without user, password or fragment"
    parts = urlsplit(uri)
    if not parts.hostname:
        return "it must name a host"
    if parts.scheme == "https" or (parts.scheme == "http" and loopback_http and is_loopback_host(parts.hostname)):
        return None
    if parts.scheme == "http" and insecure and is_local_host(parts.hostname):
        return None
    return "it must be an https URL"


def is_registered(uri: str, registered: Iterable[str], *, any_port: bool) -> bool:
    """Whether `uri` is one of `registered`: the same string, save with `any_port` that of a loopback one (RFC 8252 §7.3)."""
    registered = tuple(registered)
    if uri in registered:
        return True
    presented = _LOOPBACK.match(uri)
    if not any_port or presented is None or not is_wellformed(uri):
        return False
    return any(_without_port(uri) == _without_port(known) for known in registered if _LOOPBACK.match(known))


def _without_port(uri: str) -> str:
    return _LOOPBACK.sub(lambda match: f"http://{match.group(1)}", uri)


def with_parameters(uri: str, parameters: Iterable[tuple[str, str]]) -> str:
    """`uri` with `parameters` added to its query; the query that it has is kept to the letter."""
    added = urlencode(list(parameters))
    if not added:
        return uri
    separator = "" if uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
    return f"{uri}{separator}{added}"


def with_fragment(uri: str, parameters: Iterable[tuple[str, str]]) -> str:
    """`uri` with `parameters` as its fragment, which browsers send to no server. A redirect URI has none of its own."""
    return f"{uri}#{urlencode(list(parameters))}"


def form_target(uri: str) -> str:
    """`uri` as a source of a content security policy: its origin, or the scheme of a native app (CSP 3 §2.3.1)."""
    return origin(uri) or f"{urlsplit(uri).scheme}:"


def origin(uri: str) -> str | None:
    """The origin of an http(s) URI as browsers write it (RFC 6454 §6.2), or None for other schemes."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or parts.hostname is None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" if parts.port in (None, default) else f"{parts.scheme}://{host}:{parts.port}"
