"""What an authorization code stands for."""

from dataclasses import dataclass

from idp.runtime.clock import Instant
from idp.tokens.rules import Authorization

CODE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Code:
    """A row. `redirect_uri` is None when the authorization request named none; `family_id` is what the code gave.

    `front_family_id` is the family of the access token that came beside the code from the authorization endpoint.
    """

    code_hash: str
    client_id: str
    redirect_uri: str | None
    code_challenge: str | None
    nonce: str | None
    sid: str
    subject: str
    scope: str
    offline: bool
    auth_time: Instant
    acr: str
    amr: str
    expires_at: Instant
    used_at: Instant | None
    family_id: str | None
    front_family_id: str | None
    claims: str | None

    @property
    def authorization(self) -> Authorization:
        """What the person allowed, and how they had signed in."""
        return Authorization(
            client_id=self.client_id,
            subject=self.subject,
            sid=self.sid,
            scope=self.scope,
            offline=self.offline,
            auth_time=self.auth_time,
            acr=self.acr,
            amr=self.amr,
            claims=self.claims,
        )

    # -- what Authlib's grant asks (authlib.oauth2.rfc6749.AuthorizationCodeMixin) --------------------------------

    def get_redirect_uri(self) -> str | None:
        """The redirect URI that the token request must repeat (RFC 6749 §4.1.3)."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """What the person allowed."""
        return self.scope
