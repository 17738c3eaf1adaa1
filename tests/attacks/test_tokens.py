"""docs/threats.md 17-22: tokens taken for what they are not, forged ones, and questions nobody may ask."""

import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from urllib.parse import urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK

from tests.attacks import raw
from tests.attacks.conftest import ON_ONE_DATABASE
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

#: Long, for a machine on which much else runs; `tests/keys` measures the judgement itself in milliseconds.
PATIENCE = 2.0


def b64(data: bytes | str) -> str:
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@cache
def stranger() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def logout_token(app: RelyingParty, sid: str) -> str:
    """A logout token that this provider signed."""
    services = app.provider.services
    services.keys.load()
    now = services.database.clock()
    claims = {"iss": app.provider.issuer, "aud": app.client_id, "iat": int(now), "exp": int(now) + 120, "jti": "x", "sid": sid}
    return services.keys.sign(
        "logout+jwt", claims | {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, now
    )


def is_worthless(app: RelyingParty, token: str) -> None:
    """No endpoint takes it for anything, and none takes long to see that."""
    issuer = app.provider.issuer
    began = time.perf_counter()
    body = urlencode({"token": token}).encode()
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    client_id, secret = app.auth  # type: ignore[misc]
    basic = httpx.BasicAuth(client_id, secret)._auth_header
    in_header = "\n" not in token and "\r" not in token and "\x00" not in token and token.isascii() and len(token) < 8000
    if in_header:
        answer = raw.send(app.provider, "GET", "/userinfo", [("Authorization", f"Bearer {token}")])
        assert answer.status == 401 if token.strip() else answer.status in {400, 401}
        assert str(answer.header("WWW-Authenticate")).startswith("Bearer")
    answers = [
        raw.send(app.provider, "POST", "/userinfo", form, urlencode({"access_token": token}).encode()),
        raw.send(app.provider, "POST", "/introspect", [*form, ("Authorization", basic)], body),
        raw.send(app.provider, "POST", "/revoke", [*form, ("Authorization", basic)], body),
    ]
    for answer in answers:
        assert 200 <= answer.status < 500, answer
    assert answers[0].status in {400, 401, 413}
    assert answers[1].status in {400, 413} or json.loads(answers[1].body) == {"active": False}
    if len(token) < 8000:
        hint = urlencode(
            {"id_token_hint": token, "client_id": app.client_id, "post_logout_redirect_uri": _bye(app), "state": "x"}
        )
        answer = raw.send(app.provider, "GET", f"/logout?{hint}")
        assert answer.status in {200, 400}
        assert answer.header("Location") is None
        answer = raw.send(
            app.provider,
            "GET",
            f"/authorize?{httpx.URL(app.authorization_url(id_token_hint=token, prompt='none')).query.decode()}",
        )
        assert answer.status in {303, 400}
        assert "code=" not in str(answer.header("Location"))
        assert issuer
    assert time.perf_counter() - began < PATIENCE


def _bye(app: RelyingParty) -> str:
    return str(app.registration["post_logout_redirect_uris"][0])  # type: ignore[index]


# -- 17: tokens taken for what they are not ---------------------------------------------------------------------------


@pytest.mark.parametrize("typ", ["at+jwt", "JWT"])
def test_an_id_token_opens_nothing_as_an_access_token(provider: RunningProvider, person: Person, typ: str) -> None:
    app = RelyingParty.register(provider, access_token_header_typ=typ)
    tokens = app.sign_in(person)
    assert app.userinfo(tokens["id_token"]).status_code == 401
    assert app.introspect(tokens["id_token"]) == {"active": False}
    app.revoke(tokens["id_token"])
    assert app.userinfo(tokens["access_token"]).status_code == 200


@pytest.mark.parametrize("typ", ["at+jwt", "JWT"])
def test_an_access_token_is_no_id_token_hint(provider: RunningProvider, person: Person, typ: str) -> None:
    app = RelyingParty.register(provider, access_token_header_typ=typ)
    tokens = app.sign_in(person)
    query = urlencode(
        {"id_token_hint": tokens["access_token"], "client_id": app.client_id, "post_logout_redirect_uri": _bye(app)}
    )
    assert person.open(f"logout?{query}").main == "logout-page"
    page = person.open(app.authorization_url(id_token_hint=tokens["access_token"], prompt="none"))
    assert page.query["error"] == "invalid_request"


def test_a_logout_token_is_neither_a_hint_nor_an_access_token(app: RelyingParty, person: Person) -> None:
    tokens = app.sign_in(person)
    sid = str(app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["sid"])
    stolen = logout_token(app, sid)
    assert (
        person.open(f"logout?{urlencode({'id_token_hint': stolen, 'post_logout_redirect_uri': _bye(app)})}").main
        == "logout-page"
    )
    assert person.open(app.authorization_url(id_token_hint=stolen, prompt="none")).query["error"] == "invalid_request"
    assert app.userinfo(stolen).status_code == 401
    assert app.introspect(stolen) == {"active": False}
    assert app.userinfo(tokens["access_token"]).status_code == 200


def test_a_refresh_token_or_a_code_opens_nothing_at_userinfo(app: RelyingParty, person: Person) -> None:
    tokens = app.sign_in(person)
    code = app.code_from(person.open(app.authorization_url()))
    for token in (tokens["refresh_token"], code):
        assert app.userinfo(token).status_code == 401
    assert app.introspect(code) == {"active": False}


def test_an_access_token_in_the_query_is_not_read(app: RelyingParty, person: Person) -> None:
    token = app.sign_in(person)["access_token"]
    assert http.get(f"{app.provider.issuer}/userinfo", params={"access_token": token}).status_code == 401
    assert http.post(f"{app.provider.issuer}/userinfo", params={"access_token": token}).status_code == 401
    form = http.post(f"{app.provider.issuer}/userinfo", data={"access_token": token})
    assert form.status_code == 200
    both = http.post(
        f"{app.provider.issuer}/userinfo", data={"access_token": token}, headers={"Authorization": f"Bearer {token}"}
    )
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")


def test_a_token_without_openid_opens_nothing_at_userinfo(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, scope="openid reports")
    page = person.open(app.authorization_url(scope="reports"))
    page = person.sign_in(page, "alice", "correct horse battery staple")
    tokens = app.redeem(app.code_from(page)).json()
    assert "id_token" not in tokens
    answer = app.userinfo(tokens["access_token"])
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


# -- 18, 20: forged and misshapen tokens ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def genuine(app: RelyingParty, provider: RunningProvider) -> dict[str, str]:
    """Tokens of a live session: what forgeries are made from."""
    person = Person(provider.issuer)
    tokens: dict[str, str] = app.sign_in(person)
    person.http.close()
    return tokens


def parts(token: str) -> tuple[dict[str, object], dict[str, object], str]:
    header, claims, signature = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims)), signature


