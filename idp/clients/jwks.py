"""Keys of relying parties (RFC 7517): public, strong enough, and few enough that nobody can make us work without bound."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

Jwk: TypeAlias = RSAKey | ECKey | OKPKey
MAXIMUM_KEYS = 32
_TYPES: dict[str, type[Jwk]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
#: Members of a private or a symmetric key (RFC 7518 §6). Whoever publishes one has lost it.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
#: Bits of an RSA modulus and of its exponent: a short one can be broken, and a long one makes verifying slow.
_MODULUS, _EXPONENT = range(2048, 8193), range(2, 33)


class JwksError(ValueError):
    """What should be the public keys of a client are none. Its text says what is wrong, without naming the member."""


def read(document: object, *, lenient: bool = False) -> KeySet:
    """The keys of a JWK Set. Raises JwksError.

    Keys of a type that we do not know are left out (RFC 7517 §5). `lenient` leaves out those that are broken, too: what
    is fetched may hold keys that are not meant for us, and one of them must not take the others with it.
    """
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or not 0 < len(keys) <= MAXIMUM_KEYS:
        message = f"must be a JWK Set: an object whose member keys is an array of 1 to {MAXIMUM_KEYS} keys"
        raise JwksError(message)
    found: list[Jwk] = []
    for number, key in enumerate(keys):
        try:
            read_key = _key(key)
        except JwksError as error:
            if lenient:
                continue
            message = f"key {number} {error}"
            raise JwksError(message) from None
        if read_key is not None:
            found.append(read_key)
    if not found:
        message = "holds no key that can be used here: it must be a public RSA, EC or OKP key"
        raise JwksError(message)
    return KeySet(list(found))


def _key(key: object) -> Jwk | None:
    """One key, or None for a type that we do not know."""
    if not isinstance(key, Mapping):
        message = "is no object"
        raise JwksError(message)
    if key.get("kty") == "oct" or _PRIVATE & set(key):
        message = "is a private or a symmetric key: register public keys only, and replace this one"
        raise JwksError(message)
    kind = _TYPES.get(str(key.get("kty")))
    if kind is None:
        return None
    if kind is RSAKey and (_bits(key.get("n")) not in _MODULUS or _bits(key.get("e")) not in _EXPONENT):
        message = "must have a modulus of 2048 to 8192 bits and an exponent of at most 32"
        raise JwksError(message)
    return _imported(kind, dict(key))


def _imported(kind: type[Jwk], key: dict[str, Any]) -> Jwk:
    try:
        return kind.import_key({name: value for name, value in key.items() if not name.startswith("x5")})
    except (JoseError, ValueError, TypeError, KeyError, OverflowError) as error:
        message = f"cannot be read ({type(error).__name__}): it must be a public key as RFC 7517 describes it"
        raise JwksError(message) from None


def _bits(value: object) -> int:
    """The size of a number in base64url (RFC 7518 §2); 0 for what is none."""
    try:
        return int.from_bytes(urlsafe_b64decode(str(value).encode("ascii"))).bit_length()
    except ValueError:
        return 0
