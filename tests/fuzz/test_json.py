"""Every JSON that comes from outside, spoiled at every member in every way: it is the protocol's error, and never ours.

Request bodies, both parts of the JWTs that clients sign, the `claims` parameter, what stands at a client's own addresses, and
the files of the command line.
"""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from idp.accounts import cli as accounts_cli
from idp.clients import cli as clients_cli
from idp.clients.assertions import TYPE
from idp.runtime.console import Refused
from tests.clients.keys import ec, okp, public, rsa
from tests.clients.registering import site
from tests.flows.conftest import PEOPLE
from tests.support import http as support_http
from tests.support import spoiling
from tests.support.browsing import Person
from tests.support.databases import DIALECTS
from tests.support.relying_party import RelyingParty
from tests.support.serving import Providers, RunningProvider

PASSWORD = "correct horse battery staple"
JSON = {"Content-Type": "application/json"}
SETTINGS = {
    "SECRET_KEY": "a test secret that is long enough: really",
    "CLIENTS_REGISTRATION": "open",
    "CLIENTS_REGISTRATION_HOURLY": "1000000",
    "CLIENTS_REGISTRATION_LIMIT": "1000000",
    "AUTHORIZATION_REQUEST_OBJECTS": "request,request_uri",
    "KEYS_ALGORITHMS": "RS256,ES256",
}


@pytest.fixture(scope="module", params=DIALECTS)
def provider(request: pytest.FixtureRequest, providers: Providers) -> RunningProvider:
    return providers("json", request.param, SETTINGS, PEOPLE)


@pytest.fixture
def http(provider: RunningProvider) -> Iterator[httpx.Client]:
    """For requests of which none may fail: neither in its answer nor in the log."""
    failed = len(provider.events("request.failed"))
    with support_http.client(base_url=provider.issuer, timeout=30) as client:
        yield client
    assert provider.events("request.failed")[failed:] == []
    assert "Traceback" not in provider.log_file.read_text()


def well(what: str, answer: httpx.Response, *, refused: bool) -> None:
    """No failure; and what every strict reader refuses is refused."""
    assert answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"
    assert not (refused and answer.is_success), f"{what}: {answer.status_code} {answer.text[:300]}"


# -- request bodies ---------------------------------------------------------------------------------------------------

CLIENT = {
    "redirect_uris": ["https://app.example/callback"],
    "client_name": "An app",
    "client_name#de": "Eine App",
    "application_type": "web",
    "token_endpoint_auth_method": "private_key_jwt",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "scope": "openid profile",
    "contacts": ["a@app.example"],
    "subject_type": "pairwise",
    "default_max_age": 5,
    "require_auth_time": True,
    "default_acr_values": ["1"],
    "id_token_encrypted_response_alg": "ECDH-ES",
    "software_id": "x",
    "backchannel_logout_session_required": True,
}


def registration_document() -> dict[str, object]:
    return CLIENT | {"jwks": public(rsa(), ec(), OKPKey.generate_key("X25519", {"kid": "x"}))}


def test_every_member_of_a_registration(provider: RunningProvider, http: httpx.Client) -> None:
    good = registration_document()
    assert http.post("/register", json=good).status_code == 201
    for what, body, refused in spoiling.documents(good):
        well(what, http.post("/register", content=body, headers=JSON), refused=refused)


def test_every_member_of_an_update(provider: RunningProvider, http: httpx.Client) -> None:
    made = http.post("/register", json=registration_document()).json()
    token, path = made["registration_access_token"], f"/register/{made['client_id']}"
    good = registration_document() | {"client_id": made["client_id"]}
    for what, body, refused in spoiling.documents(good, odd=False):
        answer = http.put(path, content=body, headers=JSON | {"Authorization": f"Bearer {token}"})
        well(what, answer, refused=refused)
        token = answer.json().get("registration_access_token", token)
    assert http.put(path, json=good, headers={"Authorization": f"Bearer {token}"}).status_code == 200


