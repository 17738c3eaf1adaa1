"""Reading request objects: which value wins, and what is refused (OIDC Core §6, RFC 9101)."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256

import jwt
import pytest
from authlib.oauth2.rfc6749.errors import OAuth2Error

from idp.authorization.request_object import RequestObjects
from idp.authorization.request_uri import Documents
from idp.clients.jwks import read as read_keys
from idp.clients.keys import ClientKeysError
from idp.clients.rules import Client
from idp.protocol.parameters import Parameters
from idp.protocol.signatures import ALGORITHMS
from idp.runtime.outbound.client import HttpReply, UnreachableError
from tests.authorization.signing import key, unsigned

ISSUER = "https://idp.example"
NOW = 1_800_000_000.0
URI = "https://app.example/request.jwt"


class Keys:
    """What registered clients' keys are looked up in."""

    def keys_of(self, client: Client, kid: str | None = None):
        if client.jwks is None:
            raise ClientKeysError("The client registered neither jwks nor jwks_uri.")
        return read_keys(client.jwks)


class Web:
    """What stands where, and how often it was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, HttpReply] = {}
        self.asked: list[str] = []

    def get(self, url: str) -> HttpReply:
        self.asked.append(url)
        if url not in self.pages:
            raise UnreachableError("10.0.0.7: no answer in time")
        return self.pages[url]


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def objects(web: Web) -> RequestObjects:
    return RequestObjects(ISSUER, Keys(), Documents(web.get), lambda: NOW, ("request", "request_uri"))  # type: ignore[arg-type]


def client(**metadata: object) -> Client:
    keys = {"keys": [key(alg, alg).jwk for alg in ALGORITHMS]}
    return Client("app", None, NOW, **({"jwks": keys, "request_uris": (URI,)} | metadata))  # type: ignore[arg-type]


def signed(claims: Mapping[str, object], alg: str = "RS256", **headers: object) -> str:
    return key(alg, alg).sign({"iss": "app", "aud": ISSUER} | dict(claims), **headers)


def sent(**parameters: str) -> Parameters:
    return Parameters({"client_id": "app", "response_type": "code", "scope": "openid"} | parameters)


def refusal(objects: RequestObjects, given: Parameters, who: Client | None = None) -> str:
    with pytest.raises(OAuth2Error) as caught:
        objects.unfold(given, who or client())
    assert str(caught.value.get_error_description()).endswith(".")
    return str(caught.value.error)


def test_a_request_without_an_object_stays_as_it_is(objects: RequestObjects) -> None:
    given = sent(state="s")
    assert objects.unfold(given, client()) is given


def test_what_the_object_says_wins_and_the_rest_stays(objects: RequestObjects) -> None:
    inside = {"redirect_uri": "https://in", "state": "in", "scope": "openid email", "max_age": 0, "claims": {"userinfo": {}}}
    found = objects.unfold(sent(request=signed(inside), redirect_uri="https://out", state="out", prompt="login"), client())
    assert dict(found) == {
        "client_id": "app",
        "response_type": "code",
        "redirect_uri": "https://in",
        "state": "in",
        "scope": "openid email",
        "max_age": "0",
        "claims": '{"userinfo": {}}',
        "prompt": "login",
    }


def test_members_that_are_no_parameters_of_ours_change_nothing(objects: RequestObjects) -> None:
    found = objects.unfold(sent(request=signed({"foo": [1], "jti": "x", "exp": NOW + 9, "client_secret": "x"})), client())
    assert dict(found) == dict(sent())


def test_a_parameter_given_twice_outside_is_not_forgotten(objects: RequestObjects) -> None:
    given = Parameters(dict(sent(request=signed({"state": "in"}))), frozenset({"state"}))
    assert objects.unfold(given, client()).repeated == {"state"}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_algorithm_that_is_announced_can_sign_one(objects: RequestObjects, alg: str) -> None:
    token = signed({"state": "in"}, alg)
    assert objects.unfold(sent(request=token), client())["state"] == "in"
    assert objects.unfold(sent(request=token), client(request_object_signing_alg=alg))["state"] == "in"
    other = "ES256" if alg != "ES256" else "RS256"
    assert refusal(objects, sent(request=token), client(request_object_signing_alg=other)) == "invalid_request_object"


def test_an_unsigned_object_counts_only_where_the_client_registered_none(objects: RequestObjects) -> None:
    token = unsigned({"state": "in"})
    assert refusal(objects, sent(request=token)) == "invalid_request_object"
    assert refusal(objects, sent(request=token), client(request_object_signing_alg="RS256")) == "invalid_request_object"
    bare = client(request_object_signing_alg="none", jwks=None)
    assert objects.unfold(sent(request=token), bare)["state"] == "in"
    assert refusal(objects, sent(request=token + "AAAA"), bare) == "invalid_request_object"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "oauth-authz-req+jwt", "application/oauth-authz-req+jwt"])
def test_a_typ_that_says_request_object_or_nothing_much_is_taken(objects: RequestObjects, typ: str) -> None:
    assert objects.unfold(sent(request=signed({"state": "in"}, typ=typ)), client())["state"] == "in"


def test_without_a_typ_it_is_taken(objects: RequestObjects) -> None:
    token = jwt.encode({"state": "in"}, key("RS256", "RS256").private, "RS256", headers={"kid": "RS256", "typ": None})
    assert objects.unfold(sent(request=token), client())["state"] == "in"


WRONG: list[tuple[str, dict[str, object]]] = [
    ("of another client", {"iss": "another"}),
    ("for another provider", {"aud": "https://other.example"}),
    ("for the token endpoint", {"aud": [f"{ISSUER}/token"]}),
    ("that could be a client assertion", {"sub": "app"}),
    ("with an object in it", {"request": "x"}),
    ("with a reference in it", {"request_uri": URI}),
    ("with another client_id", {"client_id": "another"}),
    ("with another response_type", {"response_type": "id_token"}),
    ("that expired", {"exp": NOW - 61}),
    ("that is not valid yet", {"nbf": NOW + 61}),
    ("from the future", {"iat": NOW + 61}),
    ("with an exp in words", {"exp": "tomorrow"}),
    ("with a true exp", {"exp": True}),
    ("with a number for a state", {"state": 7}),
    ("with a list for a scope", {"scope": ["openid"]}),
    ("with half a character", {"state": "\ud800"}),
    ("with a NUL", {"state": "a\x00b"}),
    ("with a true max_age", {"max_age": True}),
]


@pytest.mark.parametrize("claims", [claims for _, claims in WRONG], ids=[name for name, _ in WRONG])
def test_an_object_is_refused(objects: RequestObjects, claims: dict[str, object]) -> None:
    assert refusal(objects, sent(request=signed(claims))) == "invalid_request_object"


def test_clocks_may_differ_by_a_minute(objects: RequestObjects) -> None:
    times = {"exp": NOW - 59, "nbf": NOW + 59, "iat": NOW + 59}
    assert objects.unfold(sent(request=signed({"state": "in"} | times)), client())["state"] == "in"


def test_the_response_type_may_be_written_in_another_order(objects: RequestObjects) -> None:
    given = sent(response_type="id_token code", request=signed({"response_type": "code id_token"}))
    assert objects.unfold(given, client())["response_type"] == "code id_token"


def test_what_is_switched_off_is_refused_by_its_own_name(web: Web) -> None:
    off = RequestObjects(ISSUER, Keys(), Documents(web.get), lambda: NOW)  # type: ignore[arg-type]
    assert refusal(off, sent(request=signed({}))) == "request_not_supported"
    assert refusal(off, sent(request_uri=URI)) == "request_uri_not_supported"
    assert web.asked == []


def test_an_object_and_a_reference_exclude_each_other(objects: RequestObjects, web: Web) -> None:
    assert refusal(objects, sent(request=signed({}), request_uri=URI)) == "invalid_request"
    assert web.asked == []


# -- by reference -----------------------------------------------------------------------------------------------------


def put(web: Web, text: str, status: int = 200) -> str:
    """Publish a request object; the fragment that promises it."""
    web.pages[URI] = HttpReply(status, {}, text.encode())
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


def test_a_reference_without_a_fragment_is_fetched_each_time(objects: RequestObjects, web: Web) -> None:
    for state in ("one", "two"):
        put(web, signed({"state": state}))
        assert objects.unfold(sent(request_uri=URI), client())["state"] == state
    assert web.asked == [URI, URI]


def test_a_document_that_its_fragment_promises_is_kept(objects: RequestObjects, web: Web) -> None:
    uri = f"{URI}#{put(web, signed({'state': 'in'}))}"
    for _ in range(3):
        assert objects.unfold(sent(request_uri=uri), client())["state"] == "in"
    assert web.asked == [URI]
    put(web, signed({"state": "new"}))
    assert objects.unfold(sent(request_uri=f"{URI}#{put(web, signed({'state': 'new'}))}"), client())["state"] == "new"


def test_a_fragment_that_promises_something_else_keeps_nothing(objects: RequestObjects, web: Web) -> None:
    """The conformance suite registers a hash of other contents: that must work, and must poison nothing."""
    put(web, signed({"state": "one"}))
    promised = urlsafe_b64encode(sha256(b"other").digest()).rstrip(b"=").decode()
    assert objects.unfold(sent(request_uri=f"{URI}#{promised}"), client())["state"] == "one"
    put(web, signed({"state": "two"}))
    assert objects.unfold(sent(request_uri=f"{URI}#{promised}"), client())["state"] == "two"


def test_a_registered_fragment_says_nothing_about_later_ones(objects: RequestObjects, web: Web) -> None:
    put(web, signed({"state": "in"}))
    assert objects.unfold(sent(request_uri=f"{URI}#new"), client(request_uris=(f"{URI}#old",)))["state"] == "in"


@pytest.mark.parametrize(
    "uri", [URI + "/", URI + "?x", "https://app.example/other", "http://app.example/request.jwt", "https://evil.example/", "x"]
)
def test_what_is_not_registered_is_never_fetched(objects: RequestObjects, web: Web, uri: str) -> None:
    assert refusal(objects, sent(request_uri=uri)) == "invalid_request_uri"
    assert refusal(objects, sent(request_uri=URI), client(request_uris=())) == "invalid_request_uri"
    assert web.asked == []


def test_a_long_reference_is_refused(objects: RequestObjects, web: Web) -> None:
    long = URI + "#" + "x" * 512
    assert refusal(objects, sent(request_uri=long)) == "invalid_request_uri"
    assert web.asked == []


def test_why_a_document_cannot_be_fetched_is_not_told(objects: RequestObjects, web: Web) -> None:
    with pytest.raises(OAuth2Error) as caught:
        objects.unfold(sent(request_uri=URI), client())
    assert caught.value.error == "invalid_request_uri"
    assert "10.0.0.7" not in str(caught.value.get_error_description())
    put(web, signed({}), status=302)
    assert refusal(objects, sent(request_uri=URI)) == "invalid_request_uri"


def test_a_document_that_is_no_request_object_is_an_invalid_one(objects: RequestObjects, web: Web) -> None:
    for text in ("", "x", "<html>", "ä.ö.ü", "a.b.c.d.e", signed({})[:-9]):
        put(web, text)
        assert refusal(objects, sent(request_uri=URI)) == "invalid_request_object"


def test_few_are_fetched_at_once_and_the_others_are_told_to_come_again(web: Web) -> None:
    documents = Documents(web.get)
    for _ in range(4):
        assert documents._waiting.acquire(blocking=False)
    busy = RequestObjects(ISSUER, Keys(), documents, lambda: NOW, ("request_uri",))  # type: ignore[arg-type]
    assert refusal(busy, sent(request_uri=URI)) == "temporarily_unavailable"
    documents._waiting.release()
    put(web, signed({"state": "in"}))
    assert busy.unfold(sent(request_uri=URI), client())["state"] == "in"
    assert documents._waiting.acquire(blocking=False), "a fetch gives its place back"
