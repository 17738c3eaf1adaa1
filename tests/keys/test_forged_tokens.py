"""What is not signed by us, as what it is presented as, is refused, whatever it is, and quickly (RFC 8725)."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import RSAKey

from idp.keys.models import SigningKeyRow
from idp.keys.service import InvalidTokenError, KeyService
from idp.runtime.database import Base, Database, table_of
from idp.runtime.secrets import Secrets
from tests.keys.conftest import BITS, POLICY, SECRET
from tests.keys.grounds import EPOCH, Clock

CLAIMS = {"iss": "https://idp.example", "sub": "alice", "exp": int(EPOCH) + 300}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('forged') / 'idp.sqlite3'}", Clock())
    Base.metadata.create_all(database.engine, tables=[table_of(SigningKeyRow)])
    service = KeyService(database, Secrets((SECRET,)), POLICY, BITS)
    service.keep_up()
    yield service
    database.dispose()


@pytest.fixture(scope="module")
def kid(keys: KeyService) -> str:
    return keys.spans()[0].key.kid


@pytest.fixture(scope="module")
def stranger() -> RSAKey:
    return RSAKey.import_key(rsa.generate_private_key(public_exponent=65537, key_size=2048))  # type: ignore[arg-type]


def b64(data: bytes | str) -> str:
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def refused(keys: KeyService, token: str, typ: str = "JWT", *, as_hint: bool = False) -> None:
    began = time.thread_time()  # what it costs, whatever else the machine does
    with pytest.raises(InvalidTokenError):
        keys.verify(token, typ, EPOCH, as_hint=as_hint)
    assert time.thread_time() - began < 0.5


def with_signature(body: str, key: RSAKey) -> str:
    """`body` signed RS256, whatever its header says."""
    return f"{body}.{b64(key.private_key.sign(body.encode(), padding.PKCS1v15(), SHA256()))}"


def signed(key: RSAKey, header: dict[str, object], claims: object = CLAIMS) -> str:
    return with_signature(f"{b64(json.dumps(header))}.{b64(json.dumps(claims))}", key)


def ours(keys: KeyService, kid: str) -> RSAKey:
    return keys._keeper.ring.private[kid].key


def test_what_we_signed_is_verified_as_that_and_as_nothing_else(keys: KeyService) -> None:
    for typ in ("JWT", "at+jwt", "logout+jwt"):
        token = keys.sign(typ, CLAIMS, EPOCH)
        assert keys.verify(token, typ, EPOCH) == CLAIMS
        for other in {"JWT", "at+jwt", "logout+jwt"} - {typ}:
            refused(keys, token, other)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_refused(keys: KeyService, kid: str, alg: str) -> None:
    body = f"{b64(json.dumps({'alg': alg, 'kid': kid, 'typ': 'JWT'}))}.{b64(json.dumps(CLAIMS))}"
    for signature in ("", b64("x"), b64(b"\0" * 256)):
        refused(keys, f"{body}.{signature}")
    refused(keys, body)


def test_a_token_whose_signature_was_taken_off_is_refused(keys: KeyService) -> None:
    header, claims, signature = keys.sign("JWT", CLAIMS, EPOCH).split(".")
    for cut in ("", "AA", signature[:-4], signature + "AAAA", signature[::-1]):
        refused(keys, f"{header}.{claims}.{cut}")


def test_hmac_with_the_public_key_as_its_secret_is_refused(keys: KeyService, kid: str) -> None:
    public = keys._keeper.ring._public[kid]
    document = json.loads(keys.document().body)
    secrets = [
        public.as_pem(private=False),
        public.as_pem(private=False).strip(),
        public.raw_value.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(document["keys"][0]).encode(),
        str(document["keys"][0]["n"]).encode(),
        kid.encode(),
        b"0",
    ]
    for alg, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
        for secret in secrets:
            for said in (alg, "RS256"):
                body = f"{b64(json.dumps({'alg': said, 'kid': kid, 'typ': 'JWT'}))}.{b64(json.dumps(CLAIMS))}"
                refused(keys, f"{body}.{b64(hmac.digest(secret, body.encode(), digest))}")


def test_another_key_under_our_kid_is_refused(keys: KeyService, kid: str, stranger: RSAKey) -> None:
    refused(keys, signed(stranger, {"alg": "RS256", "kid": kid, "typ": "JWT"}))
    refused(keys, signed(stranger, {"alg": "RS256", "kid": kid, "typ": "JWT"}), as_hint=True)
    refused(keys, signed(stranger, {"alg": "RS256", "kid": stranger.thumbprint(), "typ": "JWT"}))


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "x' UNION SELECT sealed FROM signing_keys --",
        "\x00",
        "kid\x00",
        "https://evil.example/jwks",
        "x" * 500,
        "%00",
        "..%2f",
        None,
        0,
        True,
        ["a"],
        {"a": "b"},
    ],
)
def test_a_kid_is_only_ever_looked_up(keys: KeyService, stranger: RSAKey, kid: object) -> None:
    header = b64(json.dumps({"alg": "RS256", "kid": kid, "typ": "JWT"}))
    claims = b64(json.dumps(CLAIMS))
    refused(keys, with_signature(f"{header}.{claims}", stranger))


EXTRA_HEADERS: dict[str, object] = {
    "jku": "https://evil.example/jwks",
    "x5u": "https://evil.example/cert",
    "x5c": ["MIIB"],
    "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    "crit": ["exp"],
    "b64": False,
    "cty": "JWT",
    "zip": "DEF",
    "enc": "A128GCM",
    "nonce": "x",
}


@pytest.mark.parametrize("name", EXTRA_HEADERS)
def test_a_header_that_we_never_send_is_refused_even_over_our_own_signature(keys: KeyService, kid: str, name: str) -> None:
    header = b64(json.dumps({"alg": "RS256", "kid": kid, "typ": "JWT", name: EXTRA_HEADERS[name]}))
    claims = b64(json.dumps(CLAIMS))
    refused(keys, with_signature(f"{header}.{claims}", ours(keys, kid)))


@pytest.mark.parametrize(
    "header", ['{"alg":"none","alg":"RS256","kid":"%s","typ":"JWT"}', '{"alg":"RS256","alg":"none","kid":"%s","typ":"JWT"}']
)
def test_duplicate_members_in_the_header_open_nothing(keys: KeyService, kid: str, header: str) -> None:
    for signature in ("", b64("x" * 256)):
        refused(keys, f"{b64(header % kid)}.{b64(json.dumps(CLAIMS))}.{signature}")


@pytest.mark.parametrize(
    "alg", ["RS384", "RS512", "PS256", "ES256", "HS256", "EdDSA", "RSA-OAEP", "dir", 1, None, ["RS256"], {"RS256": 1}]
)
def test_another_algorithm_is_refused(keys: KeyService, kid: str, alg: object) -> None:
    header = b64(json.dumps({"alg": alg, "kid": kid, "typ": "JWT"}))
    refused(keys, f"{header}.{b64(json.dumps(CLAIMS))}.{b64('x' * 256)}")


@pytest.mark.parametrize("bits", ["RS384", "PS256"])
def test_our_own_key_with_another_algorithm_is_refused(keys: KeyService, kid: str, bits: str) -> None:
    registry = jws.JWSRegistry(algorithms=[bits])
    key = RSAKey.import_key(ours(keys, kid).as_pem(private=True))
    refused(keys, jws.serialize_compact({"alg": bits, "kid": kid, "typ": "JWT"}, json.dumps(CLAIMS), key, registry=registry))


@pytest.mark.parametrize("typ", ["", "jwt ", "JWT\x00", "application/jwt", None, 1, ["JWT"], {"JWT": 1}])
def test_a_type_that_is_not_ours_is_refused(keys: KeyService, kid: str, typ: object) -> None:
    header = b64(json.dumps({"alg": "RS256", "kid": kid, "typ": typ}))
    refused(keys, f"{header}.{b64(json.dumps(CLAIMS))}.{b64('x' * 256)}")


DEEP = "[" * 100_000
SHAPES = [
    "",
    ".",
    "..",
    "...",
    "....",
    "a.b.c",
    "a.b",
    "a.b.c.d.e",
    "\x00.\x00.\x00",
    "ä.ö.ü",
    "=.=.=",
    " . . ",
    "%2e%2e",
    "null",
    "eyJ.eyJ.eyJ",
    *(
        f"{b64(header)}.e30.AA"
        for header in (
            "",
            "null",
            "[]",
            '["alg"]',
            '"alg"',
            "1",
            "{}",
            "{",
            "NaN",
            "1e400",
            '{"alg":',
            DEEP[:4000],
            '{"a":' * 800,
        )
    ),
    b64(b"\xff\xfe") + ".e30.AA",
    DEEP,
    "A" * 1_000_000,
    "A" * 500_000 + "." + "B" * 500_000 + ".C",
    "." * 100_000,
]


@pytest.mark.parametrize("token", SHAPES, ids=range(len(SHAPES)))
def test_what_is_no_jwt_at_all_is_refused_in_milliseconds(keys: KeyService, token: str) -> None:
    refused(keys, token)
    refused(keys, token, "at+jwt", as_hint=True)


def test_claims_that_are_no_object_are_refused_even_over_our_own_signature(keys: KeyService, kid: str) -> None:
    for claims in ("[]", "null", '"x"', "1", "", "{", "[" * 2000, b"\xff"):
        registry = jws.JWSRegistry(algorithms=["RS256"])
        token = jws.serialize_compact({"alg": "RS256", "kid": kid, "typ": "JWT"}, claims, ours(keys, kid), registry=registry)
        refused(keys, token)


def test_a_token_has_one_spelling(keys: KeyService) -> None:
    token = keys.sign("JWT", CLAIMS, EPOCH)
    header, claims, signature = token.split(".")
    last = signature[-1]
    others = [char for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if char != last]
    spellings = [f"{header}.{claims}.{signature[:-1]}{char}" for char in others]
    spellings += [f"{token}=", f"{token}==", f"{header}.{claims}.{signature[:40]}\n{signature[40:]}", f" {token}", f"{token}\n"]
    spellings += [f"{header}.{claims}.{signature.replace('-', '+').replace('_', '/')}"] if {"-", "_"} & set(signature) else []
    for other in spellings:
        refused(keys, other)


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_change_of_a_good_token_is_refused(keys: KeyService, data: st.DataObject) -> None:
    token = keys.sign("JWT", CLAIMS, EPOCH)
    at = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.sampled_from("ABCXYZabcxyz0189-_.=+/ \n\x00ä"))
    how = data.draw(st.sampled_from(["insert", "replace", "drop"]))
    changed = token[:at] + ("" if how == "drop" else char) + token[at + (how != "insert") :]
    if changed != token:
        refused(keys, changed)


@given(st.text(max_size=300))
@example("a.b.c")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_breaks_it(keys: KeyService, text: str) -> None:
    refused(keys, text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_as_a_header_breaks_it(keys: KeyService, header: object) -> None:
    refused(keys, f"{b64(json.dumps(header))}.e30.AA")
