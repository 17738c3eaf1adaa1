"""How whoever shows no token, or one that is not for this, is challenged (RFC 6750 §3, §3.1)."""

from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError


class TokenMissingError(InvalidTokenError):
    """No token at all: 401, and the challenge alone, without an error code (RFC 6750 §3.1)."""

    def __init__(self, realm: str) -> None:
        description = "No access token was sent: send it in the header, as Authorization: Bearer TOKEN, never in the query."
        super().__init__(description, realm=realm)

    def get_headers(self) -> list[tuple[str, str]]:
        """The bare challenge."""
        return [("WWW-Authenticate", f'Bearer realm="{self.realm}"')]


class ScopeMissingError(InsufficientScopeError):
    """The token is good, and not for this: 403, and the challenge says which `scope` would do (RFC 6750 §3.1)."""

    def __init__(self, realm: str, scope: str) -> None:
        super().__init__()
        self.description = f"The token needs the scope {scope}."
        self._challenge = f'Bearer realm="{realm}", error="insufficient_scope", scope="{scope}"'

    def get_headers(self) -> list[tuple[str, str]]:
        """The challenge, with the scope that would do."""
        return [("WWW-Authenticate", self._challenge)]
