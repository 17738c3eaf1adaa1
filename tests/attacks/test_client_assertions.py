"""docs/threats.md 15: client assertions that are forged, stolen, stretched or sent again, at every endpoint that takes them."""

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OctKey, RSAKey

from tests.clients.keys import claims, ec, form, okp, public, rsa, signed, with_secret
from tests.support import http
from tests.support.serving import RunningProvider

ENDPOINTS = ("token", "introspect", "revoke")
METADATA = {"grant_types": ["client_credentials"], "first_party": True}


def b64(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def by_key(provider: RunningProvider) -> str:
    jwks = public(rsa(), ec(), okp())
    return str(provider.add_client(METADATA | {"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks})["client_id"])


@pytest.fixture(scope="module")
def by_secret(provider: RunningProvider) -> tuple[str, OctKey]:
    made = provider.add_client(METADATA | {"token_endpoint_auth_method": "client_secret_jwt"})
    return str(made["client_id"]), with_secret(str(made["client_secret"]))


def send(provider: RunningProvider, fields: dict[str, str], endpoint: str = "token", **more: object) -> httpx.Response:
    """`client_credentials` at the token endpoint, a token that nobody knows at the others."""
    asked = {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "unknown"}
    return http.post(f"{provider.issuer}/{endpoint}", data=asked | fields, timeout=30, **more)


def refused(answer: httpx.Response, *words: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    assert "WWW-Authenticate" in answer.headers
    for word in words:
        assert word in answer.json()["error_description"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("key", "alg"), [(rsa, "RS256"), (rsa, "RS512"), (rsa, "PS256"), (ec, "ES256"), (okp, "EdDSA")], ids=lambda x: str(x)[:12]
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_good_assertion_opens_every_endpoint_once(
    provider: RunningProvider, by_key: str, key: Callable[[], RSAKey], alg: str, endpoint: str
) -> None:
    sent = form(signed(claims(by_key, provider.issuer), key(), alg))
    assert send(provider, sent, endpoint).status_code == 200
    refused(send(provider, sent, endpoint), "jti")
    for other in ENDPOINTS:
        refused(send(provider, sent, other), "jti")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_good_assertion_by_secret_opens_every_endpoint_once(
    provider: RunningProvider, by_secret: tuple[str, OctKey], endpoint: str, alg: str
) -> None:
    client_id, key = by_secret
    sent = form(signed(claims(client_id, f"{provider.issuer}/token"), key, alg))
    assert send(provider, sent, endpoint).status_code == 200
    refused(send(provider, sent, endpoint), "jti")


def test_twenty_that_send_one_assertion_at_once_get_one_token(provider: RunningProvider, by_key: str) -> None:
    sent = form(signed(claims(by_key, provider.issuer), rsa()))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: send(provider, sent).status_code, range(20)))
    assert sorted(answers) == [200] + [401] * 19


def test_a_jti_counts_although_the_request_was_refused(provider: RunningProvider, by_key: str) -> None:
    sent = form(signed(claims(by_key, provider.issuer), rsa()))
    assert send(provider, sent | {"grant_type": "refresh_token", "refresh_token": "x"}).status_code == 400
    refused(send(provider, sent), "jti")


def test_one_jti_of_two_clients_is_two(provider: RunningProvider, by_key: str, by_secret: tuple[str, OctKey]) -> None:
    client_id, key = by_secret
    assert send(provider, form(signed(claims(by_key, provider.issuer, jti="one"), rsa()))).status_code == 200
    assert send(provider, form(signed(claims(client_id, provider.issuer, jti="one"), key, "HS256"))).status_code == 200


NOW = int(time.time())
BAD_CLAIMS: list[tuple[str, dict[str, object]]] = [
    ("iss", {"iss": "another"}),
    ("iss", {"iss": None}),
    ("sub", {"sub": None}),
    ("sub", {"sub": 1}),
    ("aud", {"aud": "https://other.example"}),
    ("aud", {"aud": None}),
    ("aud", {"aud": []}),
    ("aud", {"aud": "ISSUER/introspect"}),
    ("aud", {"aud": ["ISSUER", "https://other.example"]}),
    ("aud", {"aud": ["ISSUER", "ISSUER/token"]}),
    ("aud", {"aud": {"x": "ISSUER"}}),
    ("exp", {"exp": None}),
    ("exp", {"exp": NOW - 300}),
    ("exp", {"exp": NOW + 86_400}),
    ("exp", {"exp": NOW + 10 * 365 * 86_400}),
    ("exp", {"exp": 10**400}),
    ("exp", {"exp": -1}),
    ("exp", {"exp": str(NOW + 3600)}),
    ("exp", {"exp": True}),
    ("exp", {"exp": [NOW + 60]}),
    ("iat", {"iat": NOW + 86_400}),
    ("iat", {"iat": "now"}),
    ("nbf", {"nbf": NOW + 86_400}),
    ("jti", {"jti": None}),
    ("jti", {"jti": ""}),
    ("jti", {"jti": 5}),
    ("jti", {"jti": "x" * 257}),
]


@pytest.mark.parametrize(
    ("word", "changes"), BAD_CLAIMS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(BAD_CLAIMS)]
)
def test_a_claim_that_is_wrong_is_named(provider: RunningProvider, by_key: str, word: str, changes: dict[str, object]) -> None:
    here = json.loads(json.dumps(changes).replace("ISSUER", provider.issuer))
    for endpoint in ENDPOINTS:
        refused(
            send(provider, form(signed(claims(by_key, provider.issuer, **here), rsa())), endpoint), "client_assertion", word
        )


def test_an_exp_that_is_no_finite_number_is_refused(provider: RunningProvider, by_key: str) -> None:
    for exp in ("1e400", "NaN", "Infinity"):
        body = json.dumps(claims(by_key, provider.issuer, exp=0)).replace('"exp": 0', f'"exp": {exp}').encode()
        message = f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64(body)}"
        refused(send(provider, form(f"{message}.{b64(b'x' * 256)}")), "client_assertion")


def test_alg_none_is_refused(provider: RunningProvider, by_key: str) -> None:
    for alg in ("none", "None", "NONE", ""):
        for signature in ("", b64(b"x")):
            refused(send(provider, form(f"{b64({'alg': alg})}.{b64(claims(by_key, provider.issuer))}.{signature}")))


def test_a_public_key_is_never_taken_for_a_secret(provider: RunningProvider, by_key: str) -> None:
    """RS/HS confusion: every way to write the public key down is tried as the key of an HMAC."""
    key = rsa()
    written = [
        key.as_pem(private=False),
        key.as_pem(private=False).strip(),
        key.as_der(private=False),
        key.raw_value.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        json.dumps(key.as_dict(private=False)).encode(),
        str(key.as_dict(private=False)["n"]).encode(),
    ]
    for secret in written:
        forged = _hmac(claims(by_key, provider.issuer), secret, "rsa")
        refused(send(provider, form(forged)))


def _hmac(body: dict[str, object], secret: bytes, kid: str) -> str:
    import hmac
    from hashlib import sha256

    message = f"{b64({'alg': 'HS256', 'kid': kid})}.{b64(body)}"
    return f"{message}.{b64(hmac.digest(secret, message.encode(), sha256))}"


def test_a_client_with_a_secret_cannot_sign_with_a_key_of_its_own(
    provider: RunningProvider, by_secret: tuple[str, OctKey]
) -> None:
    client_id, _ = by_secret
    refused(send(provider, form(signed(claims(client_id, provider.issuer), rsa()))))


def test_a_key_of_another_client_signs_for_nobody_else(provider: RunningProvider, by_key: str) -> None:
    own = RSAKey.generate_key(2048, {"kid": "rsa"})
    meta = {"token_endpoint_auth_method": "private_key_jwt", "jwks": public(own)}
    other = str(provider.add_client(METADATA | meta)["client_id"])
    refused(send(provider, form(signed(claims(by_key, provider.issuer), own))))
    refused(send(provider, form(signed(claims(other, provider.issuer), rsa()))))
    assert send(provider, form(signed(claims(other, provider.issuer), own))).status_code == 200


HEADERS = {
    "jku": "https://attacker.example/jwks",
    "x5u": "https://attacker.example/x5u",
    "jwk": RSAKey.generate_key(2048).as_dict(private=False),
    "x5c": ["MIIB"],
    "crit": ["exp"],
    "b64": False,
    "zip": "DEF",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_brings_its_own_key_or_reading_is_refused(provider: RunningProvider, by_key: str, name: str) -> None:
    """Signed by a good key, and by the one that the header brings."""
    message = f"{b64({'alg': 'RS256', 'kid': 'rsa', name: HEADERS[name]})}.{b64(claims(by_key, provider.issuer))}"
    from joserfc.jws import JWSRegistry

    signature = JWSRegistry.algorithms["RS256"].sign(message.encode(), rsa())
    refused(send(provider, form(f"{message}.{b64(signature)}")))


@pytest.mark.parametrize("kid", ["unknown", "../../etc/passwd", "' OR 1=1 --", "", "rsa\x00", "k" * 300])
def test_a_kid_is_only_ever_looked_up(provider: RunningProvider, by_key: str, kid: str) -> None:
    refused(send(provider, form(signed(claims(by_key, provider.issuer), RSAKey.generate_key(2048), kid=kid))))


def test_a_member_that_comes_twice_is_refused(provider: RunningProvider, by_key: str) -> None:
    from joserfc.jws import JWSRegistry

    body = json.dumps(claims(by_key, provider.issuer))[:-1] + f', "sub": "{by_key}"}}'
    for header in (b'{"alg":"RS256","kid":"rsa"}', b'{"alg":"none","alg":"RS256","kid":"rsa"}'):
        message = f"{b64(header)}.{b64(body.encode())}"
        signature = JWSRegistry.algorithms["RS256"].sign(message.encode(), rsa())
        refused(send(provider, form(f"{message}.{b64(signature)}")))


def test_an_assertion_with_anything_else_beside_it_is_refused(provider: RunningProvider, by_key: str) -> None:
    sent = form(signed(claims(by_key, provider.issuer), rsa()))
    for more in ({"client_secret": "x"}, {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}):
        answer = send(provider, sent | more)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = send(provider, sent, auth=(by_key, "x"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    for missing in sent:
        answer = send(provider, {name: value for name, value in sent.items() if name != missing})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    refused(send(provider, sent | {"client_id": "another"}), "client_id")
    assert send(provider, sent | {"client_id": by_key}).status_code == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_another_method_than_the_registered_one_is_refused(
    provider: RunningProvider, by_key: str, by_secret: tuple[str, OctKey], endpoint: str
) -> None:
    """docs/threats.md 13, 14: the secret itself is no way in where an assertion was registered, nor is leaving everything out."""
    client_id, key = by_secret
    secret = base64.urlsafe_b64decode(key.as_dict()["k"] + "==").decode()
    refused(send(provider, {}, endpoint, auth=(client_id, secret)))
    refused(send(provider, {"client_id": client_id, "client_secret": secret}, endpoint))
    for each in (client_id, by_key):
        refused(send(provider, {"client_id": each}, endpoint))
    basic = provider.add_client(METADATA)
    forged = signed(claims(str(basic["client_id"]), provider.issuer), with_secret(str(basic["client_secret"])), "HS256")
    refused(send(provider, form(forged), endpoint))


def test_only_the_algorithm_that_was_registered_counts(provider: RunningProvider) -> None:
    meta = {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "PS256",
        "jwks": public(rsa(), ec()),
    }
    client_id = str(provider.add_client(METADATA | meta)["client_id"])
    refused(send(provider, form(signed(claims(client_id, provider.issuer), rsa(), "RS256"))))
    refused(send(provider, form(signed(claims(client_id, provider.issuer), ec(), "ES256"))))
    assert send(provider, form(signed(claims(client_id, provider.issuer), rsa(), "PS256"))).status_code == 200


def test_unknown_clients_and_wrong_keys_cannot_be_told_apart(provider: RunningProvider, by_key: str) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "rsa"})
    basic = str(provider.add_client(METADATA)["client_id"])
    answers = [
        send(provider, form(signed(claims(name, provider.issuer), stranger)))
        for name in (by_key, basic, "nobody", "x" * 400, "ä")
    ]
    answers.append(send(provider, form(signed(claims("nobody", provider.issuer), with_secret("s" * 32), "HS256"))))
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "x",
        "..",
        "a.b.c",
        "e30.e30.",
        "e30.e30.e30",
        "ä.ö.ü",
        "e30." + "W1tb" * 5000 + ".x",
        "e30." * 9000,
        "W10.W10.x",
        "null.null.",
    ],
)
def test_garbage_is_refused_like_any_assertion(provider: RunningProvider, garbage: str) -> None:
    answer = send(provider, form(garbage))
    assert answer.status_code in {400, 401}
    assert answer.json()["error"] in {"invalid_client", "invalid_request"}


def test_the_secret_of_an_assertion_is_sealed_and_no_other_is_kept(
    provider: RunningProvider, by_secret: tuple[str, OctKey]
) -> None:
    """docs/threats.md 16, 46: what a thief finds in the table opens nothing."""
    client_id, key = by_secret
    secret = base64.urlsafe_b64decode(key.as_dict()["k"] + "==")
    with provider.services.database.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT client_id, secret_hash, secret_sealed, metadata FROM clients").all()
    assert secret.decode() not in repr(rows)
    for row in rows:
        method = json.loads(row.metadata).get("token_endpoint_auth_method")
        assert (row.secret_sealed is not None) == (method == "client_secret_jwt")
        assert row.secret_sealed is None or secret not in bytes(row.secret_sealed)