def forge(header: dict[str, object] | str, claims: dict[str, object] | str, signature: str | None = None) -> str:
    """A JWT signed RS256 by a stranger's key, or with the signature given."""
    shown = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    body = f"{b64(shown[0])}.{b64(shown[1])}"
    if signature is None:
        signature = b64(stranger().sign(body.encode(), padding.PKCS1v15(), SHA256()))
    return f"{body}.{signature}"


@ON_ONE_DATABASE
@pytest.mark.parametrize("kind", ["access_token", "id_token"])
@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
def test_an_unsigned_token_is_worthless(app: RelyingParty, genuine: dict[str, str], kind: str, alg: str) -> None:
    header, claims, signature = parts(genuine[kind])
    for cut in ("", signature):
        is_worthless(app, forge(header | {"alg": alg}, claims, cut))


@ON_ONE_DATABASE
@pytest.mark.parametrize("kind", ["access_token", "id_token"])
def test_a_token_signed_with_our_public_key_as_a_shared_secret_is_worthless(
    app: RelyingParty, genuine: dict[str, str], kind: str
) -> None:
    header, claims, _ = parts(genuine[kind])
    published = next(key for key in http.get(f"{app.provider.issuer}/jwks").json()["keys"] if key["kid"] == header["kid"])
    public = PyJWK(published).key
    secrets = [public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo) for encoding in (Encoding.PEM, Encoding.DER)]
    for secret in [*secrets, published["n"].encode(), json.dumps(published).encode()]:
        for said in ("HS256", "RS256"):
            body = f"{b64(json.dumps(header | {'alg': said}))}.{b64(json.dumps(claims))}"
            is_worthless(app, f"{body}.{b64(hmac.digest(secret, body.encode(), 'sha256'))}")


