"""Following by status list: cacheable GETs alone, and a token whose status is not known to be good is not accepted."""

import time
import zlib

import pytest

from idp.protocol.status_list import packed as pack
from idp.verifier import (
    EndedTokenError,
    Guard,
    MalformedTokenError,
    StaleError,
    StatusList,
    TokenError,
    UncertainError,
    UnknownListError,
    Verifier,
    status_list,
)
from idp.verifier.guard import ENDED
from idp.verifier.lists import made_ago
from idp.verifier.rules import status_of
from idp.verifier.wire import Answer
from tests.verifier.clocks import Clock
from tests.verifier.conftest import Make, until
from tests.verifier.signing import access_token, b64, key, signed
from tests.verifier.transmitter import Transmitter

KEYS = {"one": key("one")}


def packed(statuses: dict[int, int], bits: int = 2, size: int = 1024) -> str:
    data = bytearray(size * bits // 8)
    for index, status in statuses.items():
        data[index * bits // 8] |= status << (index * bits % 8)
    return b64(zlib.compress(bytes(data)))


def list_claims(uri: str, statuses: dict[int, int], **claims: object) -> dict[str, object]:
    made = {"sub": uri, "iat": int(time.time()), "exp": int(time.time()) + 600, "ttl": 10}
    made["status_list"] = {"bits": 2, "lst": packed(statuses)}
    return {name: value for name, value in (made | claims).items() if value is not None}


class Publisher:
    """A provider with one list."""

    def __init__(self, transmitter: Transmitter) -> None:
        self.transmitter = transmitter
        self.uri = f"{transmitter.issuer}/status/0"
        self.statuses: dict[int, int] = {}

    def publish(self, headers: dict[str, str] | None = None, typ: str = "statuslist+jwt", **claims: object) -> None:
        text = signed(list_claims(self.uri, self.statuses, **claims), typ)
        self.transmitter.documents["/status/0"] = (
            text.encode(),
            {"Content-Type": "application/statuslist+jwt", **(headers or {})},
        )

    def token(self, index: int, uri: str | None = None, lasts: int = 3600) -> str:
        reference = {"status_list": {"idx": index, "uri": uri or self.uri}}
        return access_token(self.transmitter.issuer, status=reference, exp=int(time.time()) + lasts)

    @property
    def fetches(self) -> int:
        return self.transmitter.count("GET /status/0")


@pytest.fixture
def publisher(transmitter: Transmitter) -> Publisher:
    made = Publisher(transmitter)
    made.publish()
    return made


@pytest.fixture
def verifier(transmitter: Transmitter, verifier_of: Make) -> Verifier:
    return verifier_of(transmitter.issuer, follow=StatusList(), max_staleness=60.0)


def test_the_specifications_own_lists_are_read() -> None:
    """Token Status List, "Compressed Byte Array": one bit, and two bits."""
    for bits, lst, expected in (
        (1, "eNrbuRgAAhcBXQ", [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
        (2, "eNo76fITAAPfAgc", [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
    ):
        claims = list_claims("https://idp.example/status/0", {}, status_list={"bits": bits, "lst": lst})
        found = status_list.read(signed(claims, "statuslist+jwt"), KEYS, "https://idp.example", "https://idp.example/status/0")
        assert [found.status(index) for index in range(len(expected))] == expected


def test_a_token_is_accepted_until_its_family_ends(publisher: Publisher, verifier: Verifier, clock: Clock) -> None:
    token, other = publisher.token(5), publisher.token(6)
    verifier.verify(token)
    publisher.statuses[5] = 1
    publisher.publish()
    clock.elapsed_moved += 11
    until(lambda: publisher.fetches == 2)
    until(lambda: _is_ended(verifier, token))
    verifier.verify(other)


def _is_ended(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except EndedTokenError:
        return True
    return False


def test_a_list_is_fetched_once_for_very_many_tokens(publisher: Publisher, verifier: Verifier) -> None:
    for index in range(200):
        verifier.verify(publisher.token(index))
    assert publisher.fetches == 1


def test_what_the_provider_has_to_be_asked_about_is_refused_without_credentials(
    publisher: Publisher, verifier: Verifier
) -> None:
    publisher.statuses[7] = 3
    publisher.publish()
    with pytest.raises(UncertainError):
        verifier.verify(publisher.token(7))


@pytest.mark.parametrize("active", [True, False])
def test_what_the_provider_has_to_be_asked_about_is_asked_where_it_may_be(
    transmitter: Transmitter, publisher: Publisher, verifier_of: Make, active: bool
) -> None:
    verifier = verifier_of(transmitter.issuer, follow=StatusList(), credentials=("c", "s"))
    publisher.statuses[7] = 3
    publisher.publish()
    transmitter.active = active
    if active:
        verifier.verify(publisher.token(7))
    else:
        with pytest.raises(EndedTokenError):
            verifier.verify(publisher.token(7))
    assert transmitter.count("POST /introspect") == 1


def test_a_token_without_a_status_is_not_accepted(transmitter: Transmitter, publisher: Publisher, verifier: Verifier) -> None:
    with pytest.raises(UncertainError):
        verifier.verify(access_token(transmitter.issuer))
    for odd in (
        {"uri": 1, "idx": 1},
        {"uri": publisher.uri},
        {"uri": publisher.uri, "idx": -1},
        {"uri": publisher.uri, "idx": True},
    ):
        with pytest.raises(MalformedTokenError):
            verifier.verify(access_token(transmitter.issuer, status={"status_list": odd}))


def test_a_token_beyond_the_end_of_its_list_is_dead(publisher: Publisher, verifier: Verifier) -> None:
    with pytest.raises(EndedTokenError):
        verifier.verify(publisher.token(10**9))


def test_a_socket_is_closed_when_the_list_says_that_its_family_ended(
    publisher: Publisher, verifier: Verifier, clock: Clock
) -> None:
    closed: dict[int, tuple[int, str]] = {}
    publisher.statuses |= {9: 1}
    publisher.publish()
    with Guard(verifier) as guard:
        for index in (5, 6, 7):
            guard.bind(verifier.verify(publisher.token(index)), None, lambda *why, index=index: closed.update({index: why}))
        publisher.statuses |= {5: 1, 6: 3}  # of 6 a single token was revoked, perhaps another one
        publisher.publish()
        clock.pass_by(15)
        until(lambda: closed)
        assert closed == {5: (4401, ENDED)}
        assert len(guard) == 2
        late = guard.bind({"status": {"status_list": {"idx": 9, "uri": publisher.uri}}}, time.time() + 60, lambda *_: None)
        assert late.closed, "what had ended before the list was there"


def patient(publisher: Publisher, verifier_of: Make) -> Verifier:
    """One that a leap of the clock does not make stale."""
    publisher.transmitter.max_age = 86_400
    return verifier_of(publisher.transmitter.issuer, follow=StatusList(), max_staleness=10_000.0)


def test_a_socket_hears_of_its_end_however_long_no_other_token_of_its_list_was_seen(
    publisher: Publisher, verifier_of: Make, clock: Clock
) -> None:
    verifier = patient(publisher, verifier_of)
    closed: list[tuple[int, str]] = []
    with Guard(verifier) as guard:
        handle = guard.bind(verifier.verify(publisher.token(5, lasts=7200)), None, lambda *why: closed.append(why))
        before = publisher.fetches
        clock.pass_by(3700)
        until(lambda: publisher.fetches > before)
        assert not handle.closed
        publisher.statuses[5] = 1
        publisher.publish()
        clock.pass_by(15)
        until(lambda: closed)
    assert closed == [(4401, ENDED)]


def test_a_socket_that_is_to_last_longer_than_its_token_goes_with_the_list(
    publisher: Publisher, verifier_of: Make, clock: Clock
) -> None:
    verifier = patient(publisher, verifier_of)
    closed: list[tuple[int, str]] = []
    with Guard(verifier) as guard:
        claims = verifier.verify(publisher.token(5, lasts=600))
        guard.bind(claims, time.time() + 86_400, lambda *why: closed.append(why))
        clock.pass_by(3700)
        until(lambda: closed)
        assert closed == [(4401, ENDED)]
        assert guard.bind(claims, time.time() + 86_400, lambda *_: None).closed, "nobody follows its list any more"


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ({"date": "Thu, 01 Jan 1970 00:16:40 GMT"}, 1),
        ({"date": "Thu, 01 Jan 1970 00:16:45 GMT"}, 6),
        ({"date": "Thu, 01 Jan 1970 00:16:40 GMT", "age": "3"}, 5),
        ({}, 11),
        ({"age": "60"}, 62),
    ],
)
def test_a_list_is_never_taken_for_younger_than_it_may_be(headers: dict[str, str], age: float) -> None:
    """`iat`, `Date` and `Age` are whole seconds: each may hide one. Made at 1000, to be kept for 10 s."""
    found = status_list.FetchedStatusList(2, b"", 1000.0, None, 10.0)
    assert made_ago(Answer(200, headers, b""), found, 1000.0) == age


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_what_has_ended_since_an_older_list_is_found(bits: int) -> None:
    def made(statuses: dict[int, int], size: int = 64) -> status_list.FetchedStatusList:
        return status_list.FetchedStatusList(bits, pack(statuses, size, bits), 0.0, None, 1.0)

    old, new = made({1: 1, 40: 1}), made({1: 1, 2: 1, 40: 1, 63: 1})
    assert {2, 63} <= set(new.ended_since(old)) <= {1, 2, 63}
    assert set(new.ended_since(new)) == set()
    assert set(new.ended_since(None)) == set(new.ended_since(made({}, 8))) == {1, 2, 40, 63}


@pytest.mark.parametrize(
    "status",
    [
        None,
        5,
        {},
        {"status_list": 5},
        {"status_list": {"uri": "x"}},
        {"status_list": {"idx": 5, "uri": 5}},
        {"status_list": {"idx": True, "uri": "x"}},
    ],
)
def test_claims_without_a_place_name_none(status: object) -> None:
    assert status_of({"status": status}) is None


def test_when_the_list_cannot_be_fetched_tokens_are_refused_after_max_staleness(
    publisher: Publisher, verifier: Verifier, clock: Clock
) -> None:
    token = publisher.token(5)
    verifier.verify(token)
    del publisher.transmitter.documents["/status/0"]
    clock.elapsed_moved += 55
    verifier.verify(token)
    clock.elapsed_moved += 6
    with pytest.raises(StaleError):
        verifier.verify(token)
    assert verifier.refuses


@pytest.mark.parametrize("skew", [0.0, -30.0, 30.0])
def test_a_copy_out_of_a_cache_is_as_old_as_it_is(publisher: Publisher, verifier: Verifier, clock: Clock, skew: float) -> None:
    """Made 30 s before the provider sent it, and in a cache for 45 s since then: by its clock, whatever ours says."""
    clock.wall_moved = skew
    publisher.publish({"Age": "45"}, iat=int(time.time()) - 30)
    with pytest.raises(StaleError):
        verifier.verify(publisher.token(5))
    assert 74 <= verifier.state.staleness <= 80


@pytest.mark.parametrize(
    ("claims", "typ"),
    [
        ({"sub": "https://evil.example/status/0"}, "statuslist+jwt"),
        ({"iss": "https://evil.example"}, "statuslist+jwt"),
        ({"iat": None}, "statuslist+jwt"),
        ({"status_list": None}, "statuslist+jwt"),
        ({"status_list": {"bits": 3, "lst": packed({})}}, "statuslist+jwt"),
        ({"status_list": {"bits": 2, "lst": "!!"}}, "statuslist+jwt"),
        ({"status_list": {"bits": 2, "lst": b64(zlib.compress(b"x" * 100)[:-5])}}, "statuslist+jwt"),
        ({"status_list": {"bits": 2, "lst": b64(zlib.compress(bytes(8 * 1024 * 1024)))}}, "statuslist+jwt"),
        ({}, "JWT"),
    ],
)
def test_a_list_that_is_not_believed_is_as_good_as_none(
    publisher: Publisher, verifier: Verifier, claims: dict[str, object], typ: str
) -> None:
    publisher.publish(typ=typ, **claims)
    with pytest.raises(UnknownListError) as refused:
        verifier.verify(publisher.token(5))
    assert refused.value.status == 503


def test_a_list_elsewhere_is_never_fetched(transmitter: Transmitter, publisher: Publisher, verifier: Verifier) -> None:
    before = len(transmitter.asked)
    for uri in (f"{transmitter.issuer}.evil.example/status/0", "http://169.254.169.254/", "file:///etc/passwd", "x"):
        with pytest.raises(UnknownListError):
            verifier.verify(publisher.token(5, uri))
    assert len(transmitter.asked) == before


def test_lists_that_are_not_there_cause_no_storm(transmitter: Transmitter, publisher: Publisher, verifier: Verifier) -> None:
    token = publisher.token(5, f"{transmitter.issuer}/status/1")
    for _ in range(100):
        with pytest.raises(TokenError):
            verifier.verify(token)
    assert transmitter.count("GET /status/1") == 1
