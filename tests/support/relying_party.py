"""A relying party of the tests' own: code flow with PKCE over real HTTP, tokens verified by PyJWT, logout received."""

import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import jwt

from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.serving import RunningProvider

BACKCHANNEL_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Receiver:
    """A back-channel logout endpoint. `answer` decides what it answers; what came is in `bodies`."""

    def __init__(self, answer: Callable[[int], int] = lambda _count: 200) -> None:
        self.bodies: list[dict[str, list[str]]] = []
        self.paths: list[str] = []
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with receiver.arrived:
                    receiver.bodies.append(parse_qs(body))
                    receiver.paths.append(self.path)
                    status = answer(len(receiver.bodies))
                    receiver.arrived.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://localhost:{self._server.server_address[1]}/backchannel?logout=backchannel"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, count: int = 1, seconds: float = 15) -> list[str]:
        """The logout tokens, once `count` have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.bodies) >= count, seconds), f"{len(self.bodies)} of {count} came"
            return [body["logout_token"][0] for body in self.bodies]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class RelyingParty:
    """A registered client and what it does."""

    provider: RunningProvider
    registration: dict[str, object]
    receiver: Receiver | None = None
    redirect_uri: str = ""
    verifier: str = field(default="", repr=False)
    state: str = ""
    nonce: str = ""

    @classmethod
    def register(cls, provider: RunningProvider, *, receiver: Receiver | None = None, **metadata: object) -> "RelyingParty":
        """A new client; confidential and first-party unless `metadata` says otherwise."""
        name = secrets.token_hex(4)
        redirect_uri = f"https://{name}.example.org/callback"
        whole: dict[str, object] = {
            "client_name": f"App {name}",
            "redirect_uris": [redirect_uri],
            "post_logout_redirect_uris": [f"https://{name}.example.org/bye"],
            "grant_types": ["authorization_code", "refresh_token"],
            "first_party": True,
        }
        if receiver is not None:
            whole["backchannel_logout_uri"] = receiver.uri
        whole |= metadata
        registration = provider.add_client(whole)
        return cls(provider, registration, receiver, str(whole["redirect_uris"][0]))  # type: ignore[index]

    @property
    def client_id(self) -> str:
        return str(self.registration["client_id"])

    @property
    def auth(self) -> tuple[str, str] | None:
        secret = self.registration.get("client_secret")
        return None if secret is None else (self.client_id, str(secret))

    def authorization_url(self, **extra: str) -> str:
        """A new request: fresh state, nonce and PKCE. A parameter given as '' is left out."""
        self.verifier, self.state, self.nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        challenge = urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        parameters = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid profile email",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        } | extra
        return f"{self.provider.issuer}/authorize?{urlencode({name: value for name, value in parameters.items() if value})}"

    def code_from(self, page: Page) -> str:
        """The code that came to the redirect URI, its `state` and `iss` checked (RFC 9207)."""
        assert page.url.startswith(self.redirect_uri), f"{page.main} at {page.url}: {page.response.text[:2000]}"
        assert "code" in page.query, page.query
        assert page.query["state"] == self.state
        assert page.query["iss"] == self.provider.issuer
        return page.query["code"]

    def token(self, grant_type: str, /, **fields: str) -> httpx.Response:
        """A token request, authenticated as registered."""
        data = {"grant_type": grant_type, **fields}
        if self.auth is None:
            data["client_id"] = self.client_id
        return http.post(f"{self.provider.issuer}/token", data=data, auth=self.auth, timeout=20)

    def redeem(self, code: str, /, **fields: str) -> httpx.Response:
        """Exchange a code."""
        return self.token(
            "authorization_code", **({"code": code, "redirect_uri": self.redirect_uri, "code_verifier": self.verifier} | fields)
        )

    def sign_in(
        self, person: Person, username: str = "alice", password: str = "correct horse battery staple", **extra: str
    ) -> Any:
        """The whole way: request, sign-in if asked, code, tokens."""
        page = person.open(self.authorization_url(**extra))
        if page.main == "login-page":
            page = person.sign_in(page, username, password)
        response = self.redeem(self.code_from(page))
        assert response.status_code == 200, response.text
        return response.json()

    def refresh(self, refresh_token: str, /, **fields: str) -> httpx.Response:
        return self.token("refresh_token", refresh_token=refresh_token, **fields)

    def userinfo(self, access_token: str) -> httpx.Response:
        return http.get(f"{self.provider.issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    def introspect(self, token: str) -> dict[str, object]:
        response = http.post(f"{self.provider.issuer}/introspect", data={"token": token}, auth=self.auth)
        assert response.status_code == 200, response.text
        told: dict[str, object] = response.json()
        return told

    def revoke(self, token: str) -> httpx.Response:
        data = {"token": token} | ({"client_id": self.client_id} if self.auth is None else {})
        return http.post(f"{self.provider.issuer}/revoke", data=data, auth=self.auth)

    def verified(self, token: str, *, audience: str, typ: str, alg: str = "RS256") -> dict[str, object]:
        """The claims of a JWT, verified by an independent library with the keys that the JWKS publishes."""
        header = jwt.get_unverified_header(token)
        assert header["typ"] == typ
        assert header["alg"] == alg
        keys = jwt.PyJWKSet.from_dict(http.get(f"{self.provider.issuer}/jwks").json())
        claims: dict[str, object] = jwt.decode(
            token, keys[header["kid"]].key, algorithms=[alg], audience=audience, issuer=self.provider.issuer
        )
        return claims

    def logout_claims(self, token: str, *, alg: str = "RS256") -> dict[str, object]:
        """The claims of a logout token, checked as Back-Channel Logout 1.0 §2.6 says."""
        claims = self.verified(token, audience=self.client_id, typ="logout+jwt", alg=alg)
        assert claims["events"] == {BACKCHANNEL_EVENT: {}}
        assert "nonce" not in claims
        assert 0 < int(str(claims["exp"])) - int(time.time()) <= 120
        return claims
