"""What the suite is configured with, and what it checks of every answer, whatever the module."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import jwt

from tests.support import http
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"
PEOPLE = ("alice", "bob")
RESPONSE_TYPES = "code,id_token,id_token token,code id_token,code token,code id_token token"
#: Every profile switched on. Clients register as often as the exam needs them.
SETTINGS = {
    "AUTHORIZATION_RESPONSE_TYPES": RESPONSE_TYPES,
    "AUTHORIZATION_REQUEST_OBJECTS": "request,request_uri",
    "CLIENTS_REGISTRATION": "open",
    "CLIENTS_REGISTRATION_HOURLY": "100000",
    "CLIENTS_LOGOS": "true",
    "LOGOUT_FRONTCHANNEL": "true",
    "SESSIONS_MANAGEMENT": "true",
    "KEYS_ALGORITHMS": "RS256,ES256",
}
CLAIMS: dict[str, Any] = {
    "name": "Alice Example",
    "given_name": "Alice",
    "family_name": "Example",
    "middle_name": "M.",
    "nickname": "Al",
    "profile": "https://alice.example.org/",
    "picture": "https://alice.example.org/me.png",
    "website": "https://alice.example.org/blog",
    "gender": "female",
    "birthdate": "1990-02-28",
    "zoneinfo": "Europe/Zurich",
    "locale": "en-GB",
    "email": "alice@example.org",
    "email_verified": True,
    "address": {
        "street_address": "1 Main Street",
        "locality": "Zurich",
        "region": "ZH",
        "postal_code": "8001",
        "country": "Switzerland",
    },
    "phone_number": "+41 44 123 45 67",
    "phone_number_verified": True,
}
#: Which claims the suite expects of each scope; a missing one is a warning.
OF_SCOPES: dict[str, set[str]] = {
    "openid": {"sub"},
    "profile": {
        "name",
        "given_name",
        "family_name",
        "middle_name",
        "nickname",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
        "preferred_username",
    },
    "email": {"email", "email_verified"},
    "address": {"address"},
    "phone": {"phone_number", "phone_number_verified"},
}
#: What an error response may hold; anything else is a warning.
IN_AN_ERROR = {"error", "error_description", "error_uri", "state", "session_state", "iss"}
#: The errors that say that a page would have had to be shown (OIDC Core §3.1.2.6).
NEEDS_A_PAGE = {"interaction_required", "login_required", "account_selection_required", "consent_required"}
#: Of RFC 6749 §4.1.2.1 and §5.2: what an `error_description` may be written with.
_WRITABLE = {chr(code) for code in range(0x20, 0x7F)} - {'"', "\\"}


def half_hash(value: str) -> str:
    """What `at_hash` and `c_hash` are of, for algorithms with SHA-256 (OIDC Core §3.1.3.6)."""
    return urlsafe_b64encode(sha256(value.encode()).digest()[:16]).rstrip(b"=").decode()


def decoded(op: RunningProvider, token: str, client_id: str, *, alg: str = "RS256") -> dict[str, Any]:
    """The claims of a JWT for this client, verified by an independent library with the published key that its `kid` names."""
    header = jwt.get_unverified_header(token)
    assert header["alg"] == alg
    keys = jwt.PyJWKSet.from_dict(http.get(f"{op.issuer}/jwks").json())
    return jwt.decode(token, keys[header["kid"]].key, algorithms=[alg], audience=client_id, issuer=op.issuer)


def discovery(op: RunningProvider) -> dict[str, Any]:
    """The provider's metadata, as the suite fetches it."""
    answer = http.get(f"{op.issuer}/.well-known/openid-configuration")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    return dict(answer.json())


def check_userinfo(claims: dict[str, Any]) -> None:
    """Standard claims have the types of OIDC Core §5.1."""
    assert isinstance(claims["sub"], str)
    for name in OF_SCOPES["profile"] - {"updated_at"} | {"email", "phone_number"}:
        assert isinstance(claims.get(name, ""), str), name
    for name in ("email_verified", "phone_number_verified"):
        assert isinstance(claims.get(name, False), bool), name
    assert isinstance(claims.get("updated_at", 0), int)
    assert isinstance(claims.get("address", {}), dict)


def check_error(answer: dict[str, str], *errors: str) -> None:
    """An error response of the authorization endpoint: nothing else in it, and text that the grammar allows."""
    assert answer["error"] in errors, answer
    assert set(answer) <= IN_AN_ERROR
    check_description(answer["error_description"])


def check_description(text: str) -> None:
    """RFC 6749 §5.2: printable ASCII without quotation mark and backslash, hence neither CR, LF nor TAB."""
    assert text
    assert set(text) <= _WRITABLE, text
