"""Near misses: what is refused names its parameter and says what is expected, by redirect, on a page and as JSON alike."""

import json

import httpx
import pytest

from tests.authorization.signing import unsigned
from tests.conformance.rp import Rp
from tests.conformance.suite import check_description, check_error
from tests.conformance.test_requests import shows_an_error
from tests.support import http
from tests.support.browsing import Person

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database

#: What is sent, the error, and the words that say what was wrong and what is expected.
REQUESTS: list[tuple[dict[str, str | None], str, tuple[str, ...]]] = [
    ({"response_type": None}, "invalid_request", ("response_type is missing", "code or id_token")),
    ({"response_type": "CODE"}, "unsupported_response_type", ("response_type must be code or",)),
    ({"response_type": "code code"}, "unsupported_response_type", ("response_type must be code or",)),
    ({"response_type": "none"}, "unsupported_response_type", ("response_type must be code or",)),
    ({"response_type": "code id_token"}, "unauthorized_client", ("response_type code id_token", "registered code")),
    ({"response_mode": "query.jwt"}, "invalid_request", ("response_mode must be query or fragment or form_post",)),
    ({"scope": "foo"}, "invalid_scope", ("scope must hold at least one of: openid",)),
    ({"scope": None}, "invalid_scope", ("scope must hold at least one of: openid",)),
    ({"state": "s" * 5000}, "invalid_request", ("state is longer than 4096",)),
    ({"nonce": "n" * 1025}, "invalid_request", ("nonce is longer than 1024",)),
    ({"login_hint": "x" * 257}, "invalid_request", ("login_hint is longer than 256",)),
    ({"prompt": "login,consent"}, "invalid_request", ("prompt holds an unknown value", "separated by spaces, none, login")),
    ({"prompt": "None"}, "invalid_request", ("prompt holds an unknown value",)),
    ({"prompt": "none login"}, "invalid_request", ("prompt=none goes with no other value",)),
    *(
        ({"max_age": value}, "invalid_request", ("max_age must be a number of seconds, of at most 9 digits",))
        for value in ("-1", "+1", "1.5", " 1", "\u0661", "1e3", "9" * 40)
    ),
    ({"id_token_hint": "a.b.c"}, "invalid_request", ("id_token_hint is not an ID token that was issued here to this client",)),
    ({"claims": "["}, "invalid_request", ("claims is not JSON",)),
    ({"claims": "[]"}, "invalid_request", ("claims must be a JSON object", "userinfo and id_token")),
    ({"claims": '{"id_token":{"email":"yes"}}'}, "invalid_request", ("id_token.email must be null or an object",)),
    ({"claims": '{"id_token":{"acr":{"values":"1"}}}'}, "invalid_request", ("id_token.acr", "array")),
    ({"claims": '{"id_token":{"sub":{"essential":"yes"}}}'}, "invalid_request", ("essential must be true or false",)),
    ({"claims": '{"id_token":' + "[" * 9000}, "invalid_request", ("claims is longer than 8192",)),
    ({"registration": "{}"}, "registration_not_supported", ("registration is not supported", "client_id")),
    ({"request": "a.b.c"}, "invalid_request_object", ("request object", "JWT of three parts")),
    ({"request": unsigned({"state": "x"})}, "invalid_request_object", ("its alg must be RS256 or",)),
    ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request_uri", ("request_uri is not one of",)),
    ({"request_uri": "https://x/" + "x" * 600}, "invalid_request_uri", ("request_uri is longer than 512",)),
    ({"request_uri": "https://x", "request": "a.b.c"}, "invalid_request", ("request and request_uri exclude each other",)),
    ({"code_challenge": "x" * 43}, "invalid_request", ("code_challenge_method must be S256",)),
    ({"code_challenge": "x" * 42 + "=", "code_challenge_method": "S256"}, "invalid_request", ("code_challenge must be", "43")),
    ({"code_challenge_method": "S256"}, "invalid_request", ("code_challenge is missing",)),
]
#: The same for what only our page can answer.
ON_A_PAGE: list[tuple[dict[str, str | None], str, tuple[str, ...]]] = [
    ({"client_id": None}, "invalid_request", ("client_id is missing", "registered")),
    ({"client_id": "x" * 9000}, "invalid_client", ("client_id names no client",)),
    ({"redirect_uri": None}, "invalid_request", ("redirect_uri is missing", "as it is registered")),
    ({"redirect_uri": ":::"}, "invalid_request", ("redirect_uri is not one of those that the client registered",)),
    ({"state": "a\x00b"}, "invalid_request", ("the parameter state holds a NUL",)),
    ({"<b>\x00": "x"}, "invalid_request", ("the parameter with a strange name holds a NUL",)),
]
#: Members of a signed request object, and what is said of them.
MEMBERS: list[tuple[dict[str, object], str]] = [
    ({"aud": 1}, "aud of the request object must be http"),
    ({"iss": 1}, "iss of the request object must be the client_id"),
    ({"exp": 1}, "exp of the request object lies in the past"),
    ({"exp": True}, "exp of the request object must be a number"),
    ({"iat": 9e12}, "iat of the request object lies in the future"),
    ({"request": "x"}, "must not hold request"),
    ({"client_id": "x"}, "client_id of the request object must be the one beside it"),
    ({"response_type": "id_token"}, "response_type of the request object must be the one beside it"),
    ({"scope": ["openid"]}, "scope of the request object must be a string"),
    ({"state": "\ud800"}, "state: a string holds half a character"),
    ({"max_age": 1.5}, "max_age of the request object must be a whole number of seconds"),
    ({"claims": []}, "claims of the request object must be an object"),
]
#: The token endpoint.
TOKENS: list[tuple[dict[str, str], str, tuple[str, ...]]] = [
    ({"a": "b"}, "invalid_request", ("grant_type is missing", "authorization_code")),
    ({"grant_type": "password"}, "unsupported_grant_type", ("grant_type must be one of authorization_code",)),
    ({"grant_type": "client_credentials"}, "unauthorized_client", ("registered authorization_code",)),
    ({"grant_type": "authorization_code"}, "invalid_request", ("code is missing", "authorization response")),
    ({"grant_type": "authorization_code", "code": "x"}, "invalid_grant", ("code is unknown, expired",)),
    ({"grant_type": "authorization_code", "code": "\x00"}, "invalid_request", ("the parameter code holds a NUL",)),
]


