"""Keys of relying parties (RFC 7517): public, strong enough, and few enough that nobody can make us work without bound."""

from collections.abc import Mapping
from math import gcd, prod
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from idp.clients import curves

Jwk: TypeAlias = RSAKey | ECKey | OKPKey
MAXIMUM_KEYS = 32
_TYPES: dict[str, type[Jwk]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
#: Members of a private or a symmetric key (RFC 7518 §6). Whoever publishes one has lost it.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
#: Bits of an RSA modulus and of its exponent: a short one can be broken, and a long one makes verifying slow.
_MODULUS, _EXPONENT = range(2048, 8193), range(2, 33)
#: No modulus that is a product of two large primes has one of these in it.
_SMALL_PRIMES = prod(n for n in range(2, 1000) if all(n % m for m in range(2, n)))


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
    if kind is RSAKey:
        _check_rsa(key)
    if kind is OKPKey and not curves.is_sound(str(key.get("crv")), _octets(key.get("x"))):
        message = "is no point of its curve, or one of small order: no secret could be agreed with it"
        raise JwksError(message)
    return _imported(kind, dict(key))


def _check_rsa(key: Mapping[str, object]) -> None:
    n, e = (int.from_bytes(_octets(key.get(name))) for name in ("n", "e"))
    if n.bit_length() not in _MODULUS or e.bit_length() not in _EXPONENT:
        message = "must have a modulus of 2048 to 8192 bits and an exponent of at most 32"
        raise JwksError(message)
    if e % 2 == 0 or gcd(n, _SMALL_PRIMES) != 1:
        message = "must have an odd exponent, and a modulus that is the product of two large primes"
        raise JwksError(message)


def _imported(kind: type[Jwk], key: dict[str, Any]) -> Jwk:
    try:
        return kind.import_key({name: value for name, value in key.items() if not name.startswith("x5")})
    except (JoseError, ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm) as error:
        message = f"cannot be read ({type(error).__name__}): it must be a public key as RFC 7517 describes it"
        raise JwksError(message) from None


def _octets(value: object) -> bytes:
    """What stands there in base64url (RFC 7518 §2); nothing for what is none."""
    try:
        return urlsafe_b64decode(str(value).encode("ascii"))
    except ValueError:
        return b""
