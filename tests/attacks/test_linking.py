"""Apps of two sectors that compare all that they were told, and what strangers can do with encrypted tokens."""

import json
import time
import zlib
from base64 import urlsafe_b64encode

import jwt
import pytest
from joserfc import jwe
from joserfc.jwk import RSAKey

from tests.support import http
from tests.support.browsing import Person
from tests.support.jwe import KeyPair
from tests.support.pace import slowness
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider


def claims_of(token: str) -> dict[str, object]:
    return jwt.decode(token, options={"verify_signature": False})


def strings_in(value: object) -> set[str]:
    """Every string, and every number that could be an instant to compare, of an answer."""
    if isinstance(value, dict):
        return set().union(*(strings_in(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(set(), *(strings_in(each) for each in value))
    return {value} if isinstance(value, str) else set()


def all_that_it_is_told(app: RelyingParty, person: Person, receiver: Receiver) -> set[str]:
    tokens = app.sign_in(person, scope="openid")
    again = app.refresh(tokens["refresh_token"]).json()
    told = strings_in(app.userinfo(again["access_token"]).json())
    for token in (tokens, again):
        told |= strings_in(claims_of(token["id_token"])) | strings_in(claims_of(token["access_token"]))
        told |= strings_in(app.introspect(token["access_token"]))
    return told | strings_in(app.introspect(again["refresh_token"]))


def test_apps_of_two_sectors_share_nothing_that_names_a_person_or_a_session(provider: RunningProvider, person: Person) -> None:
    receivers = [Receiver(), Receiver()]
    apps = [
        RelyingParty.register(provider, receiver=each, subject_type="pairwise", backchannel_logout_include_sub=True)
        for each in receivers
    ]
    told = [all_that_it_is_told(app, person, each) for app, each in zip(apps, receivers, strict=True)]
    person.submit(person.open("logout"), "logout-confirm")
    for known, app, receiver in zip(told, apps, receivers, strict=True):
        known |= strings_in(app.logout_claims(receiver.wait()[0]))
        known |= {name for body in receiver.bodies for name in body}
        receiver.close()
    common = told[0] & told[1]
    assert common == {provider.issuer, "openid", "pwd", "1", "Bearer", "logout_token"} & common
    assert provider.issuer in common


def test_another_sectors_name_of_a_person_opens_nothing_and_confirms_nothing(provider: RunningProvider, person: Person) -> None:
    """No oracle: who has both names cannot have it confirmed that they are one person's."""
    one, two = (RelyingParty.register(provider, subject_type="pairwise") for _ in range(2))
    hint = one.sign_in(person)["id_token"]
    two.sign_in(person)
    answer = person.open(two.authorization_url(prompt="none", id_token_hint=hint)).query
    bob = Person(provider.issuer)
    theirs = one.sign_in(bob, "bob")["id_token"]
    assert person.open(two.authorization_url(prompt="none", id_token_hint=theirs)).query["error"] == answer["error"]
    assert "code" not in answer
    bob.http.close()


def test_a_hint_for_one_app_is_none_for_another_of_its_sector(provider: RunningProvider, person: Person) -> None:
    one = RelyingParty.register(provider, subject_type="pairwise")
    two = RelyingParty.register(provider, subject_type="pairwise", redirect_uris=[one.redirect_uri + "/other"])
    hint = one.sign_in(person)["id_token"]
    two.sign_in(person)
    assert "error" in person.open(two.authorization_url(prompt="none", id_token_hint=hint)).query


# -- encrypted tokens that strangers send -----------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def bomb() -> str:
    """A JWE whose header asks to unpack what a kilobyte holds: a megabyte of nothing."""
    packed = zlib.compressobj(wbits=-15)
    content = packed.compress(b"\x00" * 1_000_000) + packed.flush()
    header = b64(json.dumps({"alg": "dir", "enc": "A256GCM", "zip": "DEF", "cty": "JWT"}).encode())
    return f"{header}..{b64(b'0' * 12)}.{b64(content)}.{b64(b'0' * 16)}"


def to_our_signing_key(provider: RunningProvider, inside: str) -> str:
    """Encrypted with the key that we publish for signatures."""
    (published, *_) = http.get(f"{provider.issuer}/jwks").json()["keys"]
    key = RSAKey.import_key({name: published[name] for name in ("kty", "n", "e")})
    protected = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": published["kid"], "typ": "JWT", "cty": "JWT"}
    return jwe.encrypt_compact(protected, inside, key, algorithms=["RSA-OAEP-256", "A256GCM"])


@pytest.mark.parametrize("kind", ["bomb", "encrypted to our signing key", "heavy PBES2"])
def test_nothing_encrypted_is_opened_here_wherever_it_is_sent(
    provider: RunningProvider, person: Person, app: RelyingParty, kind: str
) -> None:
    tokens = app.sign_in(person)
    heavy = b64(json.dumps({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2**31, "p2s": "AAAAAAAAAAA"}).encode())
    sent = {
        "bomb": bomb(),
        "encrypted to our signing key": to_our_signing_key(provider, tokens["id_token"]),
        "heavy PBES2": f"{heavy}.{b64(b'0' * 40)}.{b64(b'0' * 12)}.AAAA.{b64(b'0' * 16)}",
    }[kind]
    began = time.monotonic()
    assert app.userinfo(sent).status_code == 401
    assert app.introspect(sent) == {"active": False}
    assert app.revoke(sent).status_code == 200
    assert person.open(f"logout?id_token_hint={sent}").main == "logout-page"
    assert person.open(app.authorization_url(prompt="none", id_token_hint=sent)).query["error"] == "invalid_request"
    assert time.monotonic() - began < 5 * slowness()
    assert app.userinfo(tokens["access_token"]).status_code == 200


def test_an_encrypted_id_token_given_back_as_it_is_signs_nobody_out(provider: RunningProvider, person: Person) -> None:
    pair = KeyPair.make("RSA-OAEP-256")
    app = RelyingParty.register(provider, id_token_encrypted_response_alg="RSA-OAEP-256", jwks=pair.jwks)
    assert person.open(f"logout?id_token_hint={app.sign_in(person)['id_token']}").main == "logout-page"


@pytest.mark.parametrize("alg", ["none", "HS256", "RS1"])
def test_no_answer_can_be_asked_for_that_anybody_could_have_signed(provider: RunningProvider, alg: str) -> None:
    for member in ("userinfo_signed_response_alg", "id_token_signed_response_alg"):
        with pytest.raises(Exception, match=member):
            RelyingParty.register(provider, **{member: alg})


@pytest.mark.parametrize("alg", ["RSA1_5", "RSA-OAEP", "dir", "A256KW", "PBES2-HS256+A128KW", "none"])
def test_no_weak_or_symmetric_encryption_can_be_asked_for(provider: RunningProvider, alg: str) -> None:
    with pytest.raises(Exception, match="encrypted_response_alg"):
        RelyingParty.register(provider, userinfo_encrypted_response_alg=alg, jwks=KeyPair.make("ECDH-ES").jwks)


def test_a_weak_key_of_a_client_cannot_be_registered(provider: RunningProvider) -> None:
    with pytest.warns(Warning, match="2048"):
        weak = RSAKey.generate_key(1024, {"kid": "weak", "use": "enc"})
    with pytest.raises(Exception, match="2048"):
        RelyingParty.register(
            provider, id_token_encrypted_response_alg="RSA-OAEP-256", jwks={"keys": [weak.as_dict(private=False)]}
        )


def test_what_somebody_wrote_of_a_person_is_data_wherever_it_is_shown(provider: RunningProvider, person: Person) -> None:
    """Claims are texts of strangers to every app, and stay JSON strings."""
    nasty = '<script>alert(1)</script>"}'
    name = f"mallory-{time.monotonic_ns()}"
    accounts = provider.services.accounts
    with provider.services.database.writing() as tx:
        new = accounts.prepare(name, "correct horse battery staple", claims={"nickname": nasty, "name": nasty})
        accounts.add(tx, new)
    app = RelyingParty.register(provider)
    answer = app.userinfo(app.sign_in(person, name)["access_token"])
    assert answer.json()["nickname"] == nasty
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" not in person.open("account").response.text
