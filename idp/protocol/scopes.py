"""Scopes and the claims that they ask for (OpenID Connect Core 1.0 §5.4, §11)."""

import re
from collections.abc import Iterable

OPENID = "openid"
OFFLINE_ACCESS = "offline_access"

CLAIMS: dict[str, tuple[str, ...]] = {
    OPENID: ("sub",),
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
    OFFLINE_ACCESS: (),
}
SUPPORTED = tuple(CLAIMS)

#: For clients themselves (client_credentials): to poll for security events, and to make and change streams of them.
SSF_READ = "ssf.read"
SSF_MANAGE = "ssf.manage"

#: What each scope allows, in words for the consent page.
SENTENCES: dict[str, str] = {
    OPENID: "Know who you are",
    "profile": "See your profile: name, username, and what else you keep here",
    "email": "See your email address",
    "address": "See your postal address",
    "phone": "See your phone number",
    OFFLINE_ACCESS: "Stay signed in for you, even after you signed out here",
}


#: The same in a word or two, for a list of apps.
GISTS: dict[str, str] = {
    OPENID: "who you are",
    "profile": "your profile",
    "email": "email address",
    "address": "postal address",
    "phone": "phone number",
    OFFLINE_ACCESS: "access after sign-out",
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
