"""A receiver of back-channel logout, to be copied: it needs joserfc and httpx2, and nothing else from this folder.

`validate_logout_token` is the rule: OpenID Connect Back-Channel Logout 1.0 §2.6, its steps in their order, with no I/O.
`Receiver` is what stands around it in an app: reading the form, fetching keys, remembering what was received.
"""

import json
import math
import threading
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAXIMUM_TOKEN = 16 * 1024  # characters; a logout token has about 700
MAXIMUM_AGE = 600  # seconds after `iat`; bounds in time what a `JtiMemory` must keep
LEEWAY = 60  # seconds by which two clocks may differ
COOL_DOWN = 10  # seconds between two fetches of the provider's keys that an unknown `kid` may cause

Keys = Mapping[str, RSAKey]


class LogoutTokenError(ValueError):
    """A logout token that must be refused; its text says which step of §2.6 failed and may be sent to the provider."""


class UnknownKeyError(LogoutTokenError):
    """Its `kid` is not among the keys at hand: fetch them again before refusing, the provider may have rotated."""


class AlreadyReceivedError(LogoutTokenError):
    """A token with this `jti` was carried out before (§2.6 step 8)."""


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """What a valid token asks for: the end of the session `sid`, or, without one, of all sessions of `sub`."""

    iss: str
    sid: str | None
    sub: str | None
    jti: str
    until: float  # Unix time after which the token is refused in any case


def validate_logout_token(
    token: str, *, issuer: str, client_id: str, keys: Keys, now: float, seen_jti: Container[str]
) -> LogoutToken:
    """The logout token's meaning. Raises LogoutTokenError for whatever is wrong with it (§2.6).

    `now` is Unix time in seconds, `keys` the provider's by `kid`, `seen_jti` the tokens that were carried out before.
    """
    _require(len(token) <= MAXIMUM_TOKEN, f"logout_token is longer than {MAXIMUM_TOKEN} characters")
    claims = _verified(token, keys)
    until = _check_issue(claims, issuer, client_id, now)
    sid, sub = _text_or_absent(claims, "sid"), _text_or_absent(claims, "sub")
    _require(sid is not None or sub is not None, "neither sid nor sub is present (step 5)")
    events = claims.get("events")
    # RFC 8417 §2.2 would allow more members; a token that also says something else is not the one we understand.
    _require(isinstance(events, dict) and list(events) == [EVENT], f"events is not exactly {EVENT} (step 6)")
    _require(isinstance(events, dict) and isinstance(events[EVENT], dict), "the event is not an object (step 6)")
    # An ID token stolen from a browser carries a nonce: this step keeps it from being posted here as a logout token.
    _require("nonce" not in claims, "nonce is present (step 7)")
    jti = _text_or_absent(claims, "jti")
    if jti is None:
        message = "jti is missing (section 2.4)"
        raise LogoutTokenError(message)
    if jti in seen_jti:
        message = "a token with this jti was received before (step 8)"
        raise AlreadyReceivedError(message)
    return LogoutToken(iss=issuer, sid=sid, sub=sub, jti=jti, until=until)


def _require(holds: object, message: str) -> None:
    if not holds:
        raise LogoutTokenError(message)


def _verified(token: str, keys: Keys) -> Mapping[str, object]:
    """The claims of a token whose signature holds (steps 1 to 3)."""
    parts = token.split(".")
    _require(len(parts) == 3, "not a signed JWT of three parts; encrypted ones are not expected here (step 1)")
    try:
        header = json.loads(urlsafe_b64decode(parts[0] + "=="))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        message = "the header is not a JSON object"
        raise LogoutTokenError(message)
    # Fixed here, never taken from the token: `none` needs no key, and HS256 would take the public key for a secret.
    _require(header.get("alg") == "RS256", "alg is not RS256 (step 3)")
    # RFC 8725 §3.11: without the type, any other JWT of this provider for this client might be tried here.
    typ = header.get("typ")
    _require(isinstance(typ, str) and typ.lower().removeprefix("application/") == "logout+jwt", "typ is not logout+jwt")
    _require("crit" not in header, "crit names extensions that are not understood here (RFC 7515 section 4.1.11)")
    kid = header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        message = "kid is missing or not among the provider's keys (step 2)"
        raise UnknownKeyError(message)
    try:
        return jwt.decode(token, key, registry=JWSRegistry(algorithms=["RS256"], strict_check_header=False)).claims
    except (JoseError, ValueError, RecursionError):
        message = "the signature does not hold (step 2)"
        raise LogoutTokenError(message) from None


def _check_issue(claims: Mapping[str, object], issuer: str, client_id: str, now: float) -> float:
    """Step 4: who issued it, for whom, and when. Returns the Unix time until which it holds."""
    _require(claims.get("iss") == issuer, "iss is not the provider (step 4)")
    # Another audience beside us could take the token and post it here (OpenID Connect Core §3.1.3.7, 3).
    _require(claims.get("aud") in (client_id, [client_id]), "aud is not this client alone (step 4)")
    issued_at, expires_at = _instant(claims, "iat"), _instant(claims, "exp")
    _require(issued_at <= now + LEEWAY, "iat is in the future (step 4)")
    until = min(expires_at, issued_at + MAXIMUM_AGE) + LEEWAY
    _require(now < until, "exp has passed, or iat is too long ago (step 4)")
    return until


