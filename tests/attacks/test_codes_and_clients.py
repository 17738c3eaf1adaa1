"""docs/threats.md 9-16: codes and their proofs, and clients that pretend."""

import time
from base64 import b64encode

import httpx
import pytest
from sqlalchemy import text

from tests.attacks import raw
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

ENDPOINTS = ("token", "introspect", "revoke")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def code(app: RelyingParty, person: Person, **extra: str) -> str:
    page = person.open(app.authorization_url(**extra))
    return app.code_from(person.sign_in(page, "alice", "correct horse battery staple") if page.main == "login-page" else page)


def refused(answer: httpx.Response, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


# -- 10, 11: codes and PKCE -------------------------------------------------------------------------------------------


def test_a_code_is_good_for_a_minute(app: RelyingParty, provider: RunningProvider, person: Person) -> None:
    late = code(app, person)
    with provider.services.database.writing() as tx:
        lives = tx.execute(
            text("SELECT max(expires_at) FROM authorization_codes WHERE client_id = :id"), {"id": app.client_id}
        ).scalar_one()
        assert lives - time.time() <= 60
        tx.execute(
            text("UPDATE authorization_codes SET expires_at = expires_at - 60.5 WHERE client_id = :id"), {"id": app.client_id}
        )
    refused(app.redeem(late), "invalid_grant")


DOWNGRADES = [
    {"code_challenge_method": "plain"},
    {"code_challenge_method": "PLAIN"},
    {"code_challenge_method": "s256"},
    {"code_challenge_method": "S512"},
    {"code_challenge_method": ""},
    {"code_challenge": ""},
    {"code_challenge": "short"},
    {"code_challenge": "a" * 42 + "="},
    {"code_challenge": "a" * 44},
    {"code_challenge": "a" * 42 + "+"},
    {"code_challenge": "a" * 42 + "ä"},
]


@pytest.mark.parametrize(
    "changes", DOWNGRADES, ids=[f"{name}={value[:8]}" for each in DOWNGRADES for name, value in each.items()]
)
def test_a_downgrade_of_the_challenge_is_refused_before_anybody_signs_in(
    app: RelyingParty, person: Person, changes: dict[str, str]
) -> None:
    page = person.open(app.authorization_url(**changes))
    assert page.url.startswith(app.redirect_uri)
    assert page.query["error"] == "invalid_request"


def test_a_public_client_cannot_go_without_a_challenge(provider: RunningProvider, person: Person) -> None:
    public = RelyingParty.register(provider, token_endpoint_auth_method="none")
    page = person.open(public.authorization_url(code_challenge="", code_challenge_method=""))
    assert page.query["error"] == "invalid_request"


def test_the_challenge_is_no_proof_of_itself(app: RelyingParty, person: Person) -> None:
    url = httpx.URL(app.authorization_url())
    page = person.sign_in(person.open(str(url)), "alice", "correct horse battery staple")
    once = app.code_from(page)
    refused(app.redeem(once, code_verifier=url.params["code_challenge"]), "invalid_grant")
    refused(app.redeem(once, code_verifier=url.params["code_challenge"], code_challenge_method="plain"), "invalid_grant")
    assert app.redeem(once).status_code == 200


@pytest.mark.parametrize("verifier", ["a" * 42, "a" * 129, "a" * 42 + "+", "a" * 42 + "ä", "\x7f" * 43, "a" * 43 + "\n"])
def test_an_odd_verifier_is_refused(app: RelyingParty, person: Person, verifier: str) -> None:
    refused(app.redeem(code(app, person), code_verifier=verifier), "invalid_grant")


def test_a_code_is_no_refresh_token_and_a_refresh_token_no_code(app: RelyingParty, person: Person) -> None:
    once = code(app, person)
    refused(app.refresh(once), "invalid_grant")
    tokens = app.redeem(once).json()
    refused(app.redeem(tokens["refresh_token"]), "invalid_grant")
    refused(app.redeem(tokens["access_token"]), "invalid_grant")
    refused(app.refresh(tokens["access_token"]), "invalid_grant")
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_a_code_put_into_another_browsers_flow_does_not_match_its_proof(provider: RunningProvider, person: Person) -> None:
    """Code injection (RFC 9700 §4.5): the thief's code in the victim's flow, at the same client."""
    app = RelyingParty.register(provider)
    thiefs = code(app, Person(provider.issuer))
    app.authorization_url()  # the victim's flow: another verifier
    refused(app.redeem(thiefs), "invalid_grant")


def test_a_grant_that_the_client_did_not_register_is_refused(provider: RunningProvider, person: Person) -> None:
    plain = RelyingParty.register(provider, grant_types=["authorization_code"])
    tokens = plain.redeem(code(plain, person)).json()
    assert "refresh_token" not in tokens
    answer = plain.token("client_credentials")
    refused(answer, "unauthorized_client")
    for word in ("grant_type client_credentials", "registered authorization_code"):
        assert word in answer.json()["error_description"]
    refused(plain.refresh("x"), "unauthorized_client")
    for unknown in ("password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer", "x" * 5000, "<script>"):
        refused(plain.token(unknown), "unsupported_grant_type")


def test_client_credentials_give_nothing_that_speaks_of_a_person(provider: RunningProvider) -> None:
    machine = RelyingParty.register(provider, grant_types=["client_credentials"], scope="reports openid email")
    for scope in ("openid", "email", "reports openid", "offline_access", "other"):
        refused(machine.token("client_credentials", scope=scope), "invalid_scope")
    token = machine.token("client_credentials").json()
    assert token["scope"] == "reports"
    assert not {"id_token", "refresh_token"} & set(token)
    assert machine.userinfo(token["access_token"]).status_code == 401


# -- 13, 14, 16: clients that pretend ---------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_confidential_client_cannot_leave_its_secret_out(app: RelyingParty, endpoint: str) -> None:
    data = {"client_id": app.client_id, "grant_type": "refresh_token", "refresh_token": "x", "token": "x"}
    refused(http.post(f"{app.provider.issuer}/{endpoint}", data=data), "invalid_client", 401)
    refused(http.post(f"{app.provider.issuer}/{endpoint}", data=data | {"client_secret": ""}), "invalid_client", 401)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_secret_in_the_query_is_not_read(app: RelyingParty, endpoint: str) -> None:
    query = {"client_id": app.client_id, "client_secret": app.auth[1]}  # type: ignore[index]
    data = {"grant_type": "client_credentials", "token": "x"}
    refused(http.post(f"{app.provider.issuer}/{endpoint}", params=query, data=data), "invalid_client", 401)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_two_methods_at_once_are_refused(app: RelyingParty, endpoint: str) -> None:
    data = {"client_id": app.client_id, "client_secret": app.auth[1], "token": "x", "grant_type": "refresh_token"}  # type: ignore[index]
    refused(http.post(f"{app.provider.issuer}/{endpoint}", data=data, auth=app.auth), "invalid_request")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_one_clients_header_cannot_speak_for_another(app: RelyingParty, provider: RunningProvider, endpoint: str) -> None:
    other = RelyingParty.register(provider)
    data = {"client_id": other.client_id, "token": "x", "grant_type": "refresh_token", "refresh_token": "x"}
    refused(http.post(f"{provider.issuer}/{endpoint}", data=data, auth=app.auth), "invalid_request")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_another_method_than_the_registered_one_is_refused(provider: RunningProvider, method: str) -> None:
    client = RelyingParty.register(provider, token_endpoint_auth_method=method)
    client_id, secret = client.auth  # type: ignore[misc]
    data = {"grant_type": "refresh_token", "refresh_token": "x"}
    if method == "client_secret_basic":
        answer = http.post(f"{provider.issuer}/token", data=data | {"client_id": client_id, "client_secret": secret})
    else:
        answer = http.post(f"{provider.issuer}/token", data=data, auth=(client_id, secret))
    refused(answer, "invalid_client", 401)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_public_client_cannot_pretend_to_be_confidential(provider: RunningProvider, endpoint: str) -> None:
    public = RelyingParty.register(provider, token_endpoint_auth_method="none")
    data = {"token": "x", "grant_type": "refresh_token", "refresh_token": "x"}
    for secret in ("x", "None", "null", "undefined"):
        refused(http.post(f"{provider.issuer}/{endpoint}", data=data, auth=(public.client_id, secret)), "invalid_client", 401)
        post = data | {"client_id": public.client_id, "client_secret": secret}
        refused(http.post(f"{provider.issuer}/{endpoint}", data=post), "invalid_client", 401)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_assertion_is_not_taken_for_authentication(app: RelyingParty, endpoint: str) -> None:
    data = {
        "client_id": app.client_id,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "eyJhbGciOiJub25lIn0.e30.",
        "grant_type": "client_credentials",
        "token": "x",
    }
    answer = http.post(f"{app.provider.issuer}/{endpoint}", data=data)
    assert answer.status_code in {400, 401}
    assert answer.json()["error"] in {"invalid_request", "invalid_client"}


CREDENTIALS = {
    "no base64": b"!!!!",
    "nothing": b"",
    "not UTF-8": b64encode(b"\xff\xfe:\xff"),
    "percent-encoded, not UTF-8": b64encode(b"%ff:%fe"),
    "NUL": b64encode(b"\x00:\x00"),
    "NUL within": b64encode(b"client\x00id:secret"),
    "NUL percent-encoded": b64encode(b"%00:%00"),
    "no colon": b64encode(b"client"),
    "no secret": b64encode(b"client:"),
    "no client": b64encode(b":secret"),
    "very long": b64encode(b"c" * 3000 + b":" + b"s" * 3000),
    "Latin-1 as it is": "ä".encode("latin-1"),
    "a surrogate": b64encode(b"\xed\xa0\x80:x"),
}


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS.keys())
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_credentials_that_are_garbage_are_refused_like_any_others(
    provider: RunningProvider, endpoint: str, credentials: bytes
) -> None:
    headers = [("Authorization", b"Basic " + credentials), FORM]
    answer = raw.send(provider, "POST", f"/{endpoint}", headers, b"grant_type=client_credentials&token=x")
    assert answer.status == 401, answer
    assert b"invalid_client" in answer.body
    assert str(answer.header("WWW-Authenticate")).startswith("Basic ")