STREAM_BODIES: list[tuple[str, str, dict[str, object]]] = [
    ("POST", "streams", {"description": "x", "events_requested": ["a"], "delivery": {"method": "urn:ietf:rfc:8936"}}),
    (
        "PATCH",
        "streams",
        {
            "stream_id": "",
            "description": "x",
            "delivery": {
                "method": "urn:ietf:rfc:8935",
                "endpoint_url": "https://app.example/push",
                "authorization_header": "Bearer x",
            },
        },
    ),
    ("PUT", "streams", {"stream_id": "", "iss": "ISSUER", "events_requested": ["a"], "description": "x"}),
    ("POST", "status", {"stream_id": "", "status": "enabled", "reason": "x"}),
    ("POST", "subjects/add", {"stream_id": "", "subject": {"format": "opaque", "id": "x", "more": {"a": [1]}}}),
    ("POST", "subjects/remove", {"stream_id": "", "subject": {"format": "opaque", "id": "x", "more": {"a": [1]}}}),
    ("POST", "verify", {"stream_id": "", "state": "x"}),
    (
        "POST",
        "poll",
        {"maxEvents": 1, "returnImmediately": True, "ack": ["x"], "setErrs": {"y": {"err": "x", "description": "z"}}},
    ),
]


@pytest.mark.parametrize(("method", "path", "body"), STREAM_BODIES, ids=lambda each: each if isinstance(each, str) else "")
def test_every_member_of_what_receivers_send(
    provider: RunningProvider, http: httpx.Client, method: str, path: str, body: dict[str, object]
) -> None:
    app = RelyingParty.register(
        provider, grant_types=["client_credentials"], redirect_uris=["https://a.example/"], scope="ssf.manage ssf.read"
    )
    token = app.token("client_credentials", scope="ssf.manage ssf.read").json()["access_token"]
    bearer = JSON | {"Authorization": f"Bearer {token}", "Prefer": "wait=0"}
    stream_id = http.post("/ssf/streams", json={}, headers=bearer).json()["stream_id"]
    filled = {"": stream_id, "ISSUER": provider.issuer}
    good = {name: filled.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
    address = f"/ssf/{path}/{stream_id}" if path == "poll" else f"/ssf/{path}"
    first = http.request(method, address, json=good, headers=bearer)
    assert first.is_success, first.text
    for what, content, refused in spoiling.documents(good):
        if path == "poll" and not content:
            continue  # an empty body is a poll that says nothing
        answer = http.request(method, address, content=content, headers=bearer)
        well(what, answer, refused=refused)
        if (method, path) == ("POST", "streams") and answer.is_success:
            http.delete("/ssf/streams", params={"stream_id": answer.json()["stream_id"]}, headers=bearer)


# -- JWTs that clients sign -------------------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: bytes, payload: bytes, key: RSAKey) -> str:
    """A JWT of parts that need not be JSON at all."""
    message = f"{b64(header)}.{b64(payload)}"
    return f"{message}.{b64(JWSRegistry.algorithms['RS256'].sign(message.encode(), key))}"


def spoiled_jwts(header: dict[str, object], claims: dict[str, object]) -> Iterator[tuple[str, str, bool]]:
    """Each part spoiled while the other is good."""
    good_header, good_claims = json.dumps(header).encode(), json.dumps(claims).encode()
    for what, part, refused in spoiling.documents(header):
        if len(part) < 20_000:
            yield f"header {what}", signed(part, good_claims, rsa()), refused
    for what, part, refused in spoiling.documents(claims):
        if len(part) < 20_000:
            yield f"claims {what}", signed(good_header, part, rsa()), refused


def test_every_member_of_a_client_assertion(provider: RunningProvider, http: httpx.Client) -> None:
    made = provider.add_client(
        {"grant_types": ["client_credentials"], "token_endpoint_auth_method": "private_key_jwt", "jwks": public(rsa())}
    )
    now, client_id = int(time.time()), str(made["client_id"])
    claims = {"iss": client_id, "sub": client_id, "aud": provider.issuer, "iat": now, "nbf": now, "exp": now + 1800}
    header = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}

    def send(endpoint: str, assertion: str) -> httpx.Response:
        asked = {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "x"}
        return http.post(f"/{endpoint}", data=asked | {"client_assertion_type": TYPE, "client_assertion": assertion})

    for endpoint in ("token", "introspect", "revoke"):
        whole = claims | {"jti": f"good at {endpoint}"}
        good = signed(json.dumps(header).encode(), json.dumps(whole).encode(), rsa())
        assert send(endpoint, good).status_code == 200
        for what, assertion, refused in spoiled_jwts(header, claims | {"jti": f"{endpoint} spoiled"}):
            well(f"{endpoint} {what}", send(endpoint, assertion), refused=refused)


def request_claims(provider: RunningProvider, client_id: str, redirect_uri: str) -> dict[str, object]:
    now = int(time.time())
    return {
        "iss": client_id,
        "aud": provider.issuer,
        "iat": now,
        "nbf": now,
        "exp": now + 1800,
        "jti": "x",
        "client_id": client_id,
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "scope": "openid",
        "state": "s",
        "nonce": "n",
        "prompt": "login",
        "max_age": 5,
        "login_hint": "alice",
        "code_challenge": "a" * 43,
        "code_challenge_method": "S256",
        "claims": CLAIMS,
    }


