"""Logout tokens, and who may be signed out by what."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from idp.delivery.rules import DeliveryState
from idp.runtime.clock import Instant

LOGOUT_TOKEN_TYP = "logout+jwt"
LOGOUT_TOKEN_LIFETIME = 120
BACKCHANNEL = "backchannel_logout"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
#: For operators, where a relying party answers 400 that never took a logout token. Some demand a `sub`: Quarkus by default.
HINT = "it never took one: see `idp client check`"
HINT_WITHOUT_SUB = f"{HINT}; it may demand a sub (backchannel_logout_include_sub), as Quarkus does"


class Reason(StrEnum):
    """Why something ended, as it is stored and logged."""

    SIGNED_OUT = "signed_out"
    SIGNED_OUT_OTHERS = "signed_out_others"
    SIGNED_OUT_EVERYWHERE = "signed_out_everywhere"
    REPLACED = "replaced"
    RP_INITIATED = "rp_initiated_logout"
    OPERATOR = "ended_by_operator"
    REVOKED = "revoked_by_client"
    CODE_REUSED = "code_reused"
    REFRESH_TOKEN_REUSED = "refresh_token_reused"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_REMOVED = "account_removed"
    PASSWORD_CHANGED = "password_changed"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    IDLE = "idle"
    EXPIRED = "expired"
    CLIENT_REMOVED = "client_removed"
    CLIENT_CHANGED = "client_changed"
    KEY_REVOKED = "key_revoked"


_INITIATORS: Mapping[str, str] = {
    Reason.OPERATOR: "admin",
    Reason.ACCOUNT_DISABLED: "admin",
    Reason.ACCOUNT_REMOVED: "admin",
    Reason.CLIENT_REMOVED: "admin",
    Reason.CLIENT_CHANGED: "admin",
    Reason.KEY_REVOKED: "admin",
    Reason.IDLE: "policy",
    Reason.EXPIRED: "policy",
    Reason.CODE_REUSED: "system",
    Reason.REFRESH_TOKEN_REUSED: "system",
}


class Heard(StrEnum):
    """How far an app has been told of an ending. One that registered no `backchannel_logout_uri` cannot be told."""

    TOLD = "told"
    WAITING = "waiting"
    UNREACHABLE = "unreachable"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class AppProgress:
    """An app, and how far it has been told."""

    name: str
    state: Heard


def initiator(reason: str) -> str:
    """Who wanted an ending, in the words of CAEP 1.0 §2: `admin`, `user`, `policy` or `system`."""
    return _INITIATORS.get(reason, "user")


def heard(state: DeliveryState) -> Heard:
    """What a delivery's state means to a person."""
    return {DeliveryState.DELIVERED: Heard.TOLD, DeliveryState.DEAD: Heard.UNREACHABLE}.get(state, Heard.WAITING)


def logout_token_claims(issuer: str, now: Instant, payload: Mapping[str, str]) -> dict[str, object]:
    """The claims of a logout token (Back-Channel Logout 1.0 §2.4); `payload` is what the delivery wrote down.

    `sid` without `sub` by default: with both, some relying parties end every session of the person.
    """
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": payload["aud"],
        "iat": int(now),
        "exp": int(now) + LOGOUT_TOKEN_LIFETIME,
        "jti": payload["jti"],
        "events": {EVENT: {}},
        "sid": payload["sid"],
    }
    return claims | {"sub": payload["sub"]} if "sub" in payload else claims
