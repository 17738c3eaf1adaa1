"""What PKCS#11 calls the algorithms of JWS (RFC 7518 §3.1, RFC 8037 §3.1; PKCS#11 v3.1 §6)."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import MGF, Attribute, KeyType, Mechanism, PrivateKey, PublicKey, Session
from pkcs11.util.ec import encode_named_curve_parameters


def _whole(message: bytes) -> bytes:
    return message


def _hashed(message: bytes) -> bytes:
    return sha256(message).digest()


@dataclass(frozen=True, slots=True)
class SigningMechanism:
    """A mechanism, its parameter, and what is done to a message before it is sent to the token."""

    name: Mechanism
    parameter: tuple[Mechanism, MGF, int] | None = None
    prepare: Callable[[bytes], bytes] = _whole


SIGNING = {
    "RS256": SigningMechanism(Mechanism.SHA256_RSA_PKCS),
    "RS384": SigningMechanism(Mechanism.SHA384_RSA_PKCS),
    "RS512": SigningMechanism(Mechanism.SHA512_RSA_PKCS),
    "PS256": SigningMechanism(Mechanism.SHA256_RSA_PKCS_PSS, (Mechanism.SHA256, MGF.SHA256, 32)),
    # Not every token knows ECDSA together with its hash; PKCS#11 and JWS write the signature alike.
    "ES256": SigningMechanism(Mechanism.ECDSA, prepare=_hashed),
    "EdDSA": SigningMechanism(Mechanism.EDDSA),
}
_CURVES = {"ES256": (KeyType.EC, "secp256r1"), "EdDSA": (KeyType.EC_EDWARDS, "1.3.101.112")}
_OCTET_STRING_HEADER = 2


def generator(session: Session, alg: str, rsa_bits: int) -> Callable[..., tuple[PublicKey, PrivateKey]]:
    """What makes a pair of keys for `alg`; it takes the names and templates of the two objects."""
    if alg not in _CURVES:
        return lambda **named: session.generate_keypair(KeyType.RSA, rsa_bits, **named)
    kind, curve = _CURVES[alg]
    parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
    domain = session.create_domain_parameters(kind, parameters, local=True)
    mechanism = Mechanism.EC_KEY_PAIR_GEN if kind is KeyType.EC else Mechanism.EC_EDWARDS_KEY_PAIR_GEN
    return lambda **named: domain.generate_keypair(mechanism=mechanism, **named)


def public_half(key: PublicKey) -> bytes:
    """A public key as SubjectPublicKeyInfo (DER)."""
    made: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    if key.key_type is KeyType.RSA:
        exponent, modulus = (int.from_bytes(key[each]) for each in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
        made = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    else:
        point = key[Attribute.EC_POINT][_OCTET_STRING_HEADER:]
        if key.key_type is KeyType.EC:
            made = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        else:
            made = ed25519.Ed25519PublicKey.from_public_bytes(point)
    return made.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
