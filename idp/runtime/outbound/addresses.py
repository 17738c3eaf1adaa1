"""Which addresses an outgoing request may reach: public ones, and those that the operator allowed.

Pure decisions over addresses, so that what is refused can be read here as a list (OWASP SSRF prevention; the IANA
special-purpose registries, RFC 6890). What is not known to be public is refused.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from idp.setting_types import Network

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_PUBLIC_V6 = ip_network("2000::/3")

#: Everything that is not the public internet. An IPv6 address that carries an IPv4 one is refused as such, whatever
#: it carries: through a translator it reaches what the IPv4 rules forbid.
_SPECIAL = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "an unspecified address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared (CGNAT) address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("::ffff:0:0/96", "an IPv4-mapped address"),
        ("::/96", "an IPv4-compatible address"),
        ("64:ff9b::/96", "a NAT64 address"),
        ("64:ff9b:1::/48", "a NAT64 address"),
        ("2001::/32", "a Teredo address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a documentation address"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
)

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MAXIMUM_NAME = 253
#: Strangers get whole networks of IPv6 addresses: a /64 is one customer's.
IPV6_PREFIX = 64


def is_exempt(address: IPv4Address | IPv6Address, allow: tuple[Network, ...], *, allow_loopback: bool) -> bool:
    """Whether `address` was allowed on purpose; plain http is for these only."""
    return any(address in network for network in (*allow, *(_LOOPBACK if allow_loopback else ())))


def kind_of(address: IPv4Address | IPv6Address) -> str | None:
    """What `address` is when it is not a public one, with its article; None for a public address."""
    for network, kind in _SPECIAL:
        if address in network:
            return kind
    # Two nets below the list: what IANA has not given out, and what this Python knows and the list does not.
    if (address.version == 6 and address not in _PUBLIC_V6) or not address.is_global:  # noqa: PLR2004 - IPv6
        return "a reserved address"
    return None


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """`host` (without brackets) as an address, or None when it is a name.

    Raises ValueError for what resolvers read as an address and people do not: `2130706433`, `0x7f.1`, `0177.0.0.1`,
    a last label that is a number (WHATWG URL, "ends in a number"), and for what is no host name at all.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    if len(host) > _MAXIMUM_NAME or not _NAME.fullmatch(host):
        message = "its host is not a host name"
        raise ValueError(message)
    if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        message = "its host is an address in an unusual form"
        raise ValueError(message)
    return None


def network_of(address: str) -> str:
    """The network that counts as one place: an IPv4 address, an IPv6 /64."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ip_network((known, IPV6_PREFIX), strict=False))
    return str(known)
