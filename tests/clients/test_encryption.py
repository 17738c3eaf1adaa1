"""What only the client may read: which of its keys is taken, and what is refused rather than sent in the open."""

import json

import pytest
from authlib.oauth2.rfc6749.errors import UnauthorizedClientError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from idp.clients.encryption import recipient
from idp.clients.keys import ClientKeysError
from idp.clients.rules import Client
from tests.support.jwe import KeyPair

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


class Keys:
    """Clients of which only the keys matter here."""

    def __init__(self, *keys: RSAKey | ECKey | OKPKey) -> None:
        self.keys = keys

    def keys_of(self, _client: Client, _kid: str | None = None) -> KeySet:
        if not self.keys:
            raise ClientKeysError("jwks_uri: the client's keys cannot be fetched.")
        return KeySet(list(self.keys))


def client(alg: str | None) -> Client:
    return Client("app", None, 0.0, id_token_encrypted_response_alg=alg)


def ec(curve: str = "P-256", **members: object) -> ECKey:
    return ECKey.generate_key(curve, {"kid": curve, **members})


def chosen(alg: str, *keys: RSAKey | ECKey | OKPKey) -> str | None:
    found = recipient(Keys(*keys), client(alg), "id_token")  # type: ignore[arg-type]
    assert found is not None
    return found.key.kid


def test_who_asked_for_nothing_gets_nothing_encrypted() -> None:
    assert recipient(Keys(RSA), client(None), "id_token") is None  # type: ignore[arg-type]
    assert recipient(Keys(RSA), client("RSA-OAEP-256"), "userinfo") is None  # type: ignore[arg-type]


def test_a_key_for_encryption_is_taken_before_one_that_does_not_say_what_for() -> None:
    meant = RSAKey.import_key({**RSA.as_dict(private=False), "kid": "meant", "use": "enc"})
    assert chosen("RSA-OAEP-256", ec(), RSA, meant) == "meant"
    assert chosen("RSA-OAEP-256", ec(), RSA) == "rsa"


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_every_curve_of_the_specification_is_taken(curve: str) -> None:
    key = ec(curve)
    found = recipient(Keys(key), client("ECDH-ES"), "id_token")  # type: ignore[arg-type]
    assert found is not None
    assert KeyPair(key).opened(found.seal("a.b.c"))[1] == "a.b.c"


def test_x25519_is_taken_and_ed25519_is_not() -> None:
    signing, agreeing = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("X25519", {"kid": "x"})
    assert chosen("ECDH-ES", signing, agreeing) == "x"
    found = recipient(Keys(agreeing), client("ECDH-ES"), "id_token")  # type: ignore[arg-type]
    assert found is not None
    assert json.loads(KeyPair(agreeing).opened(found.seal_claims({"sub": "s"}))[1]) == {"sub": "s"}


@pytest.mark.parametrize(
    ("alg", "members"),
    [
        ("RSA-OAEP-256", {"use": "sig"}),
        ("RSA-OAEP-256", {"alg": "RS256"}),
        ("RSA-OAEP-256", {"alg": "RSA-OAEP"}),
        ("RSA-OAEP-256", {"key_ops": ["verify"]}),
        ("ECDH-ES", {}),
    ],
)
def test_a_key_that_is_for_something_else_is_never_taken(alg: str, members: dict[str, object]) -> None:
    key = RSAKey.import_key({**RSA.as_dict(private=False), **members})
    with pytest.raises(UnauthorizedClientError) as refused:
        recipient(Keys(key), client(alg), "id_token")  # type: ignore[arg-type]
    assert refused.value.description.startswith(f"id_token_encrypted_response_alg {alg}: ")


def test_keys_that_cannot_be_had_are_a_refusal_with_the_reason() -> None:
    with pytest.raises(UnauthorizedClientError, match="cannot be fetched"):
        recipient(Keys(), client("RSA-OAEP-256"), "id_token")  # type: ignore[arg-type]


def test_two_of_the_same_are_never_the_same_ciphertext() -> None:
    found = recipient(Keys(RSA), client("RSA-OAEP-256"), "id_token")  # type: ignore[arg-type]
    assert found is not None
    assert found.seal("a.b.c") != found.seal("a.b.c")
