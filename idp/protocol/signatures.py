"""The signature algorithms of what this provider signs (RFC 7518 §3.1, RFC 8037 §3.1; OIDC Core §15.1)."""

from base64 import urlsafe_b64encode
from hashlib import sha256, sha384, sha512

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA")
#: Always switched on; access tokens are signed by it alone.
DEFAULT_ALG = "RS256"
_HASHES = {"RS384": sha384, "RS512": sha512, "EdDSA": sha512}


def half_hash(value: str, alg: str) -> str:
    """`at_hash` and `c_hash`: half of the hash that `alg` uses, SHA-512 for Ed25519; base64url (OIDC Core §3.1.3.6)."""
    digest = _HASHES.get(alg, sha256)(value.encode("ascii")).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")


def switched_off(alg: str, member: str = "id_token_signed_response_alg") -> str:
    """Why a client that registered `alg` as `member` gets nothing signed, in the characters of `error_description`."""
    return f"{member} {alg} is not switched on here: the client must register another."
