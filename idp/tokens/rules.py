"""What tokens say, and what a family is."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256

from idp.runtime.clock import Instant
from idp.runtime.secrets import b64url

ID_TOKEN_TYP = "JWT"
ACCESS_TOKEN_TYP = "at+jwt"
FAMILY_ID_BYTES = 16
JTI_BYTES = 12
PAIRWISE_BYTES = 24
_GENERATION_BYTES = 4
#: As it stands in a `jti`.
FAMILY_ID_LENGTH = 22
#: How many families one status list covers: 16 KiB before it is compressed.
STATUS_LIST_SIZE = 65_536
SEED_BYTES = 32
#: With as few as 8 bits in each half, more turns are needed than the four that suffice for long ones (NIST SP 800-38G has 10).
_TURNS = 10
CLOSING_BYTES = 16
#: By how many seconds those who verify tokens may take an expired one for a live one: the widest of common libraries.
LEEWAY = 300


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Lifetimes in seconds, and how long a lost refresh answer may be asked for again.

    For `refresh_retry_window` seconds the same answer comes again, whatever was used meanwhile. For
    `refresh_parent_lifetime` seconds another one comes, unless something of the last one was used.
    """

    issuer: str
    access_token_lifetime: int
    id_token_lifetime: int
    refresh_token_lifetime: int
    refresh_retry_window: int
    status_list: bool = False
    refresh_parent_lifetime: int = 0


@dataclass(frozen=True, slots=True)
class Authorization:
    """What somebody was allowed: who, for whom, in which session, how and when they signed in.

    `claims` is what the request asked for by name (OIDC Core §5.5), as `authorization` read it; None for nothing.
    """

    client_id: str
    subject: str
    sid: str | None
    scope: str
    offline: bool
    auth_time: Instant
    acr: str
    amr: str
    claims: str | None = None


@dataclass(frozen=True, slots=True)
class OpenFamily:
    """A family as whoever ends it sees it. `refreshable` says that it has a refresh token."""

    family_id: str
    subject: str
    scope: str
    refreshable: bool


@dataclass(frozen=True, slots=True)
class Family:
    """Everything that one authorization gave. `secret_hash` is that of the live refresh token, if one was given.

    An `offline` family outlives its session; its access tokens carry no `sid`, since no session stands behind them.
    `sector_sub` and `sector_sid` are what tokens say instead of `subject` and `sid` to a client with pairwise subjects.
    `status_index` is its place in the status lists, given by the database when it is written down.

    `rotated_at` is when the parent of the live refresh token was first spent, `retried_at` when it last came again and was
    given another successor, and `seen_at` when an access token issued beside the live one was first used here.
    """

    family_id: str
    client_id: str
    subject: str
    sid: str | None
    scope: str
    offline: bool
    auth_time: Instant
    acr: str
    amr: str
    generation: int
    secret_hash: str | None
    started_at: Instant
    rotated_at: Instant
    expires_at: Instant
    ended_at: Instant | None
    end_reason: str | None
    claims: str | None = None
    status_index: int | None = None
    sector_sub: str | None = None
    sector_sid: str | None = None
    retried_at: Instant | None = None
    seen_at: Instant | None = None

    @property
    def sub(self) -> str:
        """The person as the client knows them."""
        return self.sector_sub or self.subject

    @property
    def told_sid(self) -> str | None:
        """The session as the client knows it."""
        return self.sector_sid or self.sid

    @property
    def session_behind(self) -> str | None:
        """The `sid` of the session without which nothing of this family counts."""
        return None if self.offline else self.sid


@dataclass(frozen=True, slots=True)
class FamilyClosing:
    """The end of very many families, decided at once: those of a person, of a client, or of what one allowed the other.

    None counts for anybody who asks from that commit on, and none begins until it is carried out.
    """

    closing_id: str
    subject: str | None
    client_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class AccessToken:
    """One that is given away, and for how many seconds it counts."""

    text: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class ClientNames:
    """What a client is told instead of the names that a person and a session have here."""

    sub: str
    sid: str | None


@dataclass(frozen=True, slots=True)
class Statuses:
    """The families of which access tokens may be alive that must not be taken any more, by their status index.

    Of an `ended` one no token counts; of a `doubtful` one some single token was revoked. `allocated` is how many indices
    have been given.
    """

    allocated: int
    ended: frozenset[int]
    doubtful: frozenset[int]


def drawn(seed: bytes, nth: int) -> int:
    """The place in a status list that is drawn as its `nth`: every place once, in an order that the seed alone knows.

    So nobody reads from two places which family was begun first, or how many were begun between them. It is a Feistel network
    over the 16 bits of a place, which turns every number into another one, and no two into the same.
    """
    left, right = divmod(nth, 256)
    for turn in range(_TURNS):
        left, right = right, left ^ hmac.digest(seed, bytes((turn, right)), sha256)[0]
    return left * 256 + right


def pairwise_sub(key: bytes, sector: str, subject: str) -> str:
    """A person's name in a sector (OIDC Core §8.1). Nobody without the key can tell that two such names are one person's."""
    return b64url(hmac.digest(key, f"{sector}\n{subject}".encode(), sha256)[:PAIRWISE_BYTES])


