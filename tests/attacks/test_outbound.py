"""What a URL that a stranger registered may not do to us (docs/threats.md 39, 40; OWASP SSRF prevention)."""

import asyncio
import datetime as dt
import gc
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from idp import __version__
from idp.runtime.outbound import http1, resolver
from idp.runtime.outbound.addresses import kind_of
from idp.runtime.outbound.client import (
    HttpReply,
    Outbound,
    OutboundBusyError,
    OutboundError,
    OutboundRefusedError,
    UnreachableError,
)
from idp.setting_types import Network

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENT = 10.0
TIMEOUT = 0.3
#: Long enough for a status to arrive on a busy machine, short enough to wait for.
STATUS_TIMEOUT = 1.0
#: What a busy machine may add to a time-out.
SLACK = 2.0

Conversation = Callable[[socket.socket], None]


class Server:
    """A TCP server that does with each connection what `talk` does. It notes what it is sent first."""

    def __init__(self, talk: Conversation, address: str = "127.0.0.1", port: int = 0) -> None:
        self.heard: list[bytes] = []
        self._talk = talk
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, rest: str = "/", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{rest}"

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.heard.append(connection.recv(65536))
                self._talk(connection)
            except OSError:
                pass


def saying(data: bytes) -> Conversation:
    return lambda connection: connection.sendall(data)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:
        yield lambda talk, **where: stack.enter_context(closing(Server(talk, **where)))


def local(**settings: object) -> Outbound:
    return Outbound(**{"allow_loopback": True, "timeout": PATIENT, **settings})  # type: ignore[arg-type]


def post(outbound: Outbound, url: str) -> HttpReply:
    return outbound.post(url, body=b"a=b", content_type="application/x-www-form-urlencoded")


def never_resolved(host: str, _port: int) -> Sequence[str]:
    message = f"{host} was looked up"
    raise AssertionError(message)


# -- where a request may go ------------------------------------------------------------------------------------------

FORBIDDEN = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.254", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "3fff::1",
    "4000::1", "5f00::1", "fc00::1", "fd12:3456:789a::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_address_but_a_public_one_is_contacted_as_a_literal_or_behind_a_name(address: str) -> None:
    literal = f"[{address}]" if ":" in address else address
    if "%" not in address:
        with pytest.raises(OutboundRefusedError):
            post(Outbound(resolver=never_resolved), f"https://{literal}/")
    with pytest.raises(OutboundRefusedError, match="is not contacted"):
        post(Outbound(resolver=lambda _host, _port: [address]), "https://rp.example/")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1", "100.128.0.1"])
def test_public_addresses_are_public(address: str) -> None:
    assert kind_of(ip_address(address)) is None


@given(st.ip_addresses())
def test_whatever_python_knows_to_be_special_is_forbidden(address: object) -> None:
    address = ip_address(str(address))
    special = (
        address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
        or address.is_reserved or address.is_unspecified
    )  # fmt: skip
    assert not special or kind_of(address) is not None


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "0", "0x", "127.0.0.01",
        "127.0.0.1.", "134744072", "1.2.3.4.5", "256.256.256.256", "a.0x7f", "rp.example.1",
        "%31%32%37.0.0.1", "localhost%00.example", "a..example", "-a.example", "a-.example", "a" * 64 + ".example",
        ".".join(["a" * 60] * 5), "exa$mple", "*.example", "[::ffff:7f00:1]", "[v1.a]", "[fe80::1%25eth0]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_an_address_in_disguise_is_refused_before_any_lookup(host: str, *, allow_loopback: bool) -> None:
    outbound = Outbound(allow_loopback=allow_loopback, resolver=never_resolved)
    for scheme in ("https", "http"):
        with pytest.raises(OutboundRefusedError):
            post(outbound, f"{scheme}://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://rp.example/", "file:///etc/passwd", "gopher://rp.example/", "https:///x", "https:rp.example", "//rp.example/",
        "rp.example", "", "https://user@rp.example/", "https://user:secret@rp.example/", "https://rp.example/#f",
        "https://rp.example:0/", "https://rp.example:65536/", "https://rp.example:x/", "https://rp.example\\@evil.example/",
        "https://rp.example/a b", "https://rp.example/\r\nX: y", "https://rp.example/\u00e4", "https://\uff11\uff12\uff17.0.0.1/",
        "https://[::1/", "https://rp.example/" + "a" * 3000,
    ],
)  # fmt: skip
def test_a_url_that_parsers_disagree_about_is_refused(url: str) -> None:
    with pytest.raises(OutboundRefusedError):
        post(Outbound(resolver=never_resolved), url)