CLAIMS: dict[str, object] = {
    "userinfo": {"name": {"essential": True}, "email": None},
    "id_token": {"acr": {"values": ["1"]}, "auth_time": {"essential": True}, "email": {"value": "a"}},
}


@pytest.mark.parametrize("by_reference", [False, True], ids=["request", "request_uri"])
def test_every_member_of_a_request_object(provider: RunningProvider, http: httpx.Client, *, by_reference: bool) -> None:
    documents: dict[str, object] = {}
    with site(documents) as home:
        app = RelyingParty.register(provider, jwks=public(rsa()), request_uris=[f"{home}/r"], subject_type="pairwise")
        claims = request_claims(provider, app.client_id, app.redirect_uri)
        header = {"alg": "RS256", "kid": "rsa", "typ": "oauth-authz-req+jwt"}

        def send(text: str) -> httpx.Response:
            documents["/r"] = text.encode()
            object_ = {"request_uri": f"{home}/r"} if by_reference else {"request": text}
            outer = {"client_id": app.client_id, "response_type": "code", "scope": "openid", "redirect_uri": app.redirect_uri}
            return http.post("/authorize", data=outer | object_)

        good = send(signed(json.dumps(header).encode(), json.dumps(claims).encode(), rsa()))
        assert "continue=" in good.headers["Location"], good.headers
        for number, (what, text, refused) in enumerate(spoiled_jwts(header, claims)):
            if by_reference and number % 5:
                continue  # it is the same reader
            answer = send(text)
            well(what, answer, refused=refused)
            if refused:
                assert "error=" in answer.headers.get("Location", "error="), f"{what}: {answer.headers}"


def test_every_member_of_the_claims_parameter(provider: RunningProvider, http: httpx.Client) -> None:
    person = Person(provider.issuer)
    for subject_type in ("public", "pairwise"):
        app = RelyingParty.register(provider, subject_type=subject_type)
        sub = app.verified(app.sign_in(person)["id_token"], audience=app.client_id, typ="JWT")["sub"]
        asked = {**CLAIMS, "id_token": {"sub": {"value": sub}, "acr": {"values": ["1"]}}}
        assert "code" in person.open(app.authorization_url(prompt="none", claims=json.dumps(asked))).query
        for what, sent, refused in spoiling.documents(asked):
            if 0 < len(sent) < 9000 and sent.isascii():
                answer = person.open(app.authorization_url(prompt="none", claims=sent.decode()))
                assert answer.response.status_code < 500, what
                assert not (refused and "code" in answer.query), what
    person.http.close()


@pytest.mark.parametrize("where", ["bearer", "userinfo form", "hint", "logout hint", "introspected", "revoked"])
def test_every_member_of_a_token_that_should_be_ours(provider: RunningProvider, http: httpx.Client, where: str) -> None:
    app = RelyingParty.register(provider)
    kid = provider.services.keys.signing_kid() or http.get("/jwks").json()["keys"][0]["kid"]
    claims = {
        "iss": provider.issuer,
        "sub": "x",
        "aud": app.client_id,
        "exp": 2_000_000_000,
        "iat": 1,
        "jti": "a.b",
        "sid": "x",
    }

    def send(token: str) -> httpx.Response:
        if where == "bearer":
            return http.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
        if where == "userinfo form":
            return http.post("/userinfo", data={"access_token": token})
        if where == "hint":
            sent = {"client_id": app.client_id, "redirect_uri": app.redirect_uri, "response_type": "code", "scope": "openid"}
            return http.post("/authorize", data=sent | {"id_token_hint": token})
        if where == "logout hint":
            return http.get("/logout", params={"id_token_hint": token})
        assert app.auth is not None
        return http.post("/introspect" if where == "introspected" else "/revoke", data={"token": token}, auth=app.auth)

    for what, token, _ in spoiled_jwts({"alg": "RS256", "kid": kid, "typ": "at+jwt"}, claims):
        if len(token) < 9000:
            answer = send(token)
            assert answer.status_code < 500, f"{what}: {answer.status_code}"
            if where == "introspected":
                assert answer.json() == {"active": False}, what


# -- what stands at a client's own addresses --------------------------------------------------------------------------