@ON_ONE_DATABASE
@pytest.mark.parametrize("kind", ["access_token", "id_token"])
def test_a_token_signed_by_another_key_under_our_kid_is_worthless(
    app: RelyingParty, genuine: dict[str, str], kind: str
) -> None:
    header, claims, signature = parts(genuine[kind])
    is_worthless(app, forge(header, claims))
    is_worthless(app, forge(header, claims | {"sub": "bob", "exp": 9999999999}, signature))
    other = next(key["kid"] for key in http.get(f"{app.provider.issuer}/jwks").json()["keys"] if key["kid"] != header["kid"])
    is_worthless(app, forge(header | {"kid": other}, claims, signature))


KIDS = [
    "",
    "../../../dev/null",
    "/etc/passwd",
    "' OR '1'='1' --",
    "x' UNION SELECT sealed FROM signing_keys --",
    "\x00",
    "https://evil.example/jwks",
    "x" * 4000,
    None,
    0,
    ["a"],
    {},
]


@pytest.mark.parametrize("kid", KIDS, ids=range(len(KIDS)))
def test_a_kid_is_only_ever_looked_up(app: RelyingParty, genuine: dict[str, str], kid: object) -> None:
    header, claims, _ = parts(genuine["access_token"])
    is_worthless(app, forge(header | {"kid": kid}, claims))


HEADERS: list[dict[str, object]] = [
    {"jku": "https://evil.example/jwks"},
    {"x5u": "https://evil.example/cert"},
    {"x5c": ["MIIB"]},
    {"crit": ["exp"]},
    {"crit": ["b64"], "b64": False},
    {"zip": "DEF"},
    {"cty": "JWT"},
]


@ON_ONE_DATABASE
@pytest.mark.parametrize("more", HEADERS, ids=[next(iter(more)) for more in HEADERS])
def test_a_header_that_names_a_key_or_a_rule_of_its_own_is_refused(
    app: RelyingParty, genuine: dict[str, str], more: dict[str, object]
) -> None:
    header, claims, signature = parts(genuine["access_token"])
    is_worthless(app, forge(header | more, claims))
    is_worthless(app, forge(header | more, claims, signature))