def test_one_forbidden_address_among_public_ones_refuses_the_name() -> None:
    outbound = Outbound(resolver=lambda _host, _port: ["8.8.8.8", "169.254.169.254"])
    with pytest.raises(OutboundRefusedError, match=r"169\.254\.169\.254 is a link-local address"):
        post(outbound, "https://rp.example/")


def test_what_would_be_refused_is_known_beforehand() -> None:
    answers = {"inside.example": ["8.8.8.8", "10.1.2.3"], "public.example": ["8.8.8.8"], "unknown.example": []}
    outbound = Outbound(resolver=lambda host, _port: answers[host])
    assert "10.1.2.3 is a private" in str(outbound.refusal("https://inside.example/logout"))
    assert outbound.refusal("https://public.example/logout") is None
    assert outbound.refusal("https://unknown.example/logout") is None, "it may have an address tomorrow"
    assert outbound.refusal("https://10.1.2.3/") is not None


def test_plain_http_is_for_allowed_networks_only() -> None:
    with pytest.raises(OutboundRefusedError, match="plain http"):
        post(Outbound(allow_loopback=True), "http://8.8.8.8/")


def test_loopback_is_reached_only_where_it_is_allowed(serve: Callable[..., Server]) -> None:
    server = serve(saying(OK))
    with pytest.raises(OutboundRefusedError, match="loopback"):
        post(Outbound(), server.url())
    assert post(local(), server.url()).body == b"ok"
    networks: tuple[Network, ...] = (ip_network("127.0.0.1/32"),)
    assert post(Outbound(allow=networks), server.url()).body == b"ok"
    with pytest.raises(OutboundRefusedError):
        post(Outbound(allow=networks), server.url(host="127.0.0.2"))


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(serve: Callable[..., Server]) -> None:
    good = serve(saying(OK), address="127.0.0.2")
    trap = serve(saying(OK), address="127.0.0.1", port=good.port)
    answers = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1"]]
    outbound = Outbound(allow=(ip_network("127.0.0.2/32"),), resolver=lambda _host, _port: answers.pop(0))
    assert post(outbound, good.url(host="rp.example")).status == 200
    assert (len(good.heard), len(trap.heard), len(answers)) == (1, 0, 2), "looked up once, and that is where it went"
    assert f"host: rp.example:{good.port}".encode() in good.heard[0].lower()
    with pytest.raises(OutboundRefusedError, match="loopback"):
        post(outbound, good.url(host="rp.example"))
    assert trap.heard == []