def test_every_member_of_the_keys_at_a_jwks_uri(provider: RunningProvider, http: httpx.Client) -> None:
    documents: dict[str, object] = {}
    good = public(rsa(), ec(), OKPKey.generate_key("X25519", {"kid": "x", "use": "enc"}), okp())
    keys = {"keys": [*good["keys"]]}
    with site(documents) as home:
        for number, which in enumerate(keys["keys"]):
            document = {"keys": [which | {"use": "sig", "alg": "RS256", "key_ops": ["verify"]}]}
            for what, body, _ in spoiling.documents(document, odd=number == 0):
                path = f"/{number}/{abs(hash(what))}"
                documents[path] = body
                made = provider.add_client(
                    {
                        "grant_types": ["client_credentials"],
                        "token_endpoint_auth_method": "private_key_jwt",
                        "jwks_uri": home + path,
                    }
                )
                now, client_id = int(time.time()), str(made["client_id"])
                claims = {"iss": client_id, "sub": client_id, "aud": provider.issuer, "exp": now + 600, "jti": what}
                header = json.dumps({"alg": "RS256", "kid": "rsa"}).encode()
                assertion = signed(header, json.dumps(claims).encode(), rsa())
                sent = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": assertion}
                well(f"{number} {what}", http.post("/token", data=sent), refused=False)


def test_every_member_of_the_document_of_a_sector(provider: RunningProvider, http: httpx.Client) -> None:
    documents: dict[str, object] = {}
    uris = ["https://app.example/callback", "https://b.example/cb"]
    with site(documents) as home:
        metadata = {"redirect_uris": uris, "subject_type": "pairwise", "sector_identifier_uri": f"{home}/uris"}
        documents["/uris"] = uris
        assert http.post("/register", json=metadata).status_code == 201
        for what, body, refused in spoiling.documents(uris):
            documents["/uris"] = body
            answer = http.post("/register", json=metadata)
            well(what, answer, refused=refused)


# -- files of the command line ----------------------------------------------------------------------------------------

PERSON = {
    "name": "Alice",
    "email": "a@example.org",
    "email_verified": True,
    "birthdate": "1990-01-01",
    "zoneinfo": "Europe/Paris",
    "phone_number": "+1 425 555 1212",
    "website": "https://a.example/",
    "address": {"locality": "Paris", "street_address": "1 rue"},
}


@pytest.mark.parametrize(
    ("group", "arguments", "good"),
    [
        (clients_cli.group, ["add", "--file"], CLIENT),
        (accounts_cli.group, ["set", "alice", "--claims-file"], PERSON),
    ],
    ids=["client add", "user set"],
)
def test_every_member_of_a_file_of_the_command_line(
    provider: RunningProvider, tmp_path: Path, group: object, arguments: list[str], good: dict[str, object]
) -> None:
    document = registration_document() if good is CLIENT else good
    runner, file = CliRunner(), tmp_path / "file.json"
    file.write_text(json.dumps(document))
    assert runner.invoke(group, [*arguments, str(file)], obj=provider.services).exit_code == 0
    for what, content, refused in spoiling.documents(document):
        file.write_bytes(content)
        done = runner.invoke(group, [*arguments, str(file)], obj=provider.services)
        sentence = isinstance(done.exception, Refused | SystemExit)
        assert done.exit_code == 0 or sentence, f"{what}: {done.exception!r}"
        assert not (refused and done.exit_code == 0), what


# -- keys that are none -----------------------------------------------------------------------------------------------


def n_octets(number: int, octets: int) -> str:
    return b64(number.to_bytes(octets, "little"))


P25519, P448 = 2**255 - 19, 2**448 - 2**224 - 1
LOW_25519 = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P25519 - 1,
    P25519,
    P25519 + 1,
]
#: y of the points of order 1, 2, 4 and 8, one with the other sign of x, what is not reduced, and what is no point at all.
EIGHTH = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
LOW_ED25519 = [0, 1, P25519 - 1, EIGHTH, P25519 - EIGHTH, P25519, P25519 + 1, 1 << 255, 2]


