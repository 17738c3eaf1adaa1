"""What an app must be told, from the environment: its provider, its credentials there, and its own port."""

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """One relying party. It answers on `http://localhost:PORT`, the address that it registered."""

    issuer: str
    client_id: str
    client_secret: str
    port: int

    @classmethod
    def from_environment(cls, port: int) -> "Settings":
        """Read ISSUER, CLIENT_ID, CLIENT_SECRET and PORT (`port` unless set); leave with one sentence where one lacks."""
        given = os.environ
        missing = [name for name in ("CLIENT_ID", "CLIENT_SECRET") if not given.get(name)]
        if missing:
            sys.exit(f"{missing[0]} is not set: register this app with `idp client add --file` and set what that prints.")
        return cls(
            issuer=given.get("ISSUER", "http://localhost:8000"),
            client_id=given["CLIENT_ID"],
            client_secret=given["CLIENT_SECRET"],
            port=int(given.get("PORT", port)),
        )

    @property
    def host(self) -> str:
        """The only `Host` that is answered: any other would be DNS rebinding, or lose the cookies set under this one."""
        return f"localhost:{self.port}"

    @property
    def base(self) -> str:
        """The app's own origin."""
        return f"http://{self.host}"

    @property
    def content_security_policy(self) -> str:
        """Nothing but our own files; forms may also lead to the provider, for browsers check redirects after a POST."""
        own = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
        return f"{own}; form-action 'self' {self.issuer}"