def test_the_next_address_is_tried_when_the_first_takes_no_connection(serve: Callable[..., Server]) -> None:
    server = serve(saying(OK), address="127.0.0.2")
    outbound = local(resolver=lambda _host, _port: ["127.0.0.3", "127.0.0.2"])
    assert post(outbound, server.url(host="rp.example")).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(serve: Callable[..., Server], status: int) -> None:
    inside = serve(saying(OK))
    target = inside.url("/latest/meta-data/")
    server = serve(saying(f"HTTP/1.1 {status} Go\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()))
    for answer in (post(local(), server.url()), local().get(server.url())):
        assert (answer.status, answer.headers["location"]) == (status, target)
    assert inside.heard == []


def test_the_environment_cannot_send_requests_through_a_proxy(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = serve(saying(OK)), serve(saying(OK))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())
    assert post(local(), server.url()).status == 200
    assert proxy.heard == []


# -- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "sent"),
    [
        ("/cb?logout=backchannel", "/cb?logout=backchannel"),
        ("/%7Ea/%2f/../b?x=%2F+%20&&y;z=[1]&q='()*?", "/%7Ea/%2f/../b?x=%2F+%20&&y;z=[1]&q='()*?"),
        ("/cb?", "/cb?"),
        ("?only=query", "/?only=query"),
        ("", "/"),
    ],
)
def test_path_and_query_are_sent_to_the_letter(serve: Callable[..., Server], rest: str, sent: str) -> None:
    server = serve(saying(OK))
    post(local(), server.url(rest))
    assert server.heard[0].startswith(f"POST {sent} HTTP/1.1\r\n".encode())


def test_nothing_is_sent_but_what_must_be_and_no_cookie_is_kept(serve: Callable[..., Server]) -> None:
    server = serve(saying(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n"))
    outbound = local()
    for _ in range(2):
        assert post(outbound, server.url()).headers["set-cookie"] == "a=b, c=d"
        head, _, body = server.heard[-1].partition(b"\r\n\r\n")
        assert sorted(head.decode().lower().split("\r\n")[1:]) == [
            "accept-encoding: identity",
            "accept: */*",
            "connection: close",
            "content-length: 3",
            "content-type: application/x-www-form-urlencoded",
            f"host: 127.0.0.1:{server.port}",
            f"user-agent: idp/{__version__}",
        ]
        assert body == b"a=b"


# -- how long it may last, and how much it may be --------------------------------------------------------------------


def hang(connection: socket.socket) -> None:
    time.sleep(60)


def drip(before: bytes, drop: bytes) -> Conversation:
    def talk(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(drop)
            time.sleep(0.02)

    return talk


def flood(before: bytes, block: bytes) -> Conversation:
    def talk(connection: socket.socket) -> None:
        connection.sendall(before)
        for _ in range(2**30 // len(block)):
            connection.sendall(block)

    return talk


HEAD = b"HTTP/1.1 200 OK\r\n"
NO_ANSWER = {
    "hangs": hang,
    "closes": lambda connection: None,
    "drips its status": drip(b"", b"H"),
    "drips its headers": drip(HEAD, b"X: y\r\n"),
    "drips one header": drip(HEAD + b"X: ", b"y"),
    "drips interim answers": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "floods its status": flood(b"", b"H" * 65536),
    "floods its headers": flood(HEAD, b"X: y\r\n" * 10_000),
    "floods one header": flood(HEAD + b"X: ", b"y" * 65536),
    "floods interim answers": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "switches protocols": saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "speaks something else": saying(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "speaks HTTP/2": saying(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "splits a header": saying(b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n"),
    "contradicts itself": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"),
}
CUT = {
    "drips its body": drip(HEAD + b"Content-Length: 60000\r\n\r\n", b"x"),
    "drips chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "drips without an end": drip(HEAD + b"\r\n", b"x"),
    "drips a chunk's size": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "drips trailers": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "announces 1 GB and sends it": flood(HEAD + b"Content-Length: 1073741824\r\n\r\n", b"x" * 65536),
    "sends 1 GB without an end": flood(HEAD + b"\r\n", b"x" * 65536),
    "sends 1 GB in chunks": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "sends 1 GB in small chunks": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
    "sends 1 GB of trailers": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 10_000),
    "closes too early": saying(HEAD + b"Content-Length: 10\r\n\r\nx"),
}


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


@pytest.mark.parametrize("talk", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_a_server_that_gives_no_answer_is_left_in_time(serve: Callable[..., Server], talk: Conversation) -> None:
    server = serve(talk)

    def attempt() -> None:
        with pytest.raises(UnreachableError) as caught:
            post(local(timeout=TIMEOUT), server.url("/secret?token=1"))
        assert "secret" not in str(caught.value)

    assert timed(attempt) < TIMEOUT + SLACK


@pytest.mark.parametrize("talk", CUT.values(), ids=CUT.keys())
def test_a_body_without_bounds_is_cut_and_the_status_stands(serve: Callable[..., Server], talk: Conversation) -> None:
    server = serve(talk)
    answers: list[HttpReply] = []
    assert timed(lambda: answers.append(post(local(timeout=STATUS_TIMEOUT), server.url()))) < STATUS_TIMEOUT + SLACK
    assert answers[0].status == 200
    assert len(answers[0].body) <= 65_536
    assert answers[0].cut_short


@pytest.mark.parametrize("talk", CUT.values(), ids=CUT.keys())
def test_a_document_that_is_not_whole_is_no_document(serve: Callable[..., Server], talk: Conversation) -> None:
    server = serve(talk)

    def fetch() -> None:
        with pytest.raises(UnreachableError):
            local(timeout=TIMEOUT).get(server.url())

    assert timed(fetch) < TIMEOUT + SLACK


def test_a_server_that_takes_nothing_is_left_in_time(serve: Callable[..., Server]) -> None:
    server = serve(hang)
    body = b"x" * 50_000_000  # more than the kernel buffers

    def attempt() -> None:
        with pytest.raises(UnreachableError, match="no answer in time"):
            local(timeout=TIMEOUT).post(server.url(), body=body, content_type="text/plain")

    assert timed(attempt) < TIMEOUT + SLACK


def test_a_compressed_answer_stays_as_it_is(serve: Callable[..., Server]) -> None:
    bomb = b"\x1f\x8b\x08\x00" + bytes(96)
    server = serve(saying(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n" + bomb))
    assert local().get(server.url()).body == bomb


def test_a_large_answer_costs_little_memory(serve: Callable[..., Server]) -> None:
    server = serve(CUT["announces 1 GB and sends it"])
    answer = post(local(max_bytes=1000), server.url())
    assert len(answer.body) == 1000
    assert answer.cut_short == "the answer is too large"


def test_a_lookup_that_hangs_is_left_in_time() -> None:
    released = threading.Event()

    def slow(_host: str, _port: int) -> Sequence[str]:
        released.wait(60)
        return ["8.8.8.8"]

    def attempt() -> None:
        with pytest.raises(UnreachableError, match="no answer in time"):
            post(Outbound(timeout=TIMEOUT, resolver=slow), "https://rp.example/")

    assert timed(attempt) < TIMEOUT + SLACK
    released.set()


class Names:
    """A resolver that hangs until it is released, and what it was asked."""

    def __init__(self) -> None:
        self.released, self.asked = threading.Event(), list[str]()

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        if not host.startswith("fine"):
            self.released.wait(60)
        return ["127.0.0.1"]


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.released.set()


def test_lookups_that_hang_cannot_pile_up_and_who_finds_no_room_is_told_so(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "MOST", 3)
    outbound = Outbound(timeout=TIMEOUT, resolver=names)
    for number in range(3):
        with pytest.raises(UnreachableError, match="no answer in time"):
            post(outbound, f"https://rp{number}.example/")
    with pytest.raises(OutboundBusyError, match="too many names"):
        post(outbound, "https://fine.example/")
    assert outbound.refusal("https://fine.example/") is None, "it is not known"
    assert names.asked == ["rp0.example", "rp1.example", "rp2.example"]


def test_what_is_for_one_host_waits_for_one_lookup(
    names: Names, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "MOST", 2)
    outbound, server = local(timeout=TIMEOUT, resolver=names), serve(saying(OK))
    for _ in range(6):
        with pytest.raises(UnreachableError, match="no answer in time"):
            post(outbound, server.url(host="rp.example"))
    assert names.asked == ["rp.example"]
    assert post(outbound, server.url(host="fine.example")).status == 200
    patient = threading.Timer(0.1, names.released.set)
    patient.start()
    assert post(local(timeout=PATIENT, resolver=names), server.url(host="rp.example")).status == 200
    patient.join()


def test_a_lookup_that_hangs_for_long_is_not_waited_for_by_those_who_come_later(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_JOINED_SECONDS", 0.0)
    outbound = Outbound(timeout=0.05, resolver=names)
    for _ in range(2):
        with pytest.raises(UnreachableError, match="no answer in time"):
            post(outbound, "https://rp.example/")
    assert names.asked == ["rp.example"] * 2


def test_a_thread_that_cannot_begin_takes_no_room(
    names: Names, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "MOST", 1)
    outbound, server = local(timeout=TIMEOUT, resolver=names), serve(saying(OK))

    def start(_thread: threading.Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OutboundBusyError, match="too many names"):
            post(outbound, server.url(host="fine.example"))
    assert post(outbound, server.url(host="fine.example")).status == 200


def test_the_system_resolves_names(serve: Callable[..., Server]) -> None:
    assert post(local(), serve(saying(OK)).url(host="localhost")).status == 200


def test_a_name_that_does_not_resolve_may_do_so_another_time() -> None:
    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def empty(_host: str, _port: int) -> Sequence[str]:
        return []

    for resolve in (unknown, empty):
        with pytest.raises(UnreachableError, match="cannot be resolved"):
            post(Outbound(resolver=resolve), "https://rp.example/")


def test_what_is_left_behind_is_closed(serve: Callable[..., Server], recwarn: pytest.WarningsRecorder) -> None:
    for talk in (hang, CUT["sends 1 GB without an end"], saying(OK)):
        with_timeout = local(timeout=0.05)
        try:
            post(with_timeout, serve(talk).url())
        except OutboundError:
            pass
    gc.collect()
    assert [str(one.message) for one in recwarn if issubclass(one.category, ResourceWarning)] == []


@given(st.binary(max_size=400))
def test_no_bytes_of_a_server_are_an_unforeseen_error(data: bytes) -> None:
    async def converse(ours: socket.socket) -> HttpReply:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: http1.Connection(100), sock=ours)
        return await connection.exchange(b"GET / HTTP/1.1\r\nHost: rp.example\r\n\r\n", loop.time() + 2)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            answer = asyncio.run(converse(ours))
        except (OSError, http1.HttpParserError) as error:
            assert http1.in_words(error)
        else:
            assert len(answer.body) <= 100


# -- several requests on one connection --------------------------------------------------------------------------------


async def ask(outbound: Outbound, *urls: str) -> list[HttpReply]:
    async with outbound.line() as line:
        return [await line.post(url, body=b"a=b", content_type="text/plain") for url in urls]


def answering(data: bytes, times: int) -> Conversation:
    """Answers so many requests with `data`, then closes the connection without a word."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        for _ in range(times - 1):
            if not connection.recv(65536):
                return
            connection.sendall(data)

    return talk


def test_a_line_keeps_its_connection(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK, 5))
    answers = asyncio.run(ask(local(), *[server.url()] * 5))
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")] * 5
    assert len(server.heard) == 1
    assert b"connection: close" not in server.heard[0].lower()


def test_a_connection_that_was_closed_meanwhile_is_opened_again(serve: Callable[..., Server]) -> None:
    server = serve(answering(OK, 2))
    answers = asyncio.run(ask(local(), *[server.url()] * 6))
    assert [answer.status for answer in answers] == [200] * 6
    assert len(server.heard) == 3


@pytest.mark.parametrize(
    "said",
    [
        OK + OK,
        OK + b"x",
        OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n", 1),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
    ],
    ids=["an answer to what was not asked", "garbage", "close", "HTTP/1.0", "too large"],
)
def test_no_second_request_follows_an_answer_that_is_not_whole_and_alone(serve: Callable[..., Server], said: bytes) -> None:
    server = serve(answering(said, 2))
    answers = asyncio.run(ask(local(max_bytes=1000), server.url("/1"), server.url("/2")))
    assert [answer.status for answer in answers] == [200, 200]
    assert len(server.heard) == 2


def test_a_line_checks_each_place_that_it_goes_to(serve: Callable[..., Server]) -> None:
    good, trap = serve(answering(OK, 2), address="127.0.0.2"), serve(saying(OK))
    outbound = Outbound(allow=(ip_network("127.0.0.2/32"),))
    with pytest.raises(OutboundRefusedError, match="loopback"):
        asyncio.run(ask(outbound, good.url(host="127.0.0.2"), trap.url()))
    assert (len(good.heard), trap.heard) == (1, [])


def test_a_header_cannot_become_two(serve: Callable[..., Server]) -> None:
    server = serve(saying(OK))
    for value in ("a\r\nX: y", "a\nb", "a\0", "\u00e9"):
        with pytest.raises(OutboundRefusedError, match="printable"):
            local().get(server.url(), headers={"Authorization": value})
    assert server.heard == []


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for rp.example and 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rp.example")])
    alternatives = x509.SubjectAlternativeName([x509.DNSName("rp.example"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "rp.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Server]:
    """Answers over TLS. It notes nothing before the handshake, so it takes the connection itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Secure(Server):
        def _converse(self, connection: socket.socket) -> None:
            try:
                super()._converse(context.wrap_socket(connection, server_side=True))
            except OSError:
                connection.close()

    with closing(Secure(saying(OK))) as server:
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "rp.example"])
def test_a_certificate_of_the_configured_authority_is_accepted(tls_server: Server, certificate: Path, host: str) -> None:
    outbound = local(ca_file=certificate, resolver=lambda _host, _port: ["127.0.0.1"])
    assert post(outbound, tls_server.url(scheme="https", host=host)).body == b"ok"


def test_a_certificate_of_nobody_we_know_is_not(tls_server: Server) -> None:
    with pytest.raises(UnreachableError, match="its certificate is not accepted"):
        post(local(), tls_server.url(scheme="https"))
    assert tls_server.heard == []


def test_a_certificate_for_another_name_is_not(tls_server: Server, certificate: Path) -> None:
    outbound = local(ca_file=certificate, resolver=lambda _host, _port: ["127.0.0.1"])
    with pytest.raises(UnreachableError, match="its certificate is not accepted"):
        post(outbound, tls_server.url(scheme="https", host="other.example"))
    assert tls_server.heard == []


@pytest.mark.parametrize("talk", [hang, drip(b"\x16\x03\x03\x40\x00", b"\x02")], ids=["hangs", "drips"])
def test_a_handshake_that_does_not_end_is_left_in_time(serve: Callable[..., Server], talk: Conversation) -> None:
    server = serve(talk)

    def attempt() -> None:
        with pytest.raises(UnreachableError):
            post(local(timeout=TIMEOUT), server.url(scheme="https"))

    assert timed(attempt) < TIMEOUT + SLACK


def test_plain_text_where_tls_was_expected_is_a_passing_failure(serve: Callable[..., Server]) -> None:
    with pytest.raises(UnreachableError, match="TLS failed"):
        post(local(), serve(saying(OK)).url(scheme="https"))
