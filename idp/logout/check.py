"""`idp client check`: real logout tokens for a session that nobody has, good and broken, and what a relying party made of them.

A correct receiver takes the first, and refuses every other with 400 (Back-Channel Logout 1.0 §2.6, §2.8). One that refuses
the first is shown a `sub` as well, for some demand it. What it says of itself is shown.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from urllib.parse import urlencode

from idp.clients.rules import Client
from idp.keys.service import KeyService
from idp.logout import rules
from idp.protocol import strict_json
from idp.protocol.signatures import DEFAULT_ALG
from idp.runtime import secrets
from idp.runtime.clock import Instant
from idp.runtime.outbound.client import HttpReply, Outbound, OutboundError
from idp.runtime.secrets import b64url
from idp.tokens.rules import JTI_BYTES

#: Longer than this, in seconds, and sign-outs of many people pile up.
SLOW_SECONDS = 2.0
_GOOD, _REFUSED = (200, 204), 400
_LONGEST_SAYING = 200
_URL = re.compile(r"https?://[^\s\"'<>,;()\]}]+")
_SPEAKS_OF_ISSUER = re.compile(r"\biss(uer)?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Check:
    """One token that was sent. `verdict` is `good`, `note` or `wrong`; `words` say what to do, `said` is the receiver's own."""

    sent: str
    answer: str
    ms: int
    verdict: str
    words: str
    said: str = ""

    def shown(self) -> Mapping[str, object]:
        """As a row."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Checker:
    """Makes the tokens of one deployment, and posts them through the guarded client."""

    issuer: str
    keys: KeyService
    outbound: Outbound

    def check(self, client: Client, uri: str, now: Instant) -> Iterator[Check]:
        """Each token, sent and judged. The first that cannot be sent at all is the last."""
        other = self._other_issuer()
        if other is not None:
            words = f"this command signs for {self.issuer}, and there {other} is served: set IDP_ISSUER as for `idp serve`"
            yield Check("nothing yet", "-", 0, "wrong", words)
        claims = self._claims(client, now)
        valid = self._signed(claims, client, now)
        first = self._send(uri, "a valid logout token", valid, self._judge_valid)
        yield first
        if first.answer == "-":
            return
        if first.verdict == "wrong" and "sub" not in claims:
            named = self._signed(self._claims(client, now) | {"sub": secrets.token(16)}, client, now)
            yield self._send(uri, "one with a sub as well", named, _judge_named)
        yield self._send(uri, "the same token again", valid, _judge_again)
        for what, why, token in self._broken(client, now):
            yield self._send(uri, what, token, partial(_judge_broken, why))

    def _broken(self, client: Client, now: Instant) -> Iterator[tuple[str, str, str]]:
        """What is sent, what a receiver fails to check that takes it, and the token."""

        def changed(**members: object) -> str:
            whole = self._claims(client, now) | members
            return self._signed({name: value for name, value in whole.items() if value is not None}, client, now)

        yield "one for another client", "aud: any other app could have its token posted to you (step 4)", changed(aud="another")
        yield "one of another issuer", "iss (step 4)", changed(iss="https://other.example")
        yield "one with a nonce", "nonce: an ID token could be posted as a logout token (step 7)", changed(nonce="n")
        yield "one that expired", "exp (step 4)", changed(iat=int(now) - 7200, exp=int(now) - 3600)
        yield "one without events", "events (step 6)", changed(events=None)
        yield "one without sid and sub", "that it names somebody (step 5)", changed(sid=None, sub=None)
        valid = self._signed(self._claims(client, now), client, now)
        header, payload, signature = valid.split(".")
        yield (
            "one with a wrong signature",
            "the signature: anybody could sign your people out",
            f"{header}.{payload}.{signature[::-1]}",
        )
        unsigned = b64url(json.dumps({"alg": "none", "typ": rules.LOGOUT_TOKEN_TYP}).encode())
        yield "one with alg none", "alg: anybody could sign your people out (step 3)", f"{unsigned}.{payload}."
        yield "something that is no token", "that it is a JWT (step 1)", "garbage"

    def _other_issuer(self) -> str | None:
        """The issuer that is served where ours should be, if it is another one: receivers compare it to the letter."""
        try:
            document = strict_json.loads(self.outbound.get(f"{self.issuer}/.well-known/openid-configuration").body)
        except (OutboundError, ValueError):
            return None  # it cannot be reached from here, which says nothing of whether receivers reach it
        found = document.get("issuer") if isinstance(document, dict) else None
        return _printable(found) if isinstance(found, str) and found != self.issuer else None

    def _judge_valid(self, answer: HttpReply, seconds: float) -> tuple[str, str]:
        verdict, words = _judge_valid(answer, seconds)
        said = _said(answer)
        others = {url.rstrip(".") for url in _URL.findall(said)} - {self.issuer}
        if verdict == "wrong" and (_SPEAKS_OF_ISSUER.search(said) or others):
            words += f"; it seems to expect another issuer: ours is {self.issuer}, to the letter"
        return verdict, words

    def _claims(self, client: Client, now: Instant) -> dict[str, object]:
        payload = {"aud": client.client_id, "sid": secrets.token(24), "jti": secrets.token(JTI_BYTES)}
        if client.backchannel_logout_include_sub:
            payload["sub"] = secrets.token(16)
        return rules.logout_token_claims(self.issuer, now, payload)

    def _signed(self, claims: Mapping[str, object], client: Client, now: Instant) -> str:
        alg = client.id_token_signed_response_alg
        return self.keys.sign(rules.LOGOUT_TOKEN_TYP, claims, now, alg if self.keys.can_sign(alg) else DEFAULT_ALG)

    def _send(self, uri: str, what: str, token: str, judge: Callable[[HttpReply, float], tuple[str, str]]) -> Check:
        began = perf_counter()
        try:
            body = urlencode({"logout_token": token}).encode()
            answer = self.outbound.post(uri, body=body, content_type="application/x-www-form-urlencoded")
        except OutboundError as error:
            return Check(what, "-", round((perf_counter() - began) * 1000), "wrong", f"it cannot be reached: {error}")
        seconds = perf_counter() - began
        verdict, words = judge(answer, seconds)
        return Check(what, str(answer.status), round(seconds * 1000), verdict, words, _said(answer))


def _said(answer: HttpReply) -> str:
    """The receiver's own `error` and `error_description` (§2.8), on one line and no longer than one."""
    try:
        document = strict_json.loads(answer.body)
    except ValueError:
        return ""
    members = [document.get(name) for name in ("error", "error_description")] if isinstance(document, dict) else []
    return ": ".join(_printable(member) for member in members if isinstance(member, str) and member)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:_LONGEST_SAYING])


