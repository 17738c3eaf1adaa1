"""A relying party as the suite plays it: it registers itself, asks without PKCE, and checks all that it is answered."""

import secrets
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.conformance.plans import Flow
from tests.conformance.suite import PASSWORD, decoded
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.serving import RunningProvider

BY_JWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Key:
    """A client's signing key. The suite's own have no `kid` unless a module is about that."""

    private: rsa.RSAPrivateKey
    kid: str | None = None

    @property
    def jwks(self) -> dict[str, object]:
        made = jwt.get_algorithm_by_name("RS256").to_jwk(self.private.public_key(), as_dict=True)
        jwk = {name: value for name, value in made.items() if name != "key_ops"} | {"use": "sig", "alg": "RS256"}
        return {"keys": [jwk if self.kid is None else jwk | {"kid": self.kid}]}

    def sign(self, claims: dict[str, object]) -> str:
        return jwt.encode(claims, self.private, "RS256", headers=None if self.kid is None else {"kid": self.kid})


@cache
def key(kid: str | None = None) -> Key:
    """The same key for the same name: making one takes long."""
    return Key(rsa.generate_private_key(65537, 2048), kid)


@dataclass
class Given:
    """What one authorization brought. `front` and `back` are the claims of the ID tokens from the two endpoints."""

    answer: dict[str, str]
    tokens: dict[str, Any] = field(default_factory=dict)
    front: dict[str, Any] = field(default_factory=dict)
    back: dict[str, Any] = field(default_factory=dict)

    @property
    def claims(self) -> dict[str, Any]:
        return self.back or self.front

    @property
    def id_token(self) -> str:
        return str(self.tokens.get("id_token") or self.answer["id_token"])

    @property
    def access_token(self) -> str:
        return str(self.tokens.get("access_token") or self.answer["access_token"])


