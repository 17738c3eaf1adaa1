"""The cache contract: keys are fetched ahead, and for an unknown one at most once; what is no longer published is dead."""

import json
import threading

import pytest

from idp.protocol import events
from idp.verifier import BackChannel, StaleError, TokenError, UnknownKeyError, Verifier
from idp.verifier.keyring import COOL_DOWN, UNKNOWN_LIMIT, KeyRing
from tests.verifier.clocks import Clock
from tests.verifier.conftest import Make, until
from tests.verifier.signing import access_token, b64, key, opaque
from tests.verifier.transmitter import Transmitter


def document(*kids: str) -> bytes:
    return json.dumps({"keys": [key(kid).as_dict(private=False) for kid in kids]}).encode()


# -- pure -------------------------------------------------------------------------------------------------------------


def test_the_next_fetch_is_due_before_the_copy_is_too_old() -> None:
    ring = KeyRing()
    assert ring.age(0.0) == float("inf")
    ring.take(document("one"), '"a"', 100.0, 300.0)
    assert ring.age(400.0) == 0
    assert ring.age(410.0) == 10
    assert ring.due_in(100.0) == 240
    assert ring.due_in(1000.0) == 1
    ring.unchanged(340.0, 300.0)
    assert ring.due_in(340.0) == 240


def test_an_answer_that_was_asked_for_earlier_brings_no_dead_key_back() -> None:
    ring = KeyRing()
    ring.take(document("two"), None, 100.0, 300.0)
    ring.take(document("one", "two"), None, 99.0, 300.0)
    assert set(ring.keys) == {"two"}


def test_a_jwks_is_read_as_it_is_meant() -> None:
    ring = KeyRing()
    good = key("one").as_dict(private=False)
    odd = [{"kty": "EC"}, {"kty": "oct", "k": "AAAA", "kid": "o"}, good | {"kid": 1}, good | {"kid": "e", "use": "enc"}]
    ring.take(json.dumps({"keys": [good, *odd, good | {"kid": "p", "alg": "PS256"}]}).encode(), None, 1.0, 1.0)
    assert set(ring.keys) == {"one"}
    kept = ring.keys["one"]
    for broken in (
        b"",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b'{"keys": [1]}',
        b"[" * 100_000,
        b'{"keys": [{"kty": "RSA", "kid": "x"}]}',
        b'{"keys": [{"kty": "RSA", "kid": "x", "n": "***", "e": "AQAB"}]}',
        b'{"keys": [{"kty": "RSA", "kid": "x", "n": "", "e": "AQAB"}]}',
        json.dumps({"keys": [good | {"kid": "x", "e": "Ag"}]}).encode(),
    ):
        with pytest.raises(ValueError, match="JWKS"):
            ring.take(broken, None, 2.0, 1.0)
    ring.take(document("one", "two"), None, 2.0, 1.0)
    assert ring.keys["one"] is kept, "a key that is known is not parsed again"


def test_random_kids_are_asked_for_once_in_a_cool_down_and_remembered_within_bounds() -> None:
    ring = KeyRing()
    asked = [ring.may_ask_for(str(number), number * 0.001) for number in range(30_000)]
    assert sum(asked) == 3
    assert len(ring._unknown) <= UNKNOWN_LIMIT
    for number in range(2 * UNKNOWN_LIMIT):
        ring.may_ask_for(f"x{number}", 100 + number * (COOL_DOWN + 1))
    assert len(ring._unknown) == UNKNOWN_LIMIT


def test_a_kid_that_was_not_found_is_not_asked_for_again_for_a_minute() -> None:
    ring = KeyRing()
    assert ring.may_ask_for("x", 0.0)
    assert not ring.may_ask_for("x", COOL_DOWN + 1)
    assert ring.may_ask_for("y", COOL_DOWN + 1)
    assert ring.may_ask_for("x", 61.0 + COOL_DOWN)


# -- over HTTP --------------------------------------------------------------------------------------------------------


def test_a_new_key_is_fetched_at_its_first_token(transmitter: Transmitter, verifier_of: Make, clock: Clock) -> None:
    verifier = verifier_of(transmitter.issuer)
    clock.pass_by(COOL_DOWN)
    transmitter.published = ["one", "two"]
    before = transmitter.count("GET /jwks")
    verifier.verify(access_token(transmitter.issuer, kid="two"))
    verifier.verify(access_token(transmitter.issuer, kid="two"))
    assert transmitter.count("GET /jwks") == before + 1


