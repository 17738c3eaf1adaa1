"""What an account is, and what it tells about its person."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NewType

from idp.accounts.errors import AccountRefusedError
from idp.protocol import claims as protocol_claims
from idp.protocol import scopes as protocol_scopes
from idp.runtime.clock import Instant

SUBJECT_BYTES = 16
MAXIMUM_NAME = 128
MAXIMUM_EMAIL = 254
#: Authentication Method Reference of a sign-in here (RFC 8176 §2).
AMR = "pwd"
_EMAIL = re.compile(r"[^\s@<>\"(),:;\\]+@[^\s@<>\"(),:;\\]+")

#: An argon2id hash in the PHC format: only `passwords.Passwords` makes one.
PasswordHash = NewType("PasswordHash", str)


@dataclass(frozen=True, slots=True)
class Account:
    """A person. `subject` is random and says nothing (OIDC Core §2); `updated_at` is about what claims tell.

    `device_generation` moves when the browsers are forgotten that have signed in before.
    """

    subject: str
    username: str
    username_folded: str
    name: str | None
    email: str | None
    email_verified: bool
    password_hash: str
    created_at: Instant
    updated_at: Instant
    disabled_at: Instant | None
    given_name: str | None = None
    family_name: str | None = None
    middle_name: str | None = None
    nickname: str | None = None
    profile: str | None = None
    picture: str | None = None
    website: str | None = None
    gender: str | None = None
    birthdate: str | None = None
    zoneinfo: str | None = None
    locale: str | None = None
    phone_number: str | None = None
    phone_number_verified: bool = False
    address: Mapping[str, str] | None = field(default=None, hash=False)
    device_generation: int = field(default=0, compare=False)  # nothing of the person

    @property
    def is_disabled(self) -> bool:
        """Whether the person may not sign in, nor be signed in."""
        return self.disabled_at is not None

    @property
    def device_owner(self) -> str:
        """What device cookies of the account are bound to: one that gets the same name later on inherits none of them."""
        return f"{self.subject}.{self.device_generation}"


#: The fields of an account that `profile` reads: claims of those very names.
PROFILE = (
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
    "email",
    "email_verified",
    "phone_number",
    "phone_number_verified",
    "address",
)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that holds to every rule, its password hashed: left to see is whether the name is free.

    `claims` are those of `PROFILE` that are known, as `profile.read` gives them.
    """

    username: str
    password_hash: PasswordHash
    claims: Mapping[str, object]


def claims(account: Account, asked: Iterable[str]) -> dict[str, object]:
    """Those of the claims asked for that have a value (OIDC Core §5.1, §5.3.2). `sub` is not among them.

    By which `sub` an app knows the person is not the account's to say.
    """
    known: dict[str, object] = {name: getattr(account, name) for name in PROFILE} | {
        "preferred_username": account.username,
        "updated_at": int(account.updated_at),
        "email_verified": account.email_verified if account.email is not None else None,
        "phone_number_verified": account.phone_number_verified if account.phone_number is not None else None,
    }
    wanted = set(asked)
    return {claim: value for claim, value in known.items() if claim in wanted and value is not None}


def may_be_told(scope: str, client_scope: str, stored: str | None, place: str) -> set[str]:
    """The names of the claims that an app may be told in one place: by the granted scopes, and by name (OIDC Core §5.5).

    What is asked by name is told only where the client may have a scope of which it is a part; the person was shown that
    scope.
    """
    by_scope = protocol_scopes.claims_of(protocol_scopes.parse(scope))
    by_name = set(protocol_claims.requested(stored, place)) if stored is not None else set()
    return by_scope | (by_name & protocol_scopes.claims_of(protocol_scopes.parse(client_scope)))


def display_name(name: str | None) -> str | None:
    """The name as it is kept, or None for an empty one. Raises AccountRefusedError."""
    kept = unicodedata.normalize("NFC", name or "").strip()
    if len(kept) > MAXIMUM_NAME:
        problem = f"A name has at most {MAXIMUM_NAME} characters."
        raise AccountRefusedError(problem)
    if any(unicodedata.category(char).startswith("C") for char in kept):
        problem = "A name holds no control, format or unassigned characters."
        raise AccountRefusedError(problem)
    return kept or None


def email_address(email: str | None) -> str | None:
    """The address as it is kept, or None for an empty one; whether it works is not asked. Raises AccountRefusedError."""
    kept = (email or "").strip()
    if not kept:
        return None
    if len(kept) > MAXIMUM_EMAIL or not kept.isprintable() or not _EMAIL.fullmatch(kept):
        problem = "An email address looks like name@example.org."
        raise AccountRefusedError(problem)
    return kept
