"""Several algorithms: each its own line of keys, switched on and off by a setting; RS256 is always there."""

import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from idp.keys.keyring import generate
from idp.keys.rules import REVOCATION_GRACE, KeyState
from idp.keys.service import InvalidTokenError, KeyService
from idp.keys.signer import SigningUnavailableError
from idp.protocol.signatures import ALGORITHMS, half_hash
from idp.runtime.database import Database
from idp.runtime.secrets import Secrets
from tests.keys.conftest import BITS, POLICY, SECRET
from tests.keys.grounds import EPOCH, Clock

Make = Callable[..., KeyService]


@pytest.fixture
def make(database: Database, clock: Clock) -> Make:
    """Another instance of the provider, with these algorithms switched on."""

    def made(*algorithms: str, bits: int = BITS) -> KeyService:
        service = KeyService(database, Secrets((SECRET,)), POLICY, bits, algorithms=algorithms or ("RS256",))
        service.keep_up()
        return service

    return made


def published(service: KeyService) -> jwt.PyJWKSet:
    return jwt.PyJWKSet.from_json(service.document().body.decode())


def line(service: KeyService, alg: str) -> list[KeyState]:
    now = service._database.clock()
    return [span.state(now) for span in service.spans() if span.key.alg == alg]


def test_each_algorithm_has_its_own_line_and_signs_what_others_verify(make: Make, clock: Clock) -> None:
    service = make(*ALGORITHMS)
    keys = published(service)
    assert sorted(key.algorithm_name for key in keys.keys) == sorted(ALGORITHMS * 2)
    for alg in ALGORITHMS:
        assert line(service, alg) == [KeyState.SIGNING, KeyState.ANNOUNCED]
        token = service.sign("JWT", {"sub": "x", "exp": 2**33}, clock.now, alg)
        kid = jwt.get_unverified_header(token)["kid"]
        assert jwt.decode(token, keys[kid], algorithms=[alg])["sub"] == "x"
        assert service.verify(token, "JWT", clock.now)["sub"] == "x"


def test_one_lines_key_is_never_believed_under_anothers_name(make: Make, clock: Clock) -> None:
    service = make("RS256", "RS512")
    token = service.sign("JWT", {"sub": "x"}, clock.now, "RS512")
    header, claims, signature = token.split(".")
    from base64 import urlsafe_b64decode, urlsafe_b64encode

    said = json.loads(urlsafe_b64decode(header + "==")) | {"alg": "RS256"}
    forged = urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidTokenError):
        service.verify(f"{forged}.{claims}.{signature}", "JWT", clock.now)


def test_what_is_not_switched_on_does_not_sign(make: Make, clock: Clock) -> None:
    with pytest.raises(SigningUnavailableError):
        make().sign("JWT", {}, clock.now, "ES256")


def test_a_line_that_is_switched_on_later_announces_its_first_key_before_it_signs(make: Make, clock: Clock) -> None:
    make()
    clock.now += 1  # relying parties have the JWKS without it
    service = make("RS256", "ES256")
    assert line(service, "ES256") == [KeyState.ANNOUNCED]
    assert not service.can_sign("ES256")
    assert service.problem() is None
    clock.now += POLICY.announcement
    service.keep_up()
    assert line(service, "ES256") == [KeyState.SIGNING, KeyState.ANNOUNCED]


def test_a_line_that_is_switched_off_lives_out_its_time_and_nothing_new_is_made_for_it(make: Make, clock: Clock) -> None:
    before = make("RS256", "ES256")
    token = before.sign("JWT", {"sub": "x"}, clock.now, "ES256")
    after = make()
    assert after.verify(token, "JWT", clock.now) == {"sub": "x"}
    assert after.algorithms == ("RS256",)
    for _ in range(2):
        clock.now += POLICY.rotation_period
        after.keep_up()
    assert line(after, "ES256") == [KeyState.REMOVED, KeyState.VERIFYING]
    clock.now += POLICY.retention
    after.keep_up()
    after.load()
    assert line(after, "ES256") == [KeyState.REMOVED, KeyState.REVOKED]
    assert {key.algorithm_name for key in published(after).keys} == {"RS256"}
    again = make("RS256", "ES256")
    assert line(again, "ES256")[-1] is KeyState.ANNOUNCED
    assert not again.can_sign("ES256")


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_an_rsa_key_is_as_long_as_asked_and_its_kid_is_its_thumbprint(bits: int) -> None:
    public, _ = generate(bits, "RS256")
    key = jwt.PyJWK(public)
    assert key.key.key_size == bits
    from joserfc.jwk import RSAKey

    assert public["kid"] == RSAKey.import_key({name: public[name] for name in ("kty", "n", "e")}).thumbprint()


def test_the_half_hash_is_that_of_the_algorithm() -> None:
    """OIDC Core §3.1.3.6: the hash of the signature; Ed25519 signs with SHA-512."""
    lengths = {alg: len(half_hash("token", alg)) for alg in ALGORITHMS}
    assert lengths == {"RS256": 22, "PS256": 22, "ES256": 22, "RS384": 32, "RS512": 43, "EdDSA": 43}


def test_the_cache_time_is_shortened_as_a_change_comes_near(make: Make, clock: Clock) -> None:
    service = make()
    assert service.document().max_age == POLICY.max_age
    first = service.document()
    change = service.spans()[0].removed_at
    assert change is not None
    publication = service.spans()[1].key.active_at  # its own successor is published then
    clock.now = publication - 60
    service.keep_up()
    assert service.document().max_age == 60
    assert service.document().etag == first.etag
    clock.now = publication - 10
    assert service.document().max_age == 10
    clock.now = publication - 0.2
    assert service.document().max_age == 1
    clock.now = publication
    assert service.document().max_age == POLICY.max_age
    assert service.document().etag != first.etag


def test_a_larger_policy_is_remembered_by_the_keys_that_lived_under_it(database: Database, make: Make, clock: Clock) -> None:
    """Caches and tokens of before a change obey the policy of their time."""
    from dataclasses import replace

    long = replace(POLICY, max_age=3_000, longest_life=50_000)
    make()
    KeyService(database, Secrets((SECRET,)), long, BITS).keep_up()
    clock.now += 60
    service = make()
    first, second = service.spans()
    assert second.key.announcement == long.announcement
    assert first.removed_at == second.key.active_at + long.retention
    assert service.rotate()[1] == EPOCH + long.announcement


def test_every_change_of_a_key_is_told_once(make: Make, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    service = make()
    capsys.readouterr()
    turn = service.spans()[1].key.active_at
    for clock.now in (turn - 30, turn, turn, turn + POLICY.retention):
        service.keep_up()
    said = [each for each in capsys.readouterr().out.split() if each.startswith("key.") and each != "key.created"]
    assert said == ["key.planned", "key.verifying", "key.signing", "key.announced", "key.removed"]


def test_the_grace_after_a_revocation_is_longer_than_any_instance_takes_to_hear_of_it() -> None:
    assert REVOCATION_GRACE > 2 * 2.0


def test_the_folder_of_the_tests_is_there(folder: Path) -> None:
    assert folder.is_dir()