def test_a_secret_followed_by_nul_or_anything_is_wrong(app: RelyingParty) -> None:
    client_id, secret = app.auth  # type: ignore[misc]
    for more in ("\x00", "\x00" * 64, " ", "\n", "x"):
        for encoded in (f"{client_id}:{secret}{more}", f"{client_id}:{secret}" + "".join(f"%{ord(char):02X}" for char in more)):
            headers = [("Authorization", b"Basic " + b64encode(encoded.encode())), FORM]
            assert raw.send(app.provider, "POST", "/introspect", headers, b"token=x").status == 401


def test_an_unknown_client_and_a_wrong_secret_look_the_same(app: RelyingParty, provider: RunningProvider) -> None:
    public = RelyingParty.register(provider, token_endpoint_auth_method="none")

    def seen(answer: httpx.Response) -> tuple[object, ...]:
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "date"}
        return answer.status_code, answer.content, tuple(sorted(headers.items()))

    url, data = f"{provider.issuer}/introspect", {"token": "x"}
    answers = [
        http.post(url, data=data, auth=(app.client_id, "wrong")),
        http.post(url, data=data, auth=("unknown", "wrong")),
        http.post(url, data=data | {"client_id": app.client_id, "client_secret": "wrong"}),
        http.post(url, data=data | {"client_id": "unknown", "client_secret": "wrong"}),
        http.post(url, data=data | {"client_id": app.client_id}),
        http.post(url, data=data | {"client_id": "unknown"}),
        http.post(url, data=data | {"client_id": public.client_id}),
        http.post(url, data=data),
    ]
    assert len({seen(answer) for answer in answers}) == 1
    assert answers[0].status_code == 401
