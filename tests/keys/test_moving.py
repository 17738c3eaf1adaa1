"""Moving to an HSM is a planned rotation: keys made from then on are in it, those before live out their time."""

import json
import threading
from collections.abc import Callable, Iterator

import pkcs11
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from idp.keys.pkcs11.hsm import RETRY_SECONDS, Hsm
from idp.keys.rules import REVOCATION_GRACE
from idp.keys.service import KeyService
from idp.keys.signer import SigningUnavailableError
from idp.runtime.database import Database
from idp.runtime.secrets import Secrets
from tests.keys.conftest import BITS, POLICY, SECRET
from tests.keys.grounds import Clock
from tests.support.softhsm import Token


@pytest.fixture
def hsm(hsm_token: Token, clock: Clock) -> Iterator[Hsm]:
    made = Hsm(hsm_token.module, hsm_token.label, hsm_token.pin, BITS, clock)
    yield made
    made.close()


@pytest.fixture
def moved(database: Database, hsm: Hsm) -> Callable[[], KeyService]:
    """Another instance of the provider, set up with the HSM."""
    return lambda: KeyService(database, Secrets((SECRET,)), POLICY, BITS, hsm=hsm)


def held(token: Token) -> set[str]:
    """The private keys that are in the token, each by the hexadecimal of its CKA_ID."""
    session = pkcs11.lib(token.module).get_token(token_label=token.label).open()
    found = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
    return {each[pkcs11.Attribute.ID].hex() for each in found}


def rotate(service: KeyService, clock: Clock) -> None:
    """Let a rotation period pass."""
    clock.now += POLICY.rotation_period
    service.keep_up()


def test_from_the_database_to_the_hsm_no_valid_token_fails(
    keys: KeyService, moved: Callable[[], KeyService], clock: Clock, hsm_token: Token
) -> None:
    assert [span.key.holder for span in keys.spans()] == ["database", "database"]
    service = moved()
    signed: list[tuple[float, str]] = []
    holders = []
    for _ in range(4 * 20):
        clock.now += POLICY.rotation_period / 20
        service.keep_up()
        token = service.sign("JWT", {"sub": "x"}, clock.now)
        kid = jwt.decode(token, KeySet.import_key_set(json.loads(service.document().body)), ["RS256"]).header["kid"]
        holders.append(next(span.key.holder for span in service.spans() if span.key.kid == kid))
        signed = [(at, each) for at, each in [*signed, (clock.now, token)] if clock.now - at <= POLICY.longest_life]
        keys.load()
        for verifier in (service, keys):
            assert all(verifier.verify(each, "JWT", clock.now) == {"sub": "x"} for _, each in signed)
    assert holders == sorted(holders)
    assert set(holders) == {"database", "pkcs11"}
    assert held(hsm_token)


def test_a_restart_signs_with_the_key_in_the_hsm(moved: Callable[[], KeyService], clock: Clock) -> None:
    before = moved()
    before.keep_up()
    again = moved()
    again.keep_up()
    assert again.spans() == before.spans()
    assert before.verify(again.sign("JWT", {"sub": "x"}, clock.now), "JWT", clock.now) == {"sub": "x"}


def test_the_row_of_a_key_in_the_hsm_names_it_sealed(
    moved: Callable[[], KeyService], database: Database, hsm_token: Token
) -> None:
    moved().keep_up()
    with database.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT sealed FROM signing_keys").all()
    assert len(held(hsm_token)) == len(rows) == 2
    for (sealed,) in rows:
        assert len(sealed) < 64
        assert not any(bytes.fromhex(name) in bytes(sealed) for name in held(hsm_token))


def test_instances_that_start_at_once_leave_nothing_in_the_hsm_that_nobody_uses(
    moved: Callable[[], KeyService], hsm_token: Token
) -> None:
    services = [moved() for _ in range(4)]
    together = threading.Barrier(len(services))

    def start(service: KeyService) -> None:
        together.wait()
        service.keep_up()

    threads = [threading.Thread(target=start, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({service.document().body for service in services}) == 1
    assert len(held(hsm_token)) == 2


def test_a_removed_key_is_destroyed_in_the_hsm(moved: Callable[[], KeyService], clock: Clock, hsm_token: Token) -> None:
    service = moved()
    service.keep_up()
    first = held(hsm_token)
    rotate(service, clock)
    assert first < held(hsm_token)
    clock.now += POLICY.retention
    service.keep_up()
    assert len(held(hsm_token) & first) == 1
    assert len(held(hsm_token)) == 2


def test_a_revoked_key_is_destroyed_when_every_instance_has_heard_of_it(
    moved: Callable[[], KeyService], database: Database, clock: Clock, hsm_token: Token
) -> None:
    service = moved()
    service.keep_up()
    first = held(hsm_token)
    with database.writing() as tx:
        tx.connection.exec_driver_sql(
            f"UPDATE signing_keys SET revoked_at = {clock.now}, revoked_reason = 'test' WHERE predecessor = ''"
        )
    service.keep_up()
    assert first <= held(hsm_token)
    clock.now += REVOCATION_GRACE
    service.keep_up()
    assert len(held(hsm_token) & first) == 1


def test_while_the_hsm_is_away_signing_fails_verifying_goes_on_and_health_tells(
    moved: Callable[[], KeyService], clock: Clock, hsm_token: Token
) -> None:
    service = moved()
    service.keep_up()
    token = service.sign("JWT", {"sub": "x"}, clock.now)
    document = service.document()
    with hsm_token.away():
        with pytest.raises(SigningUnavailableError):
            service.sign("JWT", {}, clock.now)
        assert "does not answer" in str(service.problem())
        assert service.verify(token, "JWT", clock.now) == {"sub": "x"}
        assert service.document() is document
    clock.now += RETRY_SECONDS
    assert service.problem() is None
    assert service.sign("JWT", {}, clock.now)


def test_a_key_that_somebody_deleted_in_the_hsm_is_told_before_it_is_due(
    moved: Callable[[], KeyService], clock: Clock, hsm: Hsm, hsm_token: Token
) -> None:
    service = moved()
    service.keep_up()
    for name in held(hsm_token):
        hsm.destroy(bytes.fromhex(name))
    assert "does not have the key" in str(service.problem())
    with pytest.raises(SigningUnavailableError):
        service.sign("JWT", {}, clock.now)


def test_an_instance_without_the_hsm_s_settings_verifies_and_says_why_it_cannot_sign(
    moved: Callable[[], KeyService], instance: Callable[..., KeyService], clock: Clock
) -> None:
    service, stranger = moved(), instance()
    service.keep_up()
    stranger.keep_up()
    token = service.sign("JWT", {"sub": "x"}, clock.now)
    assert stranger.verify(token, "JWT", clock.now) == {"sub": "x"}
    assert "IDP_KEYS_PKCS11_MODULE" in str(stranger.problem())
    with pytest.raises(SigningUnavailableError, match="IDP_KEYS_PKCS11_MODULE"):
        stranger.sign("JWT", {}, clock.now)