def rsa_jwk(n: int, e: int) -> dict[str, object]:
    def number(value: int) -> str:
        return b64(value.to_bytes(max(1, (value.bit_length() + 7) // 8)))

    return {"kty": "RSA", "n": number(n), "e": number(e)}


def off_the_curve() -> dict[str, object]:
    point = ECKey.generate_key("P-256").as_dict(private=False)
    return {**point, "y": b64(b"\x01" * 32)}


GOOD_N = int.from_bytes(RSAKey.generate_key(2048).raw_value.public_key().public_numbers().n.to_bytes(256))
WEAK: dict[str, dict[str, object]] = {
    **{f"X25519 {u}": {"kty": "OKP", "crv": "X25519", "x": n_octets(u, 32)} for u in LOW_25519},
    **{f"X448 {u}": {"kty": "OKP", "crv": "X448", "x": n_octets(u, 56)} for u in (0, 1, P448 - 1, P448, P448 + 1)},
    **{f"Ed25519 {y}": {"kty": "OKP", "crv": "Ed25519", "x": n_octets(y, 32)} for y in LOW_ED25519},
    **{f"Ed448 {y}": {"kty": "OKP", "crv": "Ed448", "x": n_octets(y, 57)} for y in (0, 1, P448 - 1, P448)},
    "Ed25519 too short": {"kty": "OKP", "crv": "Ed25519", "x": b64(b"\x05" * 31)},
    "X25519 too long": {"kty": "OKP", "crv": "X25519", "x": b64(b"\x09" * 33)},
    "OKP on a curve that is none": {"kty": "OKP", "crv": "P-256", "x": b64(b"\x09" * 32)},
    "EC off the curve": off_the_curve(),
    "EC at nought": {"kty": "EC", "crv": "P-256", "x": b64(bytes(32)), "y": b64(bytes(32))},
    "EC without y": {"kty": "EC", "crv": "P-256", "x": b64(b"\x01" * 32)},
    "EC of another curve": {**ECKey.generate_key("P-256").as_dict(private=False), "crv": "P-521"},
    "RSA with an even n": rsa_jwk(GOOD_N - 1, 65537),
    "RSA with a small factor": rsa_jwk(3 * (1 << 2046) + 3 * 5, 65537),
    "RSA with an e of 1": rsa_jwk(GOOD_N, 1),
    "RSA with an e of 0": rsa_jwk(GOOD_N, 0),
    "RSA with an even e": rsa_jwk(GOOD_N, 65536),
    "RSA with a huge e": rsa_jwk(GOOD_N, GOOD_N - 2),
    "RSA of 1024 bits": rsa_jwk(GOOD_N >> 1024 | 1, 65537),
    "RSA of 16384 bits": rsa_jwk((1 << 16383) + 7, 65537),
    "RSA with an n of 0": rsa_jwk(0, 65537),
    "RSA without e": {"kty": "RSA", "n": b64(b"\xff" * 256)},
}


@pytest.mark.parametrize("name", WEAK)
def test_a_key_that_is_none_is_not_registered_and_breaks_nothing_where_it_is_fetched(
    provider: RunningProvider, http: httpx.Client, name: str
) -> None:
    weak = WEAK[name]
    metadata = {"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "private_key_jwt"}
    answer = http.post("/register", json=metadata | {"jwks": {"keys": [weak]}})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] == "invalid_client_metadata"
    alg = "RSA-OAEP-256" if weak["kty"] == "RSA" else "ECDH-ES"
    person, documents = Person(provider.issuer), {"/keys": {"keys": [weak | {"use": "enc"}]}}
    with site(documents) as home:
        sealed = RelyingParty.register(provider, jwks_uri=f"{home}/keys", id_token_encrypted_response_alg=alg)
        page = person.open(sealed.authorization_url())
        if page.main == "login-page":
            page = person.submit(page, "login-submit", username="alice", password=PASSWORD)
        refused = sealed.redeem(sealed.code_from(page))
        assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client"), refused.text
        told = RelyingParty.register(provider, jwks_uri=f"{home}/keys?userinfo", userinfo_encrypted_response_alg=alg)
        documents["/keys?userinfo"] = documents["/keys"]
        answer = told.userinfo(told.sign_in(person)["access_token"])
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client"), answer.text
        signing = RelyingParty.register(
            provider,
            jwks_uri=f"{home}/keys?a",
            grant_types=["client_credentials"],
            token_endpoint_auth_method="private_key_jwt",
        )
        documents["/keys?a"] = {"keys": [weak]}
        claims = {
            "iss": signing.client_id,
            "sub": signing.client_id,
            "aud": provider.issuer,
            "exp": time.time() + 60,
            "jti": "x",
        }
        for algorithm in ("RS256", "ES256", "EdDSA"):
            header = json.dumps({"alg": algorithm}).encode()
            assertion = f"{b64(header)}.{b64(json.dumps(claims).encode())}.{b64(bytes(64))}"
            sent = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": assertion}
            assert http.post("/token", data=sent).status_code == 401
    person.http.close()
