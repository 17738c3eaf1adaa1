"""Whose names of people a client shares: sectors of pairwise subjects (OIDC Core §8.1). Pure.

A sector is a host at which its owner alone receives codes. Anybody can register a private scheme with any host in it, and
every native app has the same loopback address: so only https hosts of the public net make a sector.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from idp.protocol.uris import is_loopback_host

#: Before a `client_id`: no host is called so.
_OWN = "client:"


def https_hosts(uris: Iterable[str]) -> set[str]:
    """The hosts that make a sector among those of some URIs."""
    return {host for uri in uris if (host := _host(uri)) is not None}


def sector_of(client_id: str, redirect_uris: Sequence[str], sector_identifier_uri: str | None) -> str:
    """The host of the document that names all redirect URIs; else their one https host; else a sector of the client's own."""
    if sector_identifier_uri is not None and (named := urlsplit(sector_identifier_uri).hostname) is not None:
        return named
    hosts = {_host(uri) for uri in redirect_uris}
    host = hosts.pop() if len(hosts) == 1 else None
    return _OWN + client_id if host is None else host


def is_own(sector: str) -> bool:
    """Whether the sector is one client's alone."""
    return sector.startswith(_OWN)


def _host(uri: str) -> str | None:
    """The host of an https URI, unless it is another machine for each who is sent there."""
    parts = urlsplit(uri)
    if parts.scheme != "https" or parts.hostname is None or is_loopback_host(parts.hostname):
        return None
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return parts.hostname
    return parts.hostname if address.is_global else None
