"""Whatever the other side sends in place of JSON, a verifier says that it cannot be understood, and never breaks."""

import json
import time
from collections.abc import Callable

import pytest

from idp.protocol import events
from idp.verifier import compact
from idp.verifier.clock import HeldClock, SystemClock
from idp.verifier.errors import EventError, TokenError
from idp.verifier.events import Addressee
from idp.verifier.events import read as read_event
from idp.verifier.keyring import KeyRing
from idp.verifier.logout_token import LogoutTokens
from idp.verifier.poll import _understood
from idp.verifier.provider import Access, Credentials, ProviderMetadata, listed, parsed
from idp.verifier.status_list import Reference
from idp.verifier.status_list import read as read_status_list
from idp.verifier.streams import StreamClient
from idp.verifier.wire import Answer, ExchangeError, Flow, expect
from tests.support import spoiling
from tests.verifier.signing import b64, key, token_claims, with_signature

ISSUER = "https://idp.example"
NOW = int(time.time())


def answered(body: bytes) -> Answer:
    return Answer(200, {}, body)


def walked(flow: Flow[object], *answers: Answer) -> object:
    """A flow, each of its requests answered."""
    left = list(answers)
    try:
        next(flow)
        while True:
            flow.send(left.pop(0))
    except StopIteration as end:
        return end.value


def discovered(body: bytes) -> object:
    return walked(ProviderMetadata(ISSUER).openid("jwks_uri"), answered(body))


def renewed(body: bytes) -> object:
    provider = ProviderMetadata(ISSUER)
    provider._documents["/.well-known/openid-configuration"] = {"token_endpoint": f"{ISSUER}/token"}
    access = Access(provider, Credentials("a", "b"), HeldClock(SystemClock()))
    return walked(access._renew(), answered(body))


def made_stream(body: bytes) -> None:
    provider = ProviderMetadata(ISSUER)
    access = Access(provider, Credentials("a", "b"), HeldClock(SystemClock()))
    StreamClient(provider, access, "a", {"method": "urn:ietf:rfc:8936"})._take(parsed(answered(body), "x"))


def taken_keys(body: bytes) -> None:
    KeyRing().take(body, None, 0.0, 60.0)


def said(body: bytes) -> None:
    with pytest.raises(ExchangeError):
        expect(Answer(400, {}, body), "x", 200)


