"""What stands around the rule: the form, the keys that change, the memory of what was received."""

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from joserfc.jwk import RSAKey

from examples.receiver import COOL_DOWN, Answer, Keys, LogoutToken, Receiver, keys_of
from tests.examples.conftest import CLIENT_ID, ISSUER, NOW

Sign = Callable[..., str]
Claims = dict[str, Any]


class World:
    """A provider's published keys, how often they were asked for, and a clock to move."""

    def __init__(self, keys: Keys) -> None:
        self.keys, self.now, self.fetches, self.down = keys, NOW, 0, False
        self.ended: list[LogoutToken] = []
        self.receiver = Receiver(issuer=ISSUER, client_id=CLIENT_ID, fetch=self.fetch, clock=lambda: self.now)

    def fetch(self, _issuer: str) -> Keys:
        down = self.down
        self.fetches += 1
        if down:
            message = "refused"
            raise httpx2.ConnectError(message)
        return self.keys

    def post(self, token: str) -> Answer:
        return self.receiver.receive(urlencode({"logout_token": token}).encode(), self.ended.append)


@pytest.fixture
def world(keys: Keys) -> World:
    return World(keys)


def test_a_good_request_is_carried_out(world: World, sign: Sign, claims: Claims) -> None:
    answer = world.post(sign(claims))
    assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (200, "", "no-store")
    assert [token.sid for token in world.ended] == ["sid-of-alice"]


def test_a_refusal_says_why_and_is_not_cached(world: World, sign: Sign, claims: Claims) -> None:
    answer = world.post(sign({**claims, "nonce": "n"}))
    assert (answer.status, answer.headers["Cache-Control"]) == (400, "no-store")
    assert answer.headers["Content-Type"] == "application/json"
    assert '"error": "invalid_request"' in answer.body
    assert "nonce is present" in answer.body
    assert world.ended == []


def test_a_repeated_token_is_answered_well_and_ends_nothing_again(world: World, sign: Sign, claims: Claims) -> None:
    """The provider signs afresh with the same `jti` when it never saw our answer."""
    assert world.post(sign(claims)).status == 200
    assert world.post(sign({**claims, "iat": claims["iat"] + 5, "exp": claims["exp"] + 5})).status == 200
    assert len(world.ended) == 1


def test_a_token_whose_ending_failed_may_come_again(world: World, sign: Sign, claims: Claims) -> None:
    def fail(_token: LogoutToken) -> None:
        message = "the session store is away"
        raise OSError(message)

    body = urlencode({"logout_token": sign(claims)}).encode()
    with pytest.raises(OSError, match="away"):
        world.receiver.receive(body, fail)
    assert world.receiver.receive(body, world.ended.append).status == 200
    assert len(world.ended) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"logout_token=", b"token=x", b"logout_token=a&logout_token=b", b"\xff\xfe", b'{"logout_token": "x"}', b"a=1&" * 40],
)
def test_a_body_that_is_not_one_logout_token_is_refused(world: World, body: bytes) -> None:
    assert world.receiver.receive(body, world.ended.append).status == 400


def test_a_body_beyond_measure_is_refused(world: World) -> None:
    assert world.receiver.receive(b"logout_token=" + b"x" * 100_000, world.ended.append).status == 400
    assert world.fetches == 0


def test_keys_are_fetched_once_for_many_tokens(world: World, sign: Sign, claims: Claims) -> None:
    assert {world.post(sign({**claims, "jti": f"jti-{number}"})).status for number in range(5)} == {200}
    assert world.fetches == 1


def test_keys_fetched_at_a_sign_in_serve_the_first_token_without_the_provider(world: World, sign: Sign, claims: Claims) -> None:
    world.receiver.warm()
    deadline = time.monotonic() + 5
    while not world.fetches and time.monotonic() < deadline:
        time.sleep(0.01)
    world.down = True
    assert world.post(sign(claims)).status == 200
    world.receiver.warm()
    assert world.fetches == 1


def test_a_rotated_key_is_fetched_when_its_first_token_comes(world: World, sign: Sign, claims: Claims) -> None:
    world.post(sign(claims))
    fresh = RSAKey.generate_key(2048, {"kid": "k2", "use": "sig"})
    world.keys = keys_of({"keys": [fresh.as_dict(private=False)]})
    world.now += COOL_DOWN
    assert world.post(sign({**claims, "jti": "jti-2"}, key=fresh, kid="k2")).status == 200
    assert world.fetches == 2


def test_a_kid_that_the_provider_does_not_have_is_refused(world: World, sign: Sign, claims: Claims) -> None:
    assert world.post(sign(claims, kid="invented")).status == 400


def test_invented_kids_do_not_flood_the_provider(world: World, sign: Sign, claims: Claims) -> None:
    answers = [world.post(sign(claims, kid=f"invented-{number}")) for number in range(20)]
    assert world.fetches == 1
    assert {answer.status for answer in answers[1:]} == {503}
    assert answers[1].headers["Retry-After"] == str(COOL_DOWN)


def test_invented_kids_do_not_make_us_refuse_a_new_key_for_good(world: World, sign: Sign, claims: Claims) -> None:
    world.post(sign(claims, kid="invented"))
    fresh = RSAKey.generate_key(2048, {"kid": "k2"})
    world.keys = keys_of({"keys": [fresh.as_dict(private=False)]})
    token = sign(claims, key=fresh, kid="k2")
    assert world.post(token).status == 503
    world.now += COOL_DOWN
    assert world.post(token).status == 200


def test_without_keys_the_provider_is_asked_to_come_again(world: World, sign: Sign, claims: Claims) -> None:
    world.down = True
    assert world.post(sign(claims)).status == 503
    world.down, world.now = False, world.now + COOL_DOWN
    assert world.post(sign(claims)).status == 200


def test_many_first_tokens_at_once_cost_one_fetch_and_are_all_carried_out(world: World, sign: Sign, claims: Claims) -> None:
    tokens = [sign({**claims, "jti": f"jti-{number}"}) for number in range(8)]
    together, answers = threading.Barrier(len(tokens)), []

    def post(token: str) -> None:
        together.wait()
        answers.append(world.post(token).status)

    threads = [threading.Thread(target=post, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, world.fetches, len(world.ended)) == ([200] * 8, 1, 8)
