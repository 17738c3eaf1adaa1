"""A PKCS#11 token (SoftHSM): its keys sign and stay in it; what is lost is opened again; a refused PIN is sent once."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jwt
import pkcs11
import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11.exceptions import AttributeSensitive

from idp.keys.pkcs11.hsm import RETRY_SECONDS, Hsm, HsmError, HsmSettingsError
from tests.keys.grounds import Clock
from tests.support.softhsm import Token

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA")


@pytest.fixture
def at() -> Clock:
    return Clock()


@pytest.fixture
def opened(hsm_token: Token, at: Clock) -> Iterator[Callable[..., Hsm]]:
    """Opens the token, as an operator set it up; `changed` are other settings."""
    made: list[Hsm] = []

    def make(rsa_bits: int = 2048, **changed: str) -> Hsm:
        settings = {"module": hsm_token.module, "label": hsm_token.label, "pin": hsm_token.pin} | changed
        made.append(Hsm(**settings, rsa_bits=rsa_bits, clock=at))
        made[-1].open()
        return made[-1]

    yield make
    for hsm in made:
        hsm.close()


@pytest.fixture
def hsm(opened: Callable[..., Hsm]) -> Hsm:
    return opened()


def verifies(public: bytes, alg: str, message: bytes, signature: bytes) -> bool:
    """Whether PyJWT takes the signature for one of this algorithm by this key."""
    return jwt.get_algorithm_by_name(alg).verify(message, load_der_public_key(public), signature)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_the_token_signs_verifies_as_jws(hsm: Hsm, alg: str) -> None:
    public, reference = hsm.make(alg)
    signature = hsm.signer(reference, alg).sign(b"header.payload")
    assert verifies(public, alg, b"header.payload", signature)
    assert not verifies(public, alg, b"header.payloae", signature)


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_an_rsa_key_is_as_long_as_asked(opened: Callable[..., Hsm], bits: int) -> None:
    public, _ = opened(rsa_bits=bits).make("RS256")
    assert load_der_public_key(public).key_size == bits


def test_a_private_half_cannot_be_read(hsm: Hsm, hsm_token: Token) -> None:
    _, reference = hsm.make("RS256")
    # The login is the process's: this session may do what the provider's may.
    session = pkcs11.lib(hsm_token.module).get_token(token_label=hsm_token.label).open()
    private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, id=reference)
    for secret in (pkcs11.Attribute.PRIVATE_EXPONENT, pkcs11.Attribute.PRIME_1, pkcs11.Attribute.PRIME_2):
        with pytest.raises(AttributeSensitive):
            private[secret]


def test_many_threads_sign_with_one_session(hsm: Hsm) -> None:
    public, reference = hsm.make("RS256")
    messages = [str(number).encode() for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        signatures = list(threads.map(hsm.signer(reference, "RS256").sign, messages))
    assert all(verifies(public, "RS256", *pair) for pair in zip(messages, signatures, strict=True))


def test_a_lost_session_is_opened_again_at_once(hsm: Hsm, hsm_token: Token) -> None:
    public, reference = hsm.make("RS256")
    hsm.sign(reference, "RS256", b"before")
    pkcs11.lib(hsm_token.module).finalize()
    assert verifies(public, "RS256", b"after", hsm.sign(reference, "RS256", b"after"))


def test_two_users_of_one_process_do_not_log_each_other_out_for_good(opened: Callable[..., Hsm]) -> None:
    one, other = opened(), opened()
    _, reference = one.make("RS256")
    assert other.holds(reference)
    one.close()
    assert other.holds(reference)
    assert one.holds(reference)


def test_a_token_that_is_away_fails_clearly_and_is_used_again_when_it_is_back(hsm: Hsm, hsm_token: Token, at: Clock) -> None:
    public, reference = hsm.make("RS256")
    with hsm_token.away():
        with pytest.raises(HsmError):
            hsm.sign(reference, "RS256", b"x")
    with pytest.raises(HsmError, match="too early"):
        hsm.sign(reference, "RS256", b"x")
    at.now += RETRY_SECONDS
    assert verifies(public, "RS256", b"x", hsm.sign(reference, "RS256", b"x"))


def test_a_refused_pin_is_never_sent_again(hsm: Hsm, hsm_token: Token, at: Clock) -> None:
    _, reference = hsm.make("RS256")
    hsm_token.change_pin(hsm_token.pin, "another pin")
    pkcs11.lib(hsm_token.module).finalize()
    with pytest.raises(HsmError, match="PinIncorrect"):
        hsm.sign(reference, "RS256", b"x")
    hsm_token.change_pin("another pin", hsm_token.pin)
    at.now += 86_400
    with pytest.raises(HsmError, match="PinIncorrect, and it is too early"):
        hsm.sign(reference, "RS256", b"x")


def test_a_wrong_pin_is_one_sentence_without_the_pin(opened: Callable[..., Hsm]) -> None:
    with pytest.raises(HsmSettingsError, match="refused IDP_KEYS_PKCS11_PIN") as refused:
        opened(pin="0000-my-wrong-pin")
    assert "my-wrong-pin" not in str(refused.value)


@pytest.mark.parametrize(
    "changed",
    [{"module": "/nowhere/lib.so"}, {"module": __file__}, {"label": "elsewhere"}],
    ids=["missing", "no-library", "label"],
)
def test_a_wrong_module_or_token_is_one_sentence_with_the_mend(opened: Callable[..., Hsm], changed: dict[str, str]) -> None:
    with pytest.raises(
        HsmSettingsError, match="see that IDP_KEYS_PKCS11_MODULE and IDP_KEYS_PKCS11_TOKEN are right"
    ) as refused:
        opened(**changed)
    assert "\n" not in str(refused.value)


def test_a_key_that_is_destroyed_is_gone_and_the_others_stay(hsm: Hsm) -> None:
    (_, one), (_, other) = hsm.make("ES256"), hsm.make("ES256")
    assert hsm.destroy(one)
    assert not hsm.destroy(one)
    assert not hsm.holds(one)
    assert hsm.holds(other)


def test_another_process_signs_with_the_same_key(hsm: Hsm, hsm_token: Token) -> None:
    public, reference = hsm.make("RS256")
    program = (
        "import sys, os, time; from idp.keys.pkcs11.hsm import Hsm; module, label, reference = sys.argv[1:];"
        "hsm = Hsm(module, label, os.environ['PIN'], 2048, time.time);"
        "print(hsm.sign(bytes.fromhex(reference), 'RS256', b'elsewhere').hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, hsm_token.module, hsm_token.label, reference.hex()],
        env=os.environ | {"PIN": hsm_token.pin},
        capture_output=True,
        text=True,
        check=True,
    )
    assert verifies(public, "RS256", b"elsewhere", bytes.fromhex(done.stdout.strip()))
