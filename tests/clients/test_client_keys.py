"""A client's `jwks_uri`: fetched once, its rotation followed, and no storm of fetches whatever strangers do (docs/threats.md 51)."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from idp.clients.keys import COOLDOWN, STALE, ClientKeys, ClientKeysError
from idp.runtime.outbound.client import HttpReply, OutboundRefusedError, UnreachableError
from tests.clients.keys import ec, public, rsa

URI = "https://app.example/jwks"
CACHE = 300


class Site:
    """The client's server, and the clock."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.fetches = 0
        self.answer: Callable[[], HttpReply] = lambda: self.ok(rsa())
        self.keys = ClientKeys(self, lambda: self.now, cache_seconds=CACHE)  # type: ignore[arg-type]

    def ok(self, *keys: object) -> HttpReply:
        return HttpReply(200, {}, json.dumps(public(*keys)).encode())  # type: ignore[arg-type]

    def get(self, url: str, *, headers: object = None) -> HttpReply:
        assert url == URI
        self.fetches += 1
        return self.answer()

    def kids(self, kid: str | None = None) -> list[str | None]:
        return [key.kid for key in self.keys.at(URI, kid).keys]


@pytest.fixture
def site() -> Site:
    return Site()


def test_keys_are_fetched_once_and_kept_for_the_stated_time(site: Site) -> None:
    for _ in range(5):
        assert site.kids("rsa") == ["rsa"]
        site.now += 50
    assert site.fetches == 1
    site.now += 60
    site.kids("rsa")
    assert site.fetches == 2


def test_a_new_key_of_the_client_is_found_at_once(site: Site) -> None:
    assert site.kids("rsa") == ["rsa"]
    site.now += COOLDOWN
    site.answer = lambda: site.ok(rsa(), ec())
    assert site.kids("ec") == ["rsa", "ec"]
    assert site.fetches == 2


def test_a_key_that_the_client_withdrew_is_gone_when_the_copy_is_old(site: Site) -> None:
    site.kids("rsa")
    site.answer = lambda: site.ok(ec())
    site.now += CACHE
    assert site.kids("rsa") == ["ec"]


def test_a_thousand_unknown_kids_fetch_once_in_a_cooldown(site: Site) -> None:
    site.kids("rsa")
    for number in range(1000):
        site.now += 0.02
        assert site.kids(f"random-{number}") == ["rsa"]
    assert site.fetches == 1
    site.now += COOLDOWN
    for number in range(1000):
        site.kids(f"random-{number}")
    assert site.fetches == 2


def test_a_server_that_is_away_is_asked_once_in_a_cooldown_and_its_last_keys_count_for_a_while(site: Site) -> None:
    def away() -> HttpReply:
        raise UnreachableError("app.example: it is away")

    site.kids("rsa")
    site.answer = away
    site.now += CACHE
    for _ in range(20):
        assert site.kids("rsa") == ["rsa"]
    assert site.fetches == 2
    site.now += STALE + 1
    with pytest.raises(ClientKeysError, match="jwks_uri"):
        site.kids("rsa")
    site.answer = lambda: site.ok(ec())
    site.now += COOLDOWN
    assert site.kids("ec") == ["ec"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{}]}', b"\xff", b"[" * 50_000, b'{"keys": [], "keys": [1]}', b"null"],
)
def test_a_document_that_is_none_gives_no_keys(site: Site, body: bytes) -> None:
    site.answer = lambda: HttpReply(200, {}, body)
    with pytest.raises(ClientKeysError):
        site.kids()
    with pytest.raises(ClientKeysError):
        site.kids()
    assert site.fetches == 1


@pytest.mark.parametrize("status", [204, 301, 302, 404, 500])
def test_only_an_answer_of_200_counts(site: Site, status: int) -> None:
    site.answer = lambda: HttpReply(status, {}, site.ok(rsa()).body)
    with pytest.raises(ClientKeysError):
        site.kids()


def test_an_address_that_may_not_be_contacted_gives_no_keys(site: Site) -> None:
    def refused() -> HttpReply:
        raise OutboundRefusedError("app.example is not contacted: 10.0.0.1 is a private address")

    site.answer = refused
    with pytest.raises(ClientKeysError):
        site.kids()


def test_one_broken_key_does_not_take_the_others_with_it(site: Site) -> None:
    broken = [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "oct", "k": "eA"}, {"kty": "EC"}, 5, {"kty": "RSA", "d": "x"}]
    body = json.dumps({"keys": [*broken, *public(rsa())["keys"]]}).encode()
    site.answer = lambda: HttpReply(200, {}, body)
    assert site.kids() == ["rsa"]


def test_those_who_ask_at_once_share_one_fetch(site: Site) -> None:
    def slow() -> HttpReply:
        time.sleep(0.2)
        return site.ok(rsa())

    site.answer = slow
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: site.kids("rsa"), range(8))) == [["rsa"]] * 8
    assert site.fetches == 1


def test_a_server_that_hangs_holds_only_a_few_requests(site: Site) -> None:
    """Everybody else is answered at once: the provider's threads are not for one client's server to keep."""
    gate, waiting = threading.Event(), threading.Semaphore(0)

    def hang() -> HttpReply:
        waiting.release()
        gate.wait(20)
        return site.ok(rsa())

    site.answer = hang
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(site.kids, "rsa") for _ in range(30)]
        waiting.acquire()
        deadline = time.monotonic() + 10
        while sum(each.done() for each in asked) < 22 and time.monotonic() < deadline:
            time.sleep(0.01)
        turned_away = [each for each in asked if each.done()]
        assert len(turned_away) == 22
        assert all(isinstance(each.exception(), ClientKeysError) for each in turned_away)
        gate.set()
        assert sum(each.exception() is None for each in asked) == 8
    assert site.fetches == 1


def test_what_is_remembered_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idp.clients.keys._MAXIMUM_KEPT", 10)
    monkeypatch.setattr(site, "get", lambda _url, headers=None: site.ok(rsa()))
    for number in range(50):
        site.keys.at(f"https://app.example/{number}", None)
    assert len(site.keys._kept) == 10
