"""What was asked, and what must happen next: pure."""

import json
from dataclasses import asdict, dataclass
from enum import Enum, auto

from idp.protocol import claims, scopes, strict_json
from idp.runtime.clock import Instant

PROMPTS = ("none", "login", "consent", "select_account")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A valid authorization request (OIDC Core §3.1.2.1), parsed once. `claims` is what it asks for by name (§5.5).

    `ui_locales` holds those languages only in which the client can be shown.
    """

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    response_type: str
    response_mode: str
    scope: str
    claims: str | None
    state: str | None
    nonce: str | None
    code_challenge: str | None
    prompt: tuple[str, ...]
    max_age: int | None
    login_hint: str | None
    subject_required: str | None
    ui_locales: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scope tokens asked for."""
        return scopes.parse(self.scope)

    @property
    def to_be_allowed(self) -> tuple[str, ...]:
        """What the person must allow: the scopes, and those whose claims are asked for by name."""
        return tuple(dict.fromkeys((*self.scopes, *claims.scopes_behind(self.claims))))

    @property
    def silent(self) -> bool:
        """Whether no page may be shown (`prompt=none`)."""
        return "none" in self.prompt

    def dump(self) -> str:
        """The request as it is stored."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, stored: str) -> "AuthorizationRequest":
        """The request again."""
        values = strict_json.stored(stored)
        return cls(**values | {name: tuple(values[name]) for name in ("prompt", "ui_locales")})


@dataclass(frozen=True, slots=True)
class Pending:
    """A stored request, bound to the browser that began it, and who did what for it.

    What one person answered counts for nobody who signs in after them in the same browser.
    """

    request_id: str
    asked: str
    browser_hash: str | None
    created_at: Instant
    expires_at: Instant
    signed_in_by: str | None
    selected_by: str | None
    consented_by: str | None
    denied_at: Instant | None
    used_at: Instant | None
    #: From where it came: one network may not fill the table.
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in at this browser, as far as the decision needs it."""

    subject: str
    auth_time: Instant


@dataclass(frozen=True, slots=True)
class RequestProgress:
    """What happened since the request began. A request that is not stored has just begun."""

    began_at: Instant
    signed_in_by: str | None = None
    selected_by: str | None = None
    consented_by: str | None = None
    denied: bool = False


class Step(Enum):
    """What must happen next."""

    SIGN_IN = auto()
    SELECT_ACCOUNT = auto()
    CONSENT = auto()
    ISSUE = auto()
    DENIED = auto()
    NOT_SELECTED = auto()
    WRONG_PERSON = auto()

    @property
    def leads_out(self) -> bool:
        """Whether the app is answered now, and no page of ours comes first."""
        return self not in {Step.SIGN_IN, Step.SELECT_ACCOUNT, Step.CONSENT}


#: What `prompt=none` is answered with where a page would have been shown (OIDC Core §3.1.2.6). An account is never to be
#: selected there: a browser has one session at a time, and `select_account` does not go with `none`.
SILENT_ERRORS = {Step.SIGN_IN: "login_required", Step.CONSENT: "consent_required"}


def took_part(progress: RequestProgress, person: Person) -> bool:
    """Whether this very person did something for the request: nothing is answered behind their back then."""
    return person.subject in {progress.signed_in_by, progress.selected_by}


def next_step(
    asked: AuthorizationRequest, progress: RequestProgress, person: Person | None, now: Instant, *, consent_needed: bool
) -> Step:
    """The next step of a request.

    A sign-in counts for `prompt=login` and `max_age` when it was done for this request, or came after it: the first does
    not depend on two instances having the same time. A sign-in is the choice of an account, too; consent is asked for after it.
    """
    fresh = person is not None and (progress.signed_in_by == person.subject or person.auth_time >= progress.began_at)
    selected = fresh or (person is not None and progress.selected_by == person.subject)
    if progress.denied:
        return Step.NOT_SELECTED if "select_account" in asked.prompt and not selected else Step.DENIED
    if person is None:
        return Step.SIGN_IN
    if not fresh and ("login" in asked.prompt or (asked.max_age is not None and now - person.auth_time > asked.max_age)):
        return Step.SIGN_IN
    if asked.subject_required is not None and person.subject != asked.subject_required:
        return Step.WRONG_PERSON if fresh else Step.SIGN_IN
    if "select_account" in asked.prompt and not selected:
        return Step.SELECT_ACCOUNT
    if progress.consented_by != person.subject and (consent_needed or "consent" in asked.prompt):
        return Step.CONSENT
    return Step.ISSUE
