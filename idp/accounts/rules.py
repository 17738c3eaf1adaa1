"""What an account is, and what it tells about its person."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NewType

from idp.accounts.refusals import AccountRefusedError
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
    """A person. `subject` is random and says nothing (OIDC Core §2); `updated_at` is about what claims tell."""

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

    @property
    def is_disabled(self) -> bool:
        """Whether the person may not sign in, nor be signed in."""
        return self.disabled_at is not None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that holds to every rule, its password hashed: left to see is whether the name is free."""

    username: str
    name: str | None
    email: str | None
    email_verified: bool
    password_hash: PasswordHash


def claims(account: Account, scopes: Iterable[str]) -> dict[str, object]:
    """The claims that `scopes` ask for, `sub` always among them, none without a value (OIDC Core §5.1, §5.3.2)."""
    known: dict[str, object] = {
        "sub": account.subject,
        "name": account.name,
        "preferred_username": account.username,
        "updated_at": int(account.updated_at),
        "email": account.email,
        "email_verified": account.email_verified if account.email is not None else None,
    }
    asked = protocol_scopes.claims_of(scopes) | {"sub"}
    return {claim: value for claim, value in known.items() if claim in asked and value is not None}


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