class AskedAgain(Enum):
    """What a spent refresh token gets whose successor was not spent: the same answer, a new one, or the end of its family."""

    SAME = auto()
    NEW = auto()
    REUSED = auto()


def when_asked_again(policy: TokenPolicy, family: Family, now: Instant) -> AskedAgain:
    """How the parent of the live refresh token is answered when it comes again (RFC 9700 §4.14.2, docs/adr/0004).

    Browser tabs that refresh at once must share one answer. Later on, whoever asks again has lost the last one, so that it
    is replaced: if somebody did get it, their next refresh shows that two hold the parent.
    """
    answered_at = family.rotated_at if family.retried_at is None else family.retried_at
    if abs(now - answered_at) <= policy.refresh_retry_window:
        return AskedAgain.SAME
    if family.seen_at is None and abs(now - family.rotated_at) <= policy.refresh_parent_lifetime:
        return AskedAgain.NEW
    return AskedAgain.REUSED


def jti(family_id: str, generation: int, random: str) -> str:
    """An access token's identifier: unique, and it names the family and the refresh token beside which it was issued.

    So the end of the family is seen in it, and its use shows that the answer arrived (docs/adr/0006). It has one dot, since
    those who follow security events find the family before it.
    """
    return f"{family_id}.{_beside(generation)}{random}"


def family_of(token_id: str) -> str | None:
    """The family that an access token's `jti` names; None for one that no family stands behind."""
    family_id, dot, _ = token_id.partition(".")
    return family_id if dot else None


def shows_arrival(family: Family, token_id: str) -> bool:
    """Whether the use of an access token is the first sign that the family's last refresh answer arrived.

    It is one issued beside the live refresh token. What came with the code has no parent that could be asked for again.
    """
    _, _, rest = token_id.partition(".")
    return family.generation > 0 and family.seen_at is None and rest.startswith(_beside(family.generation))


def _beside(generation: int) -> str:
    """A refresh token's generation, as it stands in the `jti` of what was issued beside it: of one length always."""
    return b64url(generation.to_bytes(_GENERATION_BYTES, "big"))


def access_token_lasts(policy: TokenPolicy, now: Instant, until: Instant | None) -> int:
    """For how many seconds an access token counts that is issued now. It does not outlive its session, over at `until`.

    So whoever verifies by itself need not hear of a session that merely ran out.
    """
    lasts = policy.access_token_lifetime
    return lasts if until is None else max(0, min(lasts, int(until) - int(now)))


def access_token_claims(
    policy: TokenPolicy,
    now: Instant,
    lasts: int,
    *,
    client_id: str,
    subject: str,
    scope: str,
    audience: tuple[str, ...],
    token_id: str,
) -> dict[str, object]:
    """The claims of every access token (RFC 9068 §2.2), one that counts for `lasts` seconds."""
    return ({"scope": scope} if scope else {}) | {
        "iss": policy.issuer,
        "sub": subject,
        "aud": list(audience) if len(audience) > 1 else audience[0],
        "client_id": client_id,
        "iat": int(now),
        "exp": int(now) + lasts,
        "jti": token_id,
    }


def status_list_uri(issuer: str, number: int) -> str:
    """Where the status list of that number is."""
    return f"{issuer}/status/{number}"


def status_claim(issuer: str, index: int) -> dict[str, object]:
    """Where the status of a family's access tokens stands (Token Status List §6.2)."""
    number, place = divmod(index, STATUS_LIST_SIZE)
    return {"status_list": {"idx": place, "uri": status_list_uri(issuer, number)}}


def authentication_claims(family: Family | Authorization) -> dict[str, object]:
    """How and when the person signed in (RFC 9068 §2.2.1, OIDC Core §2)."""
    return {"auth_time": int(family.auth_time), "acr": family.acr, "amr": family.amr.split()}


def id_token_claims(
    policy: TokenPolicy,
    now: Instant,
    given: Family | Authorization,
    told: ClientNames,
    *,
    nonce: str | None,
    hashes: Mapping[str, str],
    about: Mapping[str, object],
    token_id: str,
) -> dict[str, object]:
    """The claims of an ID token (OIDC Core §2, Back-Channel Logout 1.0 §2.1). After a refresh there is no `nonce`.

    `hashes` holds `at_hash` and `c_hash`, of what is issued beside it; `about` is what it says of the person.
    """
    claims: dict[str, object] = {
        **about,
        "iss": policy.issuer,
        "sub": told.sub,
        "aud": given.client_id,
        "iat": int(now),
        "exp": int(now) + policy.id_token_lifetime,
        "jti": token_id,
        **hashes,
        **authentication_claims(given),
    }
    if told.sid is not None:
        claims["sid"] = told.sid
    if nonce is not None:
        claims["nonce"] = nonce
    return claims


def is_for(claims: Mapping[str, object], audience: str) -> bool:
    """Whether `audience` is among the token's audiences (RFC 7519 §4.1.3)."""
    aud = claims.get("aud")
    return audience == aud or (isinstance(aud, list) and audience in aud)
