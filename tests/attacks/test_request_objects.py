"""docs/threats.md 1, 2, 15, 18, 20, 27, 40: a request that comes in a token is believed only when its client signed it, for us."""

import hmac
import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from time import perf_counter

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.attacks.conftest import ON_ONE_DATABASE, PASSWORD
from tests.authorization.signing import key, part, soon, unsigned
from tests.support.browsing import Page, Person
from tests.support.pace import slowness
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

pytestmark = ON_ONE_DATABASE

EVIL = "https://evil.example/callback"
TWICE = urlsafe_b64encode(b'{"state":"a","state":"b"}').rstrip(b"=").decode()


@pytest.fixture(scope="module")
def signer(provider: RunningProvider) -> RelyingParty:
    """A client with a key of its own."""
    return RelyingParty.register(provider, jwks={"keys": [key().jwk]})


def open_with(person: Person, app: RelyingParty, token: str, **around: str) -> Page:
    """The request around an object; its redirect URI is the registered one."""
    needed = {"client_id": app.client_id, "response_type": "code", "scope": "openid", "redirect_uri": app.redirect_uri}
    return person.open(str(httpx.URL("authorize", params=needed | around | {"request": token})))


def claims(app: RelyingParty, **more: object) -> dict[str, object]:
    whole = {"iss": app.client_id, "aud": app.provider.issuer, "exp": soon(), "redirect_uri": app.redirect_uri}
    return whole | {"state": "inside", "nonce": "n"} | more


def by_mac(secret: bytes, body: dict[str, object], **headers: object) -> str:
    message = f"{part({'alg': 'HS256', 'typ': 'JWT'} | headers)}.{part(body)}"
    return f"{message}.{urlsafe_b64encode(hmac.digest(secret, message.encode(), sha256)).rstrip(b'=').decode()}"


def forgeries(app: RelyingParty) -> dict[str, str]:
    """Requests that the client did not sign."""
    body, public = claims(app), key().private.public_key()
    signed = key().sign(body)
    head, _, signature = signed.split(".")
    thief = key(kid="thief")
    return {
        "alg none": unsigned(body),
        "alg None": unsigned(body, alg="None"),
        "alg none with a signature": f"{part({'alg': 'none'})}.{part(body)}.{signature}",
        "no signature": f"{head}.{part(body)}.",
        "another body": f"{head}.{part(body | {'state': 'x'})}.{signature}",
        "the public key as a secret": by_mac(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), body),
        "the public JWK as a secret": by_mac(json.dumps(key().jwk).encode(), body, kid="one"),
        "the client's secret": by_mac(str(app.registration["client_secret"]).encode(), body),
        "another key of the same name": thief.sign(body, kid="one"),
        "another key": thief.sign(body),
        "a key in its header": thief.sign(body, jwk=thief.jwk),
        "a key elsewhere": thief.sign(body, jku="https://evil.example/keys"),
        "a certificate elsewhere": thief.sign(body, x5u="https://evil.example/certificate"),
        "a kid that is a path": thief.sign(body, kid="../../dev/null"),
        "what must be understood": key().sign(body, crit=["exp"]),
        "another typ": key().sign(body, typ="logout+jwt"),
        "a client assertion": key().sign({"iss": app.client_id, "sub": app.client_id, "aud": app.provider.issuer, "jti": "x"}),
        "a member twice": f"{head}.{TWICE}.{signature}",
        "padding": signed + "==",
        "four parts": signed + ".x",
        "five parts": f"{head}.a.b.c.d",
        "brackets": f"{head}.{urlsafe_b64encode(b'[' * 9000).decode()}.{signature}",
        "nothing": "..",
    }


FORGERIES = (
    "alg none|alg None|alg none with a signature|no signature|another body|the public key as a secret|the public JWK as a secret|"
    "the client's secret|another key of the same name|another key|a key in its header|a key elsewhere|a certificate elsewhere|"
    "a kid that is a path|what must be understood|another typ|a client assertion|a member twice|padding|four parts|five parts|"
    "brackets|nothing"
).split("|")


@pytest.mark.parametrize("name", FORGERIES)
def test_a_request_that_the_client_did_not_sign_is_refused(person: Person, signer: RelyingParty, name: str) -> None:
    began = perf_counter()
    page = open_with(person, signer, forgeries(signer)[name], state="outside")
    assert perf_counter() - began < 5 * slowness()
    assert page.query["error"] == "invalid_request_object"
    assert page.query["state"] == "outside"
    assert page.url.startswith(signer.redirect_uri)


def test_every_forgery_is_tried(signer: RelyingParty) -> None:
    assert set(forgeries(signer)) == set(FORGERIES)


def test_the_same_request_signed_is_taken(person: Person, signer: RelyingParty) -> None:
    page = person.sign_in(open_with(person, signer, key().sign(claims(signer)), state="outside"), "alice", PASSWORD)
    assert page.query["state"] == "inside"


