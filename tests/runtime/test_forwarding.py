"""Who sent a request: every form in which proxies say it, and nobody else's word for it."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.runtime.inbound.forwarding import Proxies, hops, read

PROXY = "10.0.0.1"
TRUSTED = Proxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))

NODES = {
    "192.0.2.43": "192.0.2.43",
    "192.0.2.43:47011": "192.0.2.43",
    " 192.0.2.43 ": "192.0.2.43",
    '"192.0.2.43:80"': "192.0.2.43",
    "2001:db8:cafe::17": "2001:db8:cafe::17",
    "2001:DB8:CAFE:0:0:0:0:17": "2001:db8:cafe::17",
    "[2001:db8:cafe::17]": "2001:db8:cafe::17",
    "[2001:db8:cafe::17]:4711": "2001:db8:cafe::17",
    '"[2001:db8:cafe::17]:4711"': "2001:db8:cafe::17",
    "[2001:db8::1]:_port": "2001:db8::1",
    "192.0.2.43:_port": "192.0.2.43",
    "fe80::1%eth0": "fe80::1",
    "[fe80::1%eth0]:80": "fe80::1",
    "::ffff:192.0.2.43": "192.0.2.43",
    "[::ffff:192.0.2.43]:80": "192.0.2.43",
    "::1": "::1",
}
NO_NODES = [
    "", "unknown", "_hidden", "_SEVKISEK", "192.0.2", "192.0.2.256", "192.0.2.043", "3232235777", "0x7f.1", "[192.0.2.1]", "[2001:db8::1",
    "2001:db8::1]", "192.0.2.1:80:90", "192.0.2.1 203.0.113.9", "localhost", "192.0.2.1\x00", "\u0661.0.2.1", "192.0.2.1:", "[]", "[]:80", ":80",
]  # fmt: skip


@pytest.mark.parametrize("text", NODES)
def test_every_form_of_an_address_is_read(text: str) -> None:
    assert str(read(text)) == NODES[text]


@pytest.mark.parametrize("text", NO_NODES)
def test_what_is_no_address_is_nobody_s(text: str) -> None:
    assert read(text) is None


FORWARDED = {
    "for=192.0.2.43": ["192.0.2.43"],
    "For=192.0.2.43": ["192.0.2.43"],
    'for="192.0.2.43:80"': ["192.0.2.43"],
    'for="[2001:db8:cafe::17]:4711"': ["2001:db8:cafe::17"],
    "for=192.0.2.60;proto=http;by=203.0.113.43": ["192.0.2.60"],
    'proto=https ; host="a,b;c" ; for=192.0.2.60': ["192.0.2.60"],
    "for=192.0.2.43, for=198.51.100.17": ["192.0.2.43", "198.51.100.17"],
    'for=192.0.2.43, for="[2001:db8:cafe::17]"': ["192.0.2.43", "2001:db8:cafe::17"],
    "for=192.0.2.43,,for=198.51.100.17,": ["192.0.2.43", "198.51.100.17"],
    'for="192\\.0.2.43"': ["192.0.2.43"],
    "for=unknown": [None],
    "for=_gazonk": [None],
    "by=203.0.113.43": [None],
    "for=192.0.2.1;for=192.0.2.2": [None],
    'for=192.0.2.1;by="x, for=192.0.2.2': [None],
    '"': [None],
}


@pytest.mark.parametrize("value", FORWARDED)
def test_forwarded_is_read_as_rfc_7239_has_it(value: str) -> None:
    assert [None if hop is None else str(hop) for hop in hops("Forwarded", value)] == FORWARDED[value]


@pytest.mark.parametrize(
    "form", ["{}", "{}:1234", "198.18.0.9, {}", "{}, 10.0.0.2", "{}, 10.0.0.3, 10.0.0.2:99", "nonsense, {}", ", {} ,"]
)
@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_the_nearest_hop_that_is_no_proxy_is_the_sender(form: str, name: str) -> None:
    value = form.format("203.0.113.9")
    if name == "Forwarded":
        value = ",".join(f'for="{hop.strip()}"' if hop.strip() else "" for hop in value.split(","))
    assert TRUSTED.sender(PROXY, {name: value}).address == "203.0.113.9"
    assert TRUSTED.sender(PROXY, {name: value}).problem is None


@pytest.mark.parametrize("last", ["unknown", "_hidden", "nonsense", "10.0.0.2, unknown", "203.0.113.9, _x, 10.0.0.2"])
def test_who_cannot_be_known_has_the_proxy_s_address_and_not_that_of_somebody_behind(last: str) -> None:
    sender = TRUSTED.sender(PROXY, {"X-Forwarded-For": f"198.51.100.1, {last}"})
    assert sender.address == PROXY
    assert sender.problem is not None


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_a_stranger_is_never_believed(name: str) -> None:
    said = {name: "for=127.0.0.1" if name == "Forwarded" else "127.0.0.1"}
    for proxies in (TRUSTED, Proxies()):
        sender = proxies.sender("203.0.113.9", said)
        assert sender.address == "203.0.113.9"
        assert "IDP_TRUSTED_PROXIES" in str(sender.problem)


def test_x_real_ip_counts_where_nothing_else_is_said() -> None:
    assert TRUSTED.sender(PROXY, {"X-Real-IP": "203.0.113.9"}).address == "203.0.113.9"
    assert TRUSTED.sender(PROXY, {"X-Real-IP": "203.0.113.9", "X-Forwarded-For": "203.0.113.9"}).address == "203.0.113.9"
    assert TRUSTED.sender(PROXY, {"X-Real-IP": "10.0.0.2", "X-Forwarded-For": "203.0.113.9, 10.0.0.2"}).address == "203.0.113.9"


@pytest.mark.parametrize("proxys_own", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
@pytest.mark.parametrize("strangers", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
@pytest.mark.parametrize("pretended", ["198.51.100.66", "198.51.100.66, 10.0.0.2", "unknown"])
def test_a_header_that_a_proxy_lets_through_lets_nobody_choose_an_address(
    proxys_own: str, strangers: str, pretended: str
) -> None:
    """nginx passes on what it does not write itself: whoever sits behind it writes that other header."""

    def spelled(name: str, value: str) -> str:
        return ", ".join(f"for={each}" for each in value.split(", ")) if name == "Forwarded" else value

    said = {strangers: spelled(strangers, pretended)}
    if strangers == proxys_own:  # appended to, or written anew
        said = {proxys_own: "203.0.113.9" if proxys_own == "X-Real-IP" else spelled(proxys_own, f"{pretended}, 203.0.113.9")}
    else:
        said[proxys_own] = spelled(proxys_own, "203.0.113.9")
    assert TRUSTED.sender(PROXY, said).address in {"203.0.113.9", PROXY}
    assert Proxies(TRUSTED.trusted, (proxys_own,)).sender(PROXY, said).address == "203.0.113.9"


def test_a_server_that_listens_on_both_kinds_of_address_knows_its_proxy() -> None:
    sender = TRUSTED.sender("::ffff:10.0.0.1", {"X-Forwarded-For": "203.0.113.9"})
    assert (sender.address, sender.problem) == ("203.0.113.9", None)


@given(
    st.text(alphabet='for=;,". \\[]:%0192abcdef_-un', max_size=60),
    st.sampled_from(["X-Forwarded-For", "Forwarded", "X-Real-IP"]),
)
def test_whatever_a_stranger_writes_the_address_that_the_proxy_adds_is_the_one(written: str, name: str) -> None:
    """What a stranger opens, a quote for instance, must not swallow what the proxy appends."""
    added = {
        "X-Forwarded-For": f"{written}, 203.0.113.9",
        "Forwarded": f'{written}, for="203.0.113.9:80"',
        "X-Real-IP": "203.0.113.9",
    }
    assert TRUSTED.sender(PROXY, {name: added[name]}).address in {"203.0.113.9", PROXY}


def test_a_long_header_is_read_in_no_time() -> None:
    for piece in ('"', '"\\', 'a"', '\\"', ",", ";", "for=1.2.3.4,", "[", "1.", "%"):
        for name in ("X-Forwarded-For", "Forwarded"):
            list(hops(name, piece * 30_000))