@dataclass
class Rp:
    """A client of the examined provider, and the flow that it uses."""

    op: RunningProvider
    flow: Flow
    registration: dict[str, Any]
    redirect_uri: str
    own_key: Key = field(default_factory=key)
    state: str = ""
    nonce: str | None = None

    @classmethod
    def register(cls, op: RunningProvider, flow: Flow, *, own_key: Key | None = None, **members: object) -> "Rp":
        """Register as the suite does (OIDC Registration 1.0 §3.1). A member given as None is left out."""
        metadata = cls.metadata(flow) | {"jwks": (own_key or key()).jwks} | members
        sent = {name: value for name, value in metadata.items() if value is not None}
        answer = http.post(f"{op.issuer}/register", json=sent)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Content-Type"].split(";")[0] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        registration = answer.json()
        assert ("registration_client_uri" in registration) == ("registration_access_token" in registration)
        if "client_secret" in registration:
            assert registration["client_secret_expires_at"] == 0
        return cls(op, flow, registration, registration["redirect_uris"][0], own_key or key())

    @staticmethod
    def metadata(flow: Flow) -> dict[str, object]:
        """What the suite sends to register for a flow."""
        code = ["authorization_code"] if flow.gives("code") else []
        implicit = ["implicit"] if flow.gives("id_token") or flow.gives("token") else []
        name = secrets.token_hex(4)
        return {
            "client_name": f"Suite {name}",
            "redirect_uris": [f"https://suite.example.org/test/a/{name}/callback"],
            "grant_types": [*code, *implicit],
            "response_types": [flow.response_type],
            "token_endpoint_auth_method": flow.auth,
            "contacts": ["certification@oidf.example"],
            "scope": "openid profile email address phone offline_access",
        }

    @property
    def client_id(self) -> str:
        return str(self.registration["client_id"])

    def unregister(self) -> None:
        """Take the registration back (RFC 7592 §2.3): 204, or the suite warns."""
        token = self.registration.get("registration_access_token")
        if token is not None:
            answer = http.delete(self.registration["registration_client_uri"], headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 204, answer.text

    # -- the authorization endpoint -------------------------------------------------------------------------------

    def parameters(self, **extra: str | None) -> dict[str, str]:
        """A new request. A parameter given as None is left out."""
        self.state, self.nonce = secrets.token_urlsafe(12), extra.get("nonce", secrets.token_urlsafe(12))
        whole: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid",
            "state": self.state,
            "nonce": self.nonce,
            "response_type": self.flow.response_type,
            "response_mode": "form_post" if self.flow.form_post else None,
        }
        return {name: value for name, value in (whole | extra).items() if value is not None}

    def url(self, **extra: str | None) -> str:
        return f"{self.op.issuer}/authorize?{urlencode(self.parameters(**extra))}"

    def ask(self, person: Person, **extra: str | None) -> Page:
        """The page that comes first; or where the person was sent back to, if none does."""
        return person.open(self.url(**extra))

    def through(self, person: Person, page: Page, username: str = "alice") -> Page:
        """Sign in and allow, as far as that is asked."""
        if page.main == "login-page":
            page = person.sign_in(page, username, PASSWORD)
        if page.main == "consent-page":
            page = person.submit(page, "consent-allow")
        return page

    def read(self, page: Page, *, mode: str | None = None) -> dict[str, str]:
        """The answer, from where this flow's response mode puts it, and from nowhere else."""
        mode = mode or ("form_post" if self.flow.form_post else "query" if self.flow.response_type == "code" else "fragment")
        if mode == "form_post":
            assert page.main == "form-post-page", f"{page.main} at {page.url}: {page.response.text[:1500]}"
            assert page.forms[0].action == self.redirect_uri
            assert page.response.headers["Cache-Control"] == "no-store"
            return dict(page.forms[0].fields)
        assert page.main is None and page.url.startswith(self.redirect_uri), f"{page.main}: {page.response.text[:1500]}"
        parts = urlsplit(page.url)
        held = {"query": parts.query, "fragment": parts.fragment}
        registered = dict(parse_qsl(urlsplit(self.redirect_uri).query))
        other = dict(parse_qsl(held["fragment" if mode == "query" else "query"]))
        assert (other or {}) == ({} if mode == "query" else registered), page.url
        answer = dict(parse_qsl(held[mode], strict_parsing=True))
        return {name: value for name, value in answer.items() if mode != "query" or name not in registered}

    def answered(self, page: Page, **how: str) -> dict[str, str]:
        """An answer, with `state` and `iss` as the suite checks both (RFC 9207)."""
        answer = self.read(page, **how)
        assert answer.get("state") == self.state
        assert answer["iss"] == self.op.issuer
        return answer

    def sign_in(self, person: Person, username: str = "alice", **extra: str | None) -> Given:
        """The whole flow, with everything checked that the suite checks of a successful one."""
        return self.finish(self.through(person, self.ask(person, **extra), username))

    def finish(self, page: Page, **fields: str) -> Given:
        """What the answer brought, its code redeemed."""
        answer = self.answered(page)
        assert "error" not in answer, answer
        assert {each for each in ("code", "id_token") if each in answer} == set(self.flow.response_type.split()) - {"token"}
        assert ("access_token" in answer) == self.flow.gives("token")
        given = Given(answer)
        if self.flow.gives("id_token"):
            given.front = self.id_token_claims(answer["id_token"])
        if self.flow.gives("token"):
            _check_bearer(answer)
        if self.flow.gives("code"):
            given.tokens = self.redeem(answer["code"], **fields).json()
            given.back = self.id_token_claims(given.tokens["id_token"])
            if given.front:
                assert (given.front["sub"], given.front["iss"]) == (given.back["sub"], given.back["iss"])
        return given

    def id_token_claims(self, token: str) -> dict[str, Any]:
        """The claims of an ID token, checked as OIDC Core §3.1.3.7 says."""
        claims = decoded(self.op, token, self.client_id, alg=self.registration["id_token_signed_response_alg"])
        assert 0 < len(claims["sub"]) <= 255
        assert claims["aud"] in (self.client_id, [self.client_id])
        assert abs(claims["iat"] - time.time()) < 60 < claims["exp"] - claims["iat"]
        assert claims.get("nonce") == self.nonce
        assert isinstance(claims.get("auth_time", 0), int)
        return claims

    # -- the other endpoints --------------------------------------------------------------------------------------

    def authentication(self, **claims: object) -> dict[str, Any]:
        """How this client authenticates: arguments of `http.post`."""
        method = self.registration["token_endpoint_auth_method"]
        if method == "client_secret_basic":
            return {"auth": (self.client_id, self.registration["client_secret"])}
        if method == "client_secret_post":
            return {"data": {"client_id": self.client_id, "client_secret": self.registration["client_secret"]}}
        return {"data": {"client_assertion_type": BY_JWT, "client_assertion": self.assertion(**claims)}}

    def assertion(self, **claims: object) -> str:
        """A fresh assertion (RFC 7523 §3), for the token endpoint unless `claims` says otherwise."""
        now = int(time.time())
        usual = {"iss": self.client_id, "sub": self.client_id, "aud": f"{self.op.issuer}/token", "iat": now, "exp": now + 60}
        return self.own_key.sign(usual | {"jti": secrets.token_hex(16)} | claims)

    def token(self, fields: dict[str, str], **claims: object) -> httpx.Response:
        how = self.authentication(**claims)
        return http.post(f"{self.op.issuer}/token", **(how | {"data": fields | how.get("data", {})}))

    def redeem(self, code: str, *, claims: dict[str, object] | None = None, **fields: str) -> httpx.Response:
        """Exchange a code; the answer is checked as RFC 6749 §5.1 says."""
        answer = self.try_to_redeem(code, claims=claims, **fields)
        assert answer.status_code == 200, answer.text
        check_token_answer(answer)
        return answer

    def try_to_redeem(self, code: str, *, claims: dict[str, object] | None = None, **fields: str) -> httpx.Response:
        usual = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.token(usual | fields, **(claims or {}))

    def refresh(self, refresh_token: str, **fields: str) -> httpx.Response:
        return self.token({"grant_type": "refresh_token", "refresh_token": refresh_token, **fields})

    def userinfo(self, access_token: str) -> dict[str, Any]:
        answer = http.get(f"{self.op.issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].split(";")[0] == "application/json"
        return dict(answer.json())


def check_token_answer(answer: httpx.Response) -> None:
    """RFC 6749 §5.1: never cached, JSON, a bearer token, seconds as a number."""
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    _check_bearer(answer.json())


def _check_bearer(answer: dict[str, Any]) -> None:
    assert answer["token_type"].lower() == "bearer"
    assert int(answer["expires_in"]) > 0
    assert len(answer["access_token"]) >= 22