def test_many_tokens_of_a_new_key_at_once_cause_one_fetch_and_are_all_accepted(
    transmitter: Transmitter, verifier_of: Make, clock: Clock
) -> None:
    verifier = verifier_of(transmitter.issuer)
    clock.pass_by(COOL_DOWN)
    transmitter.published = ["two"]
    tokens = [access_token(transmitter.issuer, kid="two") for _ in range(16)]
    before, good = transmitter.count("GET /jwks"), []
    threads = [threading.Thread(target=lambda token=token: good.append(verifier.verify(token))) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(good) == 16
    assert transmitter.count("GET /jwks") == before + 1


def test_random_kids_cause_no_storm_of_fetches(transmitter: Transmitter, verifier_of: Make, clock: Clock) -> None:
    verifier = verifier_of(transmitter.issuer)
    before = transmitter.count("GET")
    good = access_token(transmitter.issuer)
    for number in range(2000):
        clock.pass_by(0.01)  # 20 s in all
        with pytest.raises(UnknownKeyError):
            verifier.verify(_unknown(number))
        if number % 100 == 0:
            verifier.verify(good)
    assert transmitter.count("GET") - before <= 3


def _unknown(number: int) -> str:
    header = b64(json.dumps({"alg": "RS256", "kid": f"random-{number}", "typ": "at+jwt"}))
    return f"{header}.{b64('{}')}.{b64(bytes(256))}"


def test_a_key_that_left_the_jwks_is_dead_at_the_next_fetch(transmitter: Transmitter, verifier_of: Make) -> None:
    transmitter.published, transmitter.max_age = ["one", "two"], 1
    verifier = verifier_of(transmitter.issuer)
    token = access_token(transmitter.issuer, kid="two")
    verifier.verify(token)
    transmitter.published = ["one"]
    until(lambda: _is_refused(verifier, token))
    with pytest.raises(UnknownKeyError):
        verifier.verify(token)


def _is_refused(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except TokenError:
        return True
    return False


def test_a_revoked_key_is_dead_at_its_event_and_its_successor_is_fetched_at_once(
    transmitter: Transmitter, verifier_of: Make
) -> None:
    transmitter.published = ["one", "two"]
    verifier = verifier_of(transmitter.issuer)
    token = access_token(transmitter.issuer, kid="two")
    verifier.verify(token)
    transmitter.published = ["three"]
    transmitter.tell(events.KEY_REVOKED, opaque("two"), kid="three")
    until(lambda: verifier.has_ended([("kid", "two")]))
    with pytest.raises(TokenError):
        verifier.verify(token)
    verifier.verify(access_token(transmitter.issuer, kid="three"))


def test_a_cache_before_the_jwks_does_not_keep_a_revoked_key_alive(transmitter: Transmitter, verifier_of: Make) -> None:
    """The event is signed by a key that no copy has: the successor, or a spare that was never announced."""
    transmitter.has_cache = True
    transmitter.published = ["one", "two"]
    verifier = verifier_of(transmitter.issuer)
    token = access_token(transmitter.issuer, kid="two")
    verifier.verify(token)
    transmitter.published = ["one", "three"]
    transmitter.tell(events.KEY_REVOKED, opaque("two"), kid="three")
    until(lambda: verifier.has_ended([("kid", "two")]))
    assert _is_refused(verifier, token)
    verifier.verify(access_token(transmitter.issuer, kid="three"))


def test_a_copy_of_the_jwks_is_used_for_as_long_as_it_may_be(transmitter: Transmitter, verifier_of: Make, clock: Clock) -> None:
    transmitter.max_age = 3600
    verifier = verifier_of(transmitter.issuer)
    before = transmitter.count("GET /jwks")
    for _ in range(100):
        verifier.verify(access_token(transmitter.issuer))
    clock.pass_by(1.0)
    assert transmitter.count("GET /jwks") == before


def test_keys_that_were_not_seen_for_too_long_are_not_believed(
    transmitter: Transmitter, verifier_of: Make, clock: Clock
) -> None:
    verifier = verifier_of(transmitter.issuer, follow=BackChannel("c"), max_staleness=None)
    transmitter.fault = lambda _method, path: (500, {}, b"") if path == "/jwks" else None
    token = access_token(transmitter.issuer, exp=2**33)
    verifier.verify(token)
    clock.elapsed_moved += 300 + 3601
    with pytest.raises(StaleError):
        verifier.verify(token)
    assert verifier.refuses


def test_an_unchanged_jwks_is_not_sent_again_and_counts_as_seen(transmitter: Transmitter, verifier_of: Make) -> None:
    transmitter.max_age = 1
    verifier = verifier_of(transmitter.issuer, max_staleness=3.0)
    until(lambda: transmitter.unchanged >= 3)
    verifier.verify(access_token(transmitter.issuer))