JWKS = {"keys": [key("one").as_dict(private=False) | {"use": "sig", "alg": "RS256"}]}
STREAM = {
    "stream_id": "x",
    "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": f"{ISSUER}/poll"},
    "events_delivered": sorted(events.DEADLY),
    "min_verification_interval": 5,
}
ANSWERS: dict[str, tuple[Callable[[bytes], object], object]] = {
    "discovery": (discovered, {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}),
    "a JWKS": (taken_keys, JWKS),
    "an access token": (renewed, {"access_token": "x", "token_type": "Bearer", "expires_in": 300}),
    "a stream": (made_stream, STREAM),
    "streams": (lambda body: listed(answered(body), "x"), [STREAM]),
    "a poll": (lambda body: _understood(answered(body)), {"sets": {"a": "b.c.d"}, "moreAvailable": False}),
    "introspection": (lambda body: parsed(answered(body), "x"), {"active": True, "exp": NOW}),
    "an error": (said, {"error": "x", "error_description": "y"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_member_of_an_answer(name: str) -> None:
    read, good = ANSWERS[name]
    read(json.dumps(good).encode())
    for what, body, refused in spoiling.documents(good):
        try:
            read(body)
        except (ExchangeError, ValueError) as error:
            assert len(str(error)) < 1000, what
        else:
            assert not refused or name == "an error", what


def test_a_number_of_seconds_that_is_none_makes_no_token_of_ours_last_for_ever() -> None:
    for lasts in ("1e400", "NaN", "Infinity", str(10**400), '"300"', "null"):
        with pytest.raises(ExchangeError):
            renewed(f'{{"access_token": "x", "expires_in": {lasts}}}'.encode())


# -- what it signs ----------------------------------------------------------------------------------------------------

KEYS = {"one": key("one")}
TO = Addressee(ISSUER, "app")
EVENT = {
    "iss": ISSUER,
    "aud": "app",
    "iat": NOW,
    "jti": "x",
    "txn": "y",
    "sub_id": {
        "format": "complex",
        "session": {"format": "opaque", "id": "s"},
        "user": {"format": "iss_sub", "iss": ISSUER, "sub": "a"},
    },
    "events": {events.SESSION_REVOKED: {"event_timestamp": NOW, "reason_admin": {"en": "x"}, "tokens_until": NOW + 60}},
}
LOGOUT = {
    "iss": ISSUER,
    "aud": "app",
    "iat": NOW,
    "exp": NOW + 120,
    "sid": "s",
    "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
}
LIST = {
    "iss": ISSUER,
    "sub": f"{ISSUER}/status/0",
    "iat": NOW,
    "exp": NOW + 120,
    "ttl": 15,
    "status_list": {"bits": 2, "lst": "eNrbuRgAAhcBXQ"},
}
TOKEN = token_claims(ISSUER, status={"status_list": {"idx": 5, "uri": f"{ISSUER}/status/0"}})


def logout(text: str) -> object:
    return LogoutTokens(TO, 300).read(text, KEYS, NOW)


def access(text: str) -> object:
    claims, _ = compact.read(text, KEYS, "at+jwt")
    return Reference.of(claims)


JWTS: dict[str, tuple[Callable[[str], object], dict[str, object], str]] = {
    "a security event": (lambda text: read_event(text, KEYS, TO, NOW), EVENT, "secevent+jwt"),
    "a logout token": (logout, LOGOUT | {"jti": "x"}, "logout+jwt"),
    "a status list": (lambda text: read_status_list(text, KEYS, ISSUER, f"{ISSUER}/status/0"), LIST, "statuslist+jwt"),
    "an access token": (access, TOKEN, "at+jwt"),
}


@pytest.mark.parametrize("name", JWTS)
@pytest.mark.parametrize("part", ["header", "claims"])
def test_every_member_of_a_jwt_that_is_signed(name: str, part: str) -> None:
    read, claims, typ = JWTS[name]
    header: dict[str, object] = {"alg": "RS256", "kid": "one", "typ": typ}
    good = {"header": header, "claims": claims}
    read(with_signature(".".join(b64(json.dumps(each)) for each in (header, claims)), "one"))
    for what, body, refused in spoiling.documents(good[part]):
        parts = {name: json.dumps(each).encode() for name, each in good.items()} | {part: body}
        text = with_signature(f"{b64(parts['header'])}.{b64(parts['claims'])}", "one")
        try:
            read(text)
        except (TokenError, EventError) as error:
            assert len(str(error)) < 1000, what
        else:
            assert not refused, what


@pytest.mark.parametrize("name", JWTS)
def test_a_jwt_of_another_kind_is_refused_though_its_claims_would_do(name: str) -> None:
    """RFC 8725 §3.11: only its own type will do, and none at all will not."""
    read, claims, own = JWTS[name]
    others = [
        "JWT",
        "at+jwt",
        "logout+jwt",
        "secevent+jwt",
        "statuslist+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
    ]
    for typ in [*(each for each in others if each != own), "", own + "x", f"application/x-{own}", f"text/{own}"]:
        header = {"alg": "RS256", "kid": "one", "typ": typ}
        with pytest.raises((TokenError, EventError)):
            read(with_signature(f"{b64(json.dumps(header))}.{b64(json.dumps(claims))}", "one"))
    untyped = with_signature(f"{b64(json.dumps({'alg': 'RS256', 'kid': 'one'}))}.{b64(json.dumps(claims))}", "one")
    with pytest.raises((TokenError, EventError)):
        read(untyped)