def test_another_clients_object_says_nothing_here(provider: RunningProvider, person: Person, signer: RelyingParty) -> None:
    """Both clients have the same key, as deployments that copy their configuration do."""
    other = RelyingParty.register(provider, jwks={"keys": [key().jwk]})
    page = open_with(person, other, key().sign(claims(signer)))
    assert page.query["error"] == "invalid_request_object"
    page = open_with(person, other, key().sign(claims(signer, iss=other.client_id, client_id=signer.client_id)))
    assert page.query["error"] == "invalid_request_object"


@pytest.mark.parametrize("uri", [EVIL, "javascript:alert(1)", "/login", "https://app.example.org@evil.example/"])
def test_no_object_leads_to_a_place_that_is_not_registered(person: Person, signer: RelyingParty, uri: str) -> None:
    """Not the signed one, and not the one around it, whatever else is wrong."""
    for page in (
        open_with(person, signer, key().sign(claims(signer, redirect_uri=uri))),
        open_with(person, signer, key().sign(claims(signer, redirect_uri=uri, prompt="none"))),
        open_with(person, signer, "garbage", redirect_uri=uri),
    ):
        assert page.main == "error-page"
        assert "Location" not in page.response.headers


def test_what_stands_around_a_signed_request_cannot_change_it(person: Person, signer: RelyingParty) -> None:
    signed = key().sign(claims(signer, scope="openid", prompt="none", code_challenge_method="S256", code_challenge="a" * 43))
    page = open_with(person, signer, signed, scope="openid email", prompt="login", code_challenge="b" * 43, nonce="other")
    assert page.query["error"] == "login_required"
    assert page.query["state"] == "inside"


def test_two_objects_and_a_doubled_parameter_are_refused(person: Person, signer: RelyingParty) -> None:
    needed = httpx.QueryParams(
        {"client_id": signer.client_id, "response_type": "code", "scope": "openid", "redirect_uri": signer.redirect_uri}
    )
    token = key().sign(claims(signer))
    assert person.open(f"authorize?{needed}&request={token}&request={token}").query["error"] == "invalid_request"
    assert person.open(f"authorize?{needed}&request={token}&state=a&state=b").query["error"] == "invalid_request"


def test_a_reference_is_off_and_nothing_is_fetched(person: Person, signer: RelyingParty) -> None:
    for uri in ("http://169.254.169.254/latest", "file:///etc/passwd", "urn:ietf:params:oauth:request_uri:x"):
        assert person.open(signer.authorization_url(request_uri=uri)).query["error"] == "request_uri_not_supported"


# -- 27: claims by name are no way around consent ---------------------------------------------------------------------


def test_claims_by_name_are_shown_before_they_are_told(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url(scope="openid")), "alice", PASSWORD)
    app.code_from(person.submit(page, "consent-allow"))

    asked = '{"userinfo":{"email":null}}'
    assert person.open(app.authorization_url(scope="openid", claims=asked, prompt="none")).query["error"] == "consent_required"
    page = person.open(app.authorization_url(scope="openid", claims=asked))
    assert page.main == "consent-page"
    assert 'data-scope="email"' in page.response.text
    tokens = app.redeem(app.code_from(person.submit(page, "consent-allow"))).json()
    assert app.userinfo(tokens["access_token"]).json()["email"] == "alice@example.org"


def test_claims_by_name_do_not_reach_beyond_the_registered_scopes(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, scope="openid profile")
    asked = '{"userinfo":{"email":{"essential":true}},"id_token":{"email":null}}'
    tokens = app.sign_in(person, scope="openid", claims=asked)
    assert "email" not in app.userinfo(tokens["access_token"]).json()
    assert "email" not in app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")


ODD = [
    '{"userinfo":{"sub":{"value":1e400}}}',
    '{"userinfo":{"name":{"value":"\\ud800"}}}',
    '{"userinfo":{"name":{"value":"\\u0000"}}}',
    '{"id_token":{"acr":{"values":["\\udfff"]}}}',
    '{"userinfo":{"\\ud800":null}}',
    '{"userinfo":{"name":null,"name":{"value":1}}}',
    '{"id_token":{"auth_time":{"value":' + "9" * 4000 + "}}}",
    '{"userinfo":' * 600 + "1" + "}" * 600,
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_claims_are_refused_or_harmless(provider: RunningProvider, person: Person, text: str) -> None:
    app = RelyingParty.register(provider)
    page = person.open(app.authorization_url(claims=text))
    if page.main == "login-page":
        page = person.sign_in(page, "alice", PASSWORD)
    assert page.url.startswith(app.redirect_uri), f"{page.main} at {page.url}"
    if "code" in page.query:
        answer = app.redeem(page.query["code"])
        assert answer.status_code == 200
        assert app.userinfo(answer.json()["access_token"]).status_code == 200
    else:
        assert page.query["error"] in {"invalid_request", "login_required"}
