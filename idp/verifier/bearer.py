"""Bearer tokens in requests, and how one that is refused is answered (RFC 6750)."""

from idp.verifier.errors import NoTokenError


def bearer_token(authorization: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750 §2.1). Raises NoTokenError where there is none."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NoTokenError
    return token.strip()