def _instant(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        message = f"{name} is missing or not a number (step 4)"
        raise LogoutTokenError(message)
    return value


def _text_or_absent(claims: Mapping[str, object], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not (isinstance(value, str) and value):
        message = f"{name} is not a string"
        raise LogoutTokenError(message)
    return value


class JtiMemory(Container[str]):
    """The `jti`s of tokens carried out, each until its token expires anyway, and `size` of them at most."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._until: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, jti: object) -> bool:
        return jti in self._until

    def add(self, jti: str, until: float, now: float) -> None:
        """Remember; forget what has expired, and the oldest where room is needed (only the provider can fill it)."""
        for old in [old for old, instant in self._until.items() if instant <= now]:
            del self._until[old]
        while len(self._until) >= self._size:
            self._until.popitem(last=False)
        self._until[jti] = until


def keys_of(jwks: Mapping[str, object]) -> Keys:
    """The RSA signature keys of a JWK Set by `kid`; others are none of our business (RFC 7517 §5)."""
    found: dict[str, RSAKey] = {}
    listed = jwks.get("keys")
    for jwk in listed if isinstance(listed, list) else []:
        with suppress(JoseError, ValueError, KeyError, TypeError, AttributeError):
            if jwk["kty"] == "RSA" and jwk.get("use", "sig") == "sig" and jwk.get("alg", "RS256") == "RS256":
                found[str(jwk["kid"])] = RSAKey.import_key(jwk)
    return found


def fetch_keys(issuer: str) -> Keys:
    """The provider's keys, found by discovery. Raises httpx2.HTTPError or ValueError when it cannot be asked."""
    with httpx2.Client(timeout=5) as client:
        metadata = client.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
        if metadata["issuer"] != issuer:  # OpenID Connect Discovery 1.0 §4.3: one provider must not speak for another
            message = f"the discovery document of {issuer} names another issuer"
            raise ValueError(message)
        return keys_of(client.get(metadata["jwks_uri"]).raise_for_status().json())


class KeysUnavailableError(Exception):
    """Whether the token is good cannot be known now, for want of the provider's keys."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send back, in whatever framework."""

    status: int
    body: str
    headers: Mapping[str, str]


def accepted() -> Answer:
    """The session has ended, or there was none (§2.8). No cache may keep the answer."""
    return Answer(200, "", {"Cache-Control": "no-store"})


def refused(status: int, error: str, description: str) -> Answer:
    """Not carried out, and why (§2.8)."""
    body = json.dumps({"error": error, "error_description": description})
    again = {"Retry-After": str(COOL_DOWN)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Answer(status, body, {"Cache-Control": "no-store", "Content-Type": "application/json", **again})


class Receiver:
    """The receiver of one app at one provider. `receive` may be called from several threads at once."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        fetch: Callable[[str], Keys] = fetch_keys,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer, self._client_id, self._fetch, self._clock = issuer, client_id, fetch, clock
        self._seen = JtiMemory()
        self._keys: Keys = {}
        self._asked_at = -math.inf
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Fetch the keys in the background if there are none yet: call it when somebody signs in.

        The first logout token is then not delayed by two requests, and is understood while the provider restarts.
        """
        if not self._keys:
            threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        with suppress(KeysUnavailableError):
            self._keys_after({})

    def receive(self, body: bytes, end: Callable[[LogoutToken], object]) -> Answer:
        """Carry out the request whose form-encoded body is `body` (§2.5): calls `end`, says what to answer (§2.8)."""
        try:
            token = self._validate(_posted_token(body))
        except AlreadyReceivedError:
            # The provider asks again when our answer was lost. Nothing is left to do, and "refused" would be untrue.
            return accepted()
        except LogoutTokenError as error:
            return refused(400, "invalid_request", str(error))
        except KeysUnavailableError as error:
            # 400 would be final. So that nobody makes us refuse good tokens by posting bad ones first: ask again.
            return refused(503, "temporarily_unavailable", str(error))
        end(token)  # where this fails the provider must ask again, so the jti is remembered only afterwards
        with self._lock:
            self._seen.add(token.jti, token.until, self._clock())
        return accepted()

    def _validate(self, posted: str) -> LogoutToken:
        keys = self._keys
        try:
            return self._validate_with(keys, posted)
        except UnknownKeyError:
            return self._validate_with(self._keys_after(keys), posted)

    def _validate_with(self, keys: Keys, posted: str) -> LogoutToken:
        return validate_logout_token(
            posted, issuer=self._issuer, client_id=self._client_id, keys=keys, now=self._clock(), seen_jti=self._seen
        )

    def _keys_after(self, known: Keys) -> Keys:
        """Keys newer than those `known`, fetched now unless another thread just did.

        Anybody may post here with a `kid` of their own invention: the cool-down keeps us from flooding the provider.
        """
        with self._lock:
            if self._keys != known:
                return self._keys
            if self._clock() - self._asked_at < COOL_DOWN:
                message = "kid is unknown, and the provider's keys were asked for a moment ago"
                raise KeysUnavailableError(message)
            self._asked_at = self._clock()
            try:
                self._keys = self._fetch(self._issuer)
            except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
                message = "the provider's keys cannot be fetched"
                raise KeysUnavailableError(message) from error
            return self._keys


def _posted_token(body: bytes) -> str:
    """The one `logout_token` of a form-encoded body (§2.5); other parameters may stand beside it."""
    _require(len(body) <= 2 * MAXIMUM_TOKEN, "the request is too long")
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=16)
    except ValueError:
        fields = {}
    values = fields.get("logout_token", [])
    _require(len(values) == 1, "exactly one logout_token is expected in a form-encoded body (section 2.5)")
    return values[0]