@pytest.mark.parametrize(("sent", "error", "words"), REQUESTS, ids=lambda value: str(value)[:40])
def test_a_request_is_refused_by_redirect(
    rp: Rp, person: Person, sent: dict[str, str], error: str, words: tuple[str, ...]
) -> None:
    page = rp.ask(person, **sent)
    answer = rp.read(page, mode="fragment" if page.fragment else "query")
    check_error(answer, error)
    assert all(word in answer["error_description"] for word in words), answer


@pytest.mark.parametrize(("sent", "error", "words"), ON_A_PAGE, ids=lambda value: str(value)[:40])
def test_a_request_is_refused_on_a_page(
    rp: Rp, person: Person, sent: dict[str, str], error: str, words: tuple[str, ...]
) -> None:
    page = rp.ask(person, **sent)
    shows_an_error(page, error, *words)
    check_description(page.texts["error-description"])


@pytest.mark.parametrize(("members", "words"), MEMBERS, ids=lambda value: str(value)[:40])
def test_a_request_object_is_refused(rp: Rp, person: Person, members: dict[str, object], words: str) -> None:
    """Signed by hand: libraries do not sign all of these."""
    from jwt import PyJWS

    inside = json.dumps(rp.parameters() | {"aud": rp.op.issuer} | members).encode()
    answer = rp.read(rp.ask(person, request=PyJWS().encode(inside, rp.own_key.private, "RS256")))
    check_error(answer, "invalid_request_object")
    assert words in answer["error_description"]


@pytest.mark.parametrize(("sent", "error", "words"), TOKENS, ids=lambda value: str(value)[:40])
def test_a_token_request_is_refused(rp: Rp, sent: dict[str, str], error: str, words: tuple[str, ...]) -> None:
    says(rp.token(sent), error, *words)


@pytest.mark.parametrize("redirect_uri", [None, "https://suite.example.org/another"])
def test_a_code_with_another_redirect_uri_is_refused_and_not_used_up(rp: Rp, person: Person, redirect_uri: str | None) -> None:
    code = rp.answered(rp.through(person, rp.ask(person)))["code"]
    sent = {"grant_type": "authorization_code", "code": code} | ({"redirect_uri": redirect_uri} if redirect_uri else {})
    says(rp.token(sent), "invalid_grant", "redirect_uri must be the one of the authorization request")
    assert rp.redeem(code)


def says(answer: httpx.Response, error: str, *words: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, error), answer.text
    check_description(answer.json()["error_description"])
    assert all(word in answer.json()["error_description"] for word in words), answer.text


def test_a_token_in_the_query_is_told_where_it_belongs(rp: Rp) -> None:
    answer = http.get(f"{rp.op.issuer}/userinfo?access_token=x")
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.json()["error_description"]
    assert "never in the query" in answer.json()["error_description"]
