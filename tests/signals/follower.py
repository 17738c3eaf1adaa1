"""A receiver of the tests' own: makes a stream, polls it over real HTTP, and verifies what comes with PyJWT."""

import weakref
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt

from idp.signals import rules
from tests.support import http
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

SCOPES = "ssf.read ssf.manage"


@dataclass
class Follower:
    """One process that follows. `heard` are the claims that came, in order, and `texts` the SETs by their `jti`."""

    provider: RunningProvider
    app: RelyingParty
    token: str = ""
    stream: dict[str, Any] = field(default_factory=dict)
    acks: list[str] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    keys: dict[str, Any] = field(default_factory=dict, repr=False)
    http: httpx.Client = field(default_factory=lambda: http.client(timeout=40))

    def __post_init__(self) -> None:
        weakref.finalize(self, self.http.close)

    @classmethod
    def of(cls, provider: RunningProvider, app: RelyingParty | None = None, **configuration: object) -> "Follower":
        """A follower with a stream, of a new client unless one is given. It asks for every event, as one that verifies tokens."""
        app = app or receiver_of(provider)
        made = cls(provider, app)
        made.token = made.access_token()
        answer = made.call("POST", "streams", {"events_requested": list(rules.SUPPORTED)} | configuration)
        assert answer.status_code == 201, answer.text
        made.stream = answer.json()
        return made

    def access_token(self, scope: str = SCOPES) -> str:
        answer = self.app.token("client_credentials", scope=scope)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    @property
    def stream_id(self) -> str:
        return str(self.stream["stream_id"])

    def call(self, method: str, path: str, body: object = None, token: str | None = None, **query: str) -> httpx.Response:
        """A request to the Shared Signals endpoints."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        address = f"{self.provider.issuer}/ssf/{path}"
        return self.http.request(method, address, json=body, params=query, headers=headers)

    def poll(self, *, wait: int | None = None, token: str | None = None, **body: object) -> httpx.Response:
        """One poll; without `wait` it returns at once."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        if wait is None:
            body = {"returnImmediately": True, **body}
        else:
            headers["Prefer"] = f"wait={wait}"
        return self.http.post(self.stream["delivery"]["endpoint_url"], json=body, headers=headers)

    def follow(self, *, wait: int | None = None) -> list[dict[str, Any]]:
        """Poll, acknowledging what came before; the claims that came now, verified."""
        answer = self.poll(wait=wait, ack=self.acks)
        if answer.status_code == 401:  # its key was revoked
            self.token = self.access_token()
            answer = self.poll(wait=wait, ack=self.acks)
        assert answer.status_code == 200, answer.text
        sets = answer.json()["sets"]
        claims = [self.verified(text) for text in sets.values()]
        assert [one["jti"] for one in claims] == list(sets)
        self.acks = list(sets)
        self.heard += claims
        self.texts |= sets
        if answer.json()["moreAvailable"]:
            claims += self.follow()
        return claims

    def verified(self, text: str) -> dict[str, Any]:
        """The claims of a SET, checked as RFC 8417 and SSF 1.0 say."""
        header = jwt.get_unverified_header(text)
        assert (header["typ"], header["alg"]) == ("secevent+jwt", "RS256")
        if header["kid"] not in self.keys:
            keys = jwt.PyJWKSet.from_dict(self.http.get(f"{self.provider.issuer}/jwks").json())
            self.keys = {str(key.key_id): key.key for key in keys.keys}
        key = self.keys[header["kid"]]
        issuer, audience = self.provider.issuer, self.app.client_id
        claims: dict[str, Any] = jwt.decode(text, key, algorithms=["RS256"], audience=audience, issuer=issuer)
        assert "exp" not in claims
        assert "sub" not in claims
        assert len(claims["events"]) == 1
        return claims

    def close(self) -> None:
        self.http.close()


def receiver_of(provider: RunningProvider, **metadata: object) -> RelyingParty:
    """A client that may follow, and that nobody signs in to."""
    whole = {"grant_types": ["client_credentials"], "response_types": [], "redirect_uris": [], "post_logout_redirect_uris": []}
    registration = provider.add_client({"client_name": "An API", "scope": SCOPES, **whole, **metadata})
    return RelyingParty(provider, registration)


def only_event(claims: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The one event of a SET, and what it says."""
    ((event, payload),) = claims["events"].items()
    return event, payload


def unverified(text: str) -> dict[str, Any]:
    return dict(jwt.decode(text, options={"verify_signature": False}))
