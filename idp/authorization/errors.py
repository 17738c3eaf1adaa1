"""What an authorization request can be refused with: on our own page, or at the app's redirect URI."""

from authlib.oauth2.rfc6749.errors import OAuth2Error

from idp.clients.rules import Client
from idp.protocol import errors


class UntrustedRequestError(Exception):
    """A request whose client or redirect URI is in doubt: shown on our page, never redirected.

    `redirect_uri` is the one that came, where it is none that `client` registered.
    """

    def __init__(self, error: str, description: str, *, client: Client | None = None, redirect_uri: str | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.description = errors.description(description)
        self.client = client
        self.redirect_uri = redirect_uri


class RequestRefusedError(Exception):
    """A refusal that goes to the redirect URI."""

    def __init__(self, error: OAuth2Error, redirect_uri: str, response_mode: str, state: str | None) -> None:
        super().__init__(error.error)
        self.error = error
        self.redirect_uri = redirect_uri
        self.response_mode = response_mode
        self.state = state


class AuthorizationError(OAuth2Error):
    """An error that Authlib has no class for (OIDC Core §3.1.2.6). The text may quote what was sent."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(errors.description(description), error=error)
