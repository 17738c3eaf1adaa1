"""Who sent a request, where proxies stand in front: `X-Forwarded-For`, `Forwarded` (RFC 7239) and `X-Real-IP`.

Pure decisions over text. Anybody may send these headers, so they are read from the nearest hop towards the farthest, and
only for as long as each hop is a proxy that the operator named. The first hop that is none is the sender.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from idp.setting_types import PROXY_HEADERS, Network

Address: TypeAlias = IPv4Address | IPv6Address

#: What is wrong, and the mend, where the issuer is https and no proxy is named: TLS ends in a proxy always.
NO_PROXY_NAMED = (
    "the proxy that terminates TLS is not named, so all people have its address: one of them can have all throttled",
    "name its address in IDP_TRUSTED_PROXIES, and let it send X-Forwarded-For",
)

_PORT = r"(?::[0-9A-Za-z._-]{1,32})?"
#: RFC 7239 §6: an IPv4 address or an IPv6 one in brackets, each with a port or without; and IPv6 as most proxies write it.
_NODE = re.compile(rf"\[(?P<v6>[^\]]*)\]{_PORT}|(?P<v4>[0-9.]+){_PORT}|(?P<bare>[0-9A-Fa-f:.]+(?:%[^\s%]+)?)")


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request. `address` is a canonical address, or what the server called the peer where that is none.

    `problem` is what an operator should hear of `peer`, in words. Then `address` is the peer's: many people may share it.
    """

    address: str
    peer: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that the operator named, and the headers in which they say who came."""

    trusted: tuple[Network, ...] = ()
    headers: tuple[str, ...] = PROXY_HEADERS

    def trusts(self, peer: str) -> bool:
        """Whether what `peer` says of a request is believed."""
        address = read(peer)
        return address is not None and self._is_proxy(address)

    def sender(self, peer: str, said: Mapping[str, str]) -> Sender:
        """Who sent a request that came over a connection from `peer`. `said` are the headers by their names.

        Where a proxy writes one of these headers and lets a stranger's other one through, it seems to say two things.
        Neither is believed then: whichever were preferred, people behind some proxies could choose their address.
        """
        here = read(peer)
        if here is None:
            return Sender(peer, peer)
        if not self._is_proxy(here):
            spoke = next((name for name in PROXY_HEADERS if said.get(name, "").strip()), None)
            problem = None if spoke is None else f"it sends {spoke}, and IDP_TRUSTED_PROXIES does not name it"
            return Sender(str(here), str(here), problem)
        chains = [list(hops(name, said[name])) for name in self.headers if said.get(name, "").strip()]
        found = [self._farthest(here, chain) for chain in chains if chain]
        if None in found:
            return Sender(str(here), str(here), "it does not say in a readable form who came")
        strangers = {address for address in found if address is not None and not self._is_proxy(address)}
        if len(strangers) > 1:
            problem = "its headers contradict each other: name the one that it writes in IDP_TRUSTED_HEADERS"
            return Sender(str(here), str(here), problem)
        return Sender(str(next(iter(strangers), found[0] if found else here)), str(here))

    def _farthest(self, here: Address, chain: list[Address | None]) -> Address | None:
        """The nearest hop that is no trusted proxy, or the farthest one of all; None where the way there cannot be read."""
        farthest: Address | None = here
        for hop in reversed(chain):
            farthest = hop
            if hop is None or not self._is_proxy(hop):
                break
        return farthest

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def read(text: str) -> Address | None:
    """A node as proxies write it, without its port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.

    None for `unknown`, for an obfuscated name (`_hidden`, RFC 7239 §6.3), and for anything else. An IPv4 address in an
    IPv6 one is the IPv4 address, as a server sees it that listens on both; a zone is left out.
    """
    node = _NODE.fullmatch(text.strip().strip('"').strip())
    if node is None:
        return None
    try:
        address = ip_address(str(node["v6"] or node["v4"] or node["bare"]).partition("%")[0])
    except ValueError:
        return None
    if node["v6"] is not None and address.version == 4:  # noqa: PLR2004 - brackets are IPv6's
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def hops(name: str, value: str) -> Iterator[Address | None]:
    """The hops that a header names, the farthest first; None for each that cannot be read. Several lines are one list."""
    if name != "Forwarded":
        yield from (read(element) for element in value.split(",") if element.strip())
        return
    elements = _split(value, ",")
    if elements is None:
        # A stranger's open quote must not swallow what the proxy writes behind it.
        yield None
        return
    for element in elements:
        pairs = [pair.partition("=") for pair in _split(element, ";") or ()]
        nodes = [_unquoted(node) for parameter, _, node in pairs if parameter.strip().lower() == "for"]
        # Without `for` nobody knows who came there, and twice it would be whoever one likes (RFC 7239 §4).
        yield read(nodes[0]) if len(nodes) == 1 else None


def _split(value: str, at: str) -> list[str] | None:
    """The parts between separators outside of quotes, without empty ones (RFC 9110 §5.6); None where a quote stays open."""
    parts, start, is_quoted, is_escaped = [], 0, False, False
    for place, character in enumerate(value):
        if is_escaped:
            is_escaped = False
        elif character == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            is_escaped = character == "\\"
        elif character == at:
            parts.append(value[start:place])
            start = place + 1
    return None if is_quoted else [part for part in [*parts, value[start:]] if part.strip()]


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
