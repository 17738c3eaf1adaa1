"""Scopes and the claims that they ask for (OpenID Connect Core 1.0 §5.4, §11)."""

import re
from collections.abc import Iterable

OPENID = "openid"
OFFLINE_ACCESS = "offline_access"

CLAIMS: dict[str, tuple[str, ...]] = {
    OPENID: ("sub",),
    "profile": ("name", "preferred_username", "updated_at"),
    "email": ("email", "email_verified"),
    OFFLINE_ACCESS: (),
}
SUPPORTED = tuple(CLAIMS)

#: For clients themselves (client_credentials): to poll for security events, and to make and change streams of them.
SSF_READ = "ssf.read"
SSF_MANAGE = "ssf.manage"

#: What each scope allows, in words for the consent page.
SENTENCES: dict[str, str] = {
    OPENID: "Know who you are",
    "profile": "See your name and your username",
    "email": "See your email address",
    OFFLINE_ACCESS: "Stay signed in for you, even after you signed out here",
}


_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}")


def is_scope_token(name: str) -> bool:
    """Whether `name` can be a scope (RFC 6749 §3.3)."""
    return _TOKEN.fullmatch(name) is not None


def parse(scope: str | None) -> tuple[str, ...]:
    """The scope tokens of `scope`, each once, in the order given (RFC 6749 §3.3)."""
    return tuple(dict.fromkeys((scope or "").split()))


def join(scopes: Iterable[str]) -> str:
    """The scope tokens as one string (RFC 6749 §3.3)."""
    return " ".join(scopes)


def claims_of(scopes: Iterable[str]) -> set[str]:
    """The names of the claims that `scopes` ask for."""
    return {claim for scope in scopes for claim in CLAIMS.get(scope, ())}