@ON_ONE_DATABASE
def test_a_key_that_comes_with_the_token_is_not_used(app: RelyingParty, genuine: dict[str, str]) -> None:
    header, claims, _ = parts(genuine["access_token"])
    numbers = stranger().public_key().public_numbers()
    jwk = {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB", "kid": header["kid"]}
    is_worthless(app, forge(header | {"jwk": jwk}, claims))


@ON_ONE_DATABASE
def test_members_given_twice_open_nothing(app: RelyingParty, genuine: dict[str, str]) -> None:
    header, claims, signature = parts(genuine["access_token"])
    for first, second in (("none", "RS256"), ("RS256", "none")):
        doubled = f'{{"alg":"{first}","alg":"{second}","kid":"{header["kid"]}","typ":"at+jwt"}}'
        for cut in ("", signature, None):
            is_worthless(app, forge(doubled, claims, cut))
    is_worthless(app, forge(header, json.dumps(claims)[:-1] + ',"sub":"bob"}', signature))


MISSHAPEN = {
    "nothing between the dots": "..",
    "one dot": ".",
    "many dots": "." * 5000,
    "no dots": "x" * 5000,
    "not base64": "a!b.c!d.e!f",
    "deep header": b64("[" * 3000) + ".e30.AA",
    "deep claims": "eyJhbGciOiJSUzI1NiJ9." + b64("[" * 5000) + ".AA",
    "deep object": b64('{"a":' * 1000) + ".e30.AA",
    "large": "A" * 30_000 + ".B.C",
    "very large": "A.B." + "C" * 60_000,
    "five parts": "a.b.c.d.e",
    "a JWE with zip": b64('{"alg":"dir","enc":"A128GCM","zip":"DEF"}') + "..a.b.c",
    "padding": "eyJhbGciOiJSUzI1NiJ9==.e30=.AA==",
    "white space": " eyJhbGciOiJSUzI1NiJ9 . e30 . AA ",
    "line breaks": "eyJhbGciOiJSUzI1NiJ9\n.e30\n.AA",
    "NUL": "eyJhbGciOiJSUzI1NiJ9.\x00.AA",
    "letters of other alphabets": "ä.ö.ü",
    "null": b64("null") + ".e30.AA",
    "an array": b64("[]") + ".e30.AA",
    "an array that holds alg": b64('["alg"]') + ".e30.AA",
    "a text": b64('"alg"') + ".e30.AA",
    "a huge number": b64('{"alg":"RS256","kid":"x","typ":"at+jwt"}') + "." + b64('{"exp":1e400}') + ".AA",
}


@ON_ONE_DATABASE
@pytest.mark.parametrize("token", MISSHAPEN.values(), ids=MISSHAPEN.keys())
def test_a_misshapen_token_is_refused_at_once(app: RelyingParty, token: str) -> None:
    is_worthless(app, token)


@ON_ONE_DATABASE
def test_a_token_has_one_spelling(app: RelyingParty, genuine: dict[str, str]) -> None:
    for kind in ("access_token", "id_token"):
        header, claims, signature = genuine[kind].split(".")
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        swapped = alphabet[alphabet.index(signature[-1]) ^ 1]
        for other in (
            f"{header}.{claims}.{signature[:-1]}{swapped}",
            f"{header}.{claims}.{signature}==",
            f"{header}.{claims}.{signature}A",
        ):
            is_worthless(app, other)
    assert app.userinfo(genuine["access_token"]).status_code == 200


def test_a_token_of_another_issuer_is_worthless(app: RelyingParty, genuine: dict[str, str]) -> None:
    services = app.provider.services
    services.keys.load()
    header, claims, _ = parts(genuine["access_token"])
    now = services.database.clock()
    for change in (
        {"iss": "https://other.example"},
        {"iss": app.provider.issuer + "/"},
        {"aud": "https://other.example"},
        {"aud": None},
        {"exp": int(now) - 1},
    ):
        is_worthless(app, services.keys.sign(str(header["typ"]), claims | change, now))


# -- 21, 22: questions nobody may ask ---------------------------------------------------------------------------------


def test_introspection_is_for_those_who_prove_who_they_are(
    app: RelyingParty, provider: RunningProvider, genuine: dict[str, str]
) -> None:
    public = RelyingParty.register(provider, token_endpoint_auth_method="none")
    url, data = f"{provider.issuer}/introspect", {"token": genuine["access_token"]}
    for answer in (
        http.post(url, data=data),
        http.post(url, data=data | {"client_id": app.client_id}),
        http.post(url, data=data | {"client_id": public.client_id}),
        http.post(url, data=data, auth=(app.client_id, "wrong")),
        http.post(url, data=data, headers={"Authorization": f"Bearer {genuine['access_token']}"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert "WWW-Authenticate" in answer.headers
    assert http.get(url, params=data, auth=app.auth).status_code == 405


def test_introspection_says_the_same_of_a_strangers_token_as_of_none(
    provider: RunningProvider, genuine: dict[str, str]
) -> None:
    nosy = RelyingParty.register(provider, resources=["https://nosy.example/"])

    def seen(token: str) -> tuple[object, ...]:
        answer = http.post(f"{provider.issuer}/introspect", data={"token": token}, auth=nosy.auth)
        return answer.status_code, answer.content, sorted(name for name in answer.headers if name != "date")

    answers = [seen(token) for token in (genuine["access_token"], genuine["refresh_token"], genuine["id_token"], "x", "a.b.c")]
    assert all(answer == answers[0] for answer in answers)
    assert json.loads(answers[0][1]) == {"active": False}  # type: ignore[arg-type]


@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "nonsense"])
def test_nobody_can_revoke_another_clients_token(
    app: RelyingParty, provider: RunningProvider, person: Person, hint: str
) -> None:
    victim, thief = RelyingParty.register(provider), RelyingParty.register(provider)
    public = RelyingParty.register(provider, token_endpoint_auth_method="none")
    tokens = victim.sign_in(person)
    more = {"token_type_hint": hint} if hint else {}
    for kind in ("access_token", "refresh_token", "id_token"):
        data = {"token": tokens[kind]} | more
        answers = [
            http.post(f"{provider.issuer}/revoke", data=data, auth=thief.auth),
            http.post(f"{provider.issuer}/revoke", data=data | {"client_id": public.client_id}),
        ]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert http.post(f"{provider.issuer}/revoke", data=data).status_code == 401
    assert victim.userinfo(tokens["access_token"]).status_code == 200
    assert victim.refresh(tokens["refresh_token"]).status_code == 200


def test_an_old_refresh_token_in_a_strangers_hands_ends_nothing(provider: RunningProvider, person: Person) -> None:
    victim, thief = RelyingParty.register(provider), RelyingParty.register(provider)
    first = victim.sign_in(person)["refresh_token"]
    second = victim.refresh(first).json()["refresh_token"]
    third = victim.refresh(second).json()["refresh_token"]
    for token in (first, second, third):
        assert thief.refresh(token).json()["error"] == "invalid_grant"
        assert thief.revoke(token).status_code == 200
    assert victim.refresh(third).status_code == 200
