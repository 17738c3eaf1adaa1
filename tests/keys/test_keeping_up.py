"""Keys in the database: instances agree without talking, and nothing private can be read there or in the JWKS."""

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import KeySet

from idp.keys.rules import REFRESH_SECONDS, KeyState
from idp.keys.schedule import Resealed
from idp.keys.sealing import UnsealError
from idp.keys.service import InvalidTokenError, KeyService
from idp.runtime.database import Database
from tests.keys.conftest import POLICY, SECRET
from tests.keys.grounds import EPOCH, Clock

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def states(service: KeyService, clock: Clock) -> list[KeyState]:
    return [span.state(clock.now) for span in service.spans()]


def kid_of(token: str) -> str:
    segment = token.partition(".")[0]
    return str(json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))["kid"])


def published(service: KeyService) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = json.loads(service.document().body)["keys"]
    return keys


@pytest.mark.parametrize("instances", [2, 6])
def test_instances_that_start_at_the_same_moment_end_with_one_signing_key_and_one_successor(
    instance: Callable[..., KeyService], clock: Clock, instances: int
) -> None:
    services = [instance() for _ in range(instances)]
    together = threading.Barrier(instances)
    failed: list[BaseException] = []

    def start(service: KeyService) -> None:
        together.wait()
        try:
            service.keep_up()
        except BaseException as error:  # noqa: BLE001 - told by the test
            failed.append(error)

    threads = [threading.Thread(target=start, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    for service in services:
        service.load()
        assert states(service, clock) == [KeyState.SIGNING, KeyState.ANNOUNCED]
    assert len({service.document().body for service in services}) == 1
    token = services[0].sign("JWT", {"sub": "x"}, clock.now)
    assert services[-1].verify(token, "JWT", clock.now)["sub"] == "x"


def test_a_restart_makes_no_new_keys(keys: KeyService, instance: Callable[..., KeyService], clock: Clock) -> None:
    again = instance()
    again.keep_up()
    assert [span.key for span in again.spans()] == [span.key for span in keys.spans()]


def test_signing_follows_the_clock_and_no_valid_token_fails_anywhere(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock
) -> None:
    other = instance()
    other.load()
    signed: list[tuple[float, str]] = []
    kids = set()
    for step in range(60):
        clock.now = EPOCH + step * POLICY.rotation_period / 20
        keys.keep_up()
        other.load()
        token = keys.sign("JWT", {"step": step}, clock.now)
        kids.add(kid_of(token))
        signed = [(at, each) for at, each in [*signed, (clock.now, token)] if clock.now - at <= POLICY.longest_life]
        document = KeySet.import_key_set(json.loads(other.document().body))
        for _, each in signed:
            assert other.verify(each, "JWT", clock.now)
            assert jwt.decode(each, document, algorithms=["RS256"]).claims
    assert len(kids) == 3


def test_a_retired_key_verifies_as_long_as_its_tokens_may_live_and_then_only_as_a_hint(keys: KeyService, clock: Clock) -> None:
    turn = keys.spans()[1].key.active_at
    clock.now = turn - 1
    last = keys.sign("JWT", {"sub": "x"}, clock.now)
    clock.now = turn + POLICY.retention - 1
    keys.keep_up()
    assert keys.verify(last, "JWT", clock.now)
    clock.now = turn + POLICY.retention
    with pytest.raises(InvalidTokenError):
        keys.verify(last, "JWT", clock.now)
    assert keys.verify(last, "JWT", clock.now, as_hint=True)
    assert kid_of(last) not in {key["kid"] for key in published(keys)}


def test_an_announced_key_verifies_nothing_yet(keys: KeyService, clock: Clock) -> None:
    turn = keys.spans()[1].key.active_at
    early = keys.sign("JWT", {"sub": "x"}, turn)
    with pytest.raises(InvalidTokenError):
        keys.verify(early, "JWT", turn - 1)


def test_the_jwks_shows_no_private_member_and_two_keys_from_the_start(keys: KeyService) -> None:
    shown = published(keys)
    assert len(shown) == 2
    for key in shown:
        assert set(key) == {"kty", "n", "e", "kid", "alg", "use"}
        assert not PRIVATE_MEMBERS & set(key)
        assert key["alg"] == "RS256"
        assert key["use"] == "sig"
        assert key["kid"].replace("-", "").replace("_", "").isalnum()  # safe as a file name


def test_a_stolen_database_holds_no_private_key(database: Database, keys: KeyService, folder: Path) -> None:
    needles = [SECRET, b"PRIVATE KEY", b'"d"']
    for span in keys.spans():
        private = keys._keeper.ring.private[span.key.kid].key
        needles.append(private.as_pem(private=True))
        needles.append(private.raw_value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        numbers = private.raw_value.private_numbers()
        for number in (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
            raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
            needles += [raw, raw[::-1], raw.hex().encode(), str(number).encode()]
        needles += [str(value).encode() for name, value in private.as_dict(private=True).items() if name in PRIVATE_MEMBERS]
    with database.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT * FROM signing_keys").all()
    stored = b"".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    if database.dialect == "sqlite":
        stored += b"".join(path.read_bytes() for path in folder.glob("idp.sqlite3*"))
    assert len(rows) == 2
    for needle in needles:
        assert needle not in stored
        assert needle[:32] not in stored or len(needle) < 8


def test_another_secret_stops_the_start_with_a_sentence(keys: KeyService, instance: Callable[..., KeyService]) -> None:
    stranger = instance(b"some other secret that is long enough, too")
    with pytest.raises(UnsealError, match="IDP_SECRET_KEY"):
        stranger.load()


def test_a_secret_can_be_replaced_by_naming_both(keys: KeyService, instance: Callable[..., KeyService], clock: Clock) -> None:
    new = b"the new secret of this deployment, longer"
    both = instance(new, SECRET)
    both.keep_up()
    assert both.verify(keys.sign("JWT", {}, clock.now), "JWT", clock.now) == {}
    clock.now += POLICY.rotation_period
    both.keep_up()
    assert len(both.spans()) == 3


def test_keys_are_sealed_anew_and_the_old_secret_can_go(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock
) -> None:
    new = b"the new secret of this deployment, longer"
    token = keys.sign("JWT", {"sub": "x"}, clock.now)
    both = instance(new, SECRET)
    both.load()
    assert both.under_an_older_secret() == 2
    assert both.reseal() == Resealed(resealed=2, keys=2)
    assert both.reseal() == Resealed(resealed=0, keys=2)
    both.load()
    assert both.under_an_older_secret() == 0
    alone = instance(new)
    alone.keep_up()
    assert alone.verify(token, "JWT", clock.now) == {"sub": "x"}
    assert alone.sign("JWT", {}, clock.now)
    with pytest.raises(UnsealError):
        instance().load()


def test_rotating_lets_the_successor_sign_as_soon_as_everybody_can_know_it(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock
) -> None:
    other = instance()
    other.load()
    successor = keys.spans()[1].key.kid
    clock.now = EPOCH + 60
    kid, at = keys.rotate()
    assert (kid, at) == (successor, EPOCH + POLICY.announcement)
    other.keep_up()
    for service in (keys, other):
        assert kid_of(service.sign("JWT", {}, at - 1)) != successor
        assert kid_of(service.sign("JWT", {}, at)) == successor


def test_rotating_twice_promises_what_will_happen(keys: KeyService, clock: Clock) -> None:
    clock.now = EPOCH + POLICY.announcement
    first, at = keys.rotate()
    assert at == clock.now + POLICY.clock_skew + 2 * REFRESH_SECONDS  # so that every instance hears of it before
    clock.now = at
    second, then = keys.rotate()
    assert second != first
    assert then == clock.now + POLICY.announcement
    assert keys.rotate() == (second, then)


def test_rotations_at_the_same_moment_are_one(keys: KeyService, instance: Callable[..., KeyService], clock: Clock) -> None:
    clock.now = EPOCH + 60
    services = [keys, *(instance() for _ in range(3))]
    answers: list[tuple[str, float]] = []
    together = threading.Barrier(len(services))

    def rotate(service: KeyService) -> None:
        together.wait()
        answers.append(service.rotate())

    threads = [threading.Thread(target=rotate, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == len(services)
    assert len(set(answers)) == 1


def test_the_document_is_the_same_bytes_until_a_key_changes_its_state(keys: KeyService, clock: Clock) -> None:
    first = keys.document()
    clock.now += 3600
    assert keys.document() is first
    clock.now = EPOCH + POLICY.rotation_period + POLICY.retention
    keys.keep_up()
    assert keys.document().etag != first.etag


def test_health_tells_when_no_key_signs_or_the_successor_is_overdue(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock
) -> None:
    assert keys.problem() is None
    assert instance().problem() is not None
    clock.now = EPOCH + POLICY.rotation_period + 3600
    assert "overdue" in str(keys.problem())


def test_an_instance_whose_clock_is_a_little_behind_can_sign_from_the_first_start(
    keys: KeyService, instance: Callable[..., KeyService], clock: Clock
) -> None:
    clock.now = EPOCH - 30
    late = instance()
    late.keep_up()
    assert late.verify(late.sign("JWT", {"sub": "x"}, clock.now), "JWT", clock.now) == {"sub": "x"}