def _judge_named(answer: HttpReply, _seconds: float) -> tuple[str, str]:
    if answer.status in _GOOD:
        return "wrong", "this one was taken: it demands a sub, so register backchannel_logout_include_sub for this client"
    return "note", "it was not taken either: a sub is not what it wants"


def _judge_valid(answer: HttpReply, seconds: float) -> tuple[str, str]:
    if 300 <= answer.status < 400:  # noqa: PLR2004 - a class of HTTP statuses
        return "wrong", "redirects are not followed: answer at the registered address itself"
    if answer.status not in _GOOD:
        return "wrong", "answer 200 or 204 to a valid token, also when you know no such session"
    if "no-store" not in answer.headers.get("cache-control", ""):
        return "note", "taken; answer with Cache-Control: no-store (section 2.8)"
    if seconds > SLOW_SECONDS:
        return "note", "taken, but slowly: end the session after the answer, or in a queue"
    return "good", "taken"


def _judge_again(answer: HttpReply, _seconds: float) -> tuple[str, str]:
    if answer.status == _REFUSED or answer.status in _GOOD:
        return (
            "good",
            "refused as a replay" if answer.status == _REFUSED else "taken again: harmless where nothing is left to end",
        )
    return "wrong", "answer 200, or 400 where you remember each jti (step 8)"


def _judge_broken(why: str, answer: HttpReply, _seconds: float) -> tuple[str, str]:
    if answer.status == _REFUSED:
        return "good", "refused"
    if answer.status in _GOOD:
        return "wrong", f"it was taken: check {why}"
    return "note", "it was not taken; answer 400, since anything else may be sent again"
