"""Security event tokens read strictly (RFC 8417, RFC 8935 §2): what ended by them."""

from collections.abc import Mapping
from dataclasses import dataclass

from joserfc.jwk import RSAKey

from idp.protocol import events
from idp.verifier import compact
from idp.verifier.claims import instant, is_for
from idp.verifier.errors import BadSignatureError, EventError, TokenError, UnknownKeyError
from idp.verifier.rules import Ending, Kind

#: No event of ours is as long.
MAXIMUM_LENGTH = 65_536
#: For how long an ending is remembered whose event does not say until when it matters.
UNSAID_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Ended:
    """An ending, and the instant after which no token that it names can be alive."""

    ending: Ending
    tokens_until: float


@dataclass(frozen=True, slots=True)
class Event:
    """What one SET says: what ended, the `state` of a verification event, the new status of the stream."""

    jti: str
    ended: tuple[Ended, ...]
    state: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whose events are believed, and for whom they are."""

    issuer: str
    client_id: str


def read(text: str, keys: Mapping[str, RSAKey], to: Addressee, now: float) -> Event:
    """Raises UnknownKeyError, and EventError for what is no event of this issuer for us, or cannot be understood."""
    claims = _claims(text, keys)
    if claims.get("iss") != to.issuer:
        code, message = "invalid_issuer", "of another issuer"
        raise EventError(code, message)
    if not is_for(claims.get("aud"), frozenset({to.client_id})):
        code, message = "invalid_audience", "for another audience"
        raise EventError(code, message)
    jti, said, subject = claims.get("jti"), claims.get("events"), claims.get("sub_id", {})
    if not isinstance(jti, str) or instant(claims.get("iat")) is None or not isinstance(said, dict) or not said:
        raise _unclear("jti, iat or events are missing")
    if not isinstance(subject, dict) or not all(isinstance(details, dict) for details in said.values()):
        raise _unclear("its subject or an event is no object")
    ended = tuple(
        Ended(ending, _until(details, now))
        for event, details in said.items()
        if event in events.DEADLY
        for ending in [_ending(event, subject, details, to.issuer, now)]
    )
    state = said.get(events.VERIFICATION, {}).get("state")
    status = said.get(events.STREAM_UPDATED, {}).get("status")
    return Event(jti, ended, state if isinstance(state, str) else None, status if isinstance(status, str) else None)


def _claims(text: str, keys: Mapping[str, RSAKey]) -> dict[str, object]:
    try:
        return compact.read(text, keys, events.SET_TYP, MAXIMUM_LENGTH)[0]
    except UnknownKeyError:
        raise
    except TokenError as error:
        code = "invalid_key" if isinstance(error, BadSignatureError) else "invalid_request"
        raise EventError(code, str(error)) from None


def _ending(event: str, subject: Mapping[str, object], details: Mapping[str, object], issuer: str, now: float) -> Ending:
    """What ended. An event that should end something and cannot be understood is an error: silence would be worse."""
    kind, value = _named(event, subject, issuer)
    if not isinstance(value, str) or not value:
        raise _unclear(f"its subject does not fit {event}")
    at = instant(details.get("event_timestamp"))
    return Ending(kind, value, _reason(details.get("reason_admin")), now if at is None else at)


def _named(event: str, subject: Mapping[str, object], issuer: str) -> tuple[Kind, object]:
    if event == events.SESSION_REVOKED:
        return "sid", _opaque(subject.get("session")) if subject.get("format") == "complex" else None
    if event == events.TOKENS_REVOKED:
        alone = subject.keys() == {"format", "application"} and subject["format"] == "complex"
        return "client_id", _opaque(subject["application"]) if alone else None
    if event == events.TOKEN_REVOKED:
        ours = subject.get("format") == "jwt_id" and subject.get("iss") == issuer
        return "jti", subject.get("jti") if ours else None
    return "family" if event == events.FAMILY_REVOKED else "kid", _opaque(subject)


def _opaque(subject: object) -> object:
    return subject.get("id") if isinstance(subject, dict) and subject.get("format") == "opaque" else None


def _reason(said: object) -> str:
    if isinstance(said, dict):
        said = next(iter(said.values()), "")
    return said[:200] if isinstance(said, str) else ""


def _until(details: Mapping[str, object], now: float) -> float:
    until = instant(details.get("tokens_until"))
    return now + UNSAID_SECONDS if until is None else until


def _unclear(message: str) -> EventError:
    return EventError("invalid_request", message, is_ours=True)
