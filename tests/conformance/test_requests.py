"""Basic, Implicit, Hybrid and their form-post siblings: the parameters of the authorization request."""

import time
from base64 import urlsafe_b64encode
from hashlib import sha256

import httpx
import pytest

from tests.authorization.signing import unsigned
from tests.conformance.plans import Flow
from tests.conformance.rp import Rp
from tests.conformance.suite import NEEDS_A_PAGE, check_error, discovery
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.pace import slowness

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database


def shows_an_error(page: Page, error: str, *words: str) -> None:
    """A page of ours, not a redirect; it says to a person and to a developer what is wrong."""
    assert (page.main, page.response.status_code) == ("error-page", 400), page.response.text[:1000]
    assert page.texts["error-code"].strip() == error
    for word in words:
        assert word in page.texts["error-description"]


def test_oidcc_response_type_missing(rp: Rp, flow: Flow, person: Person) -> None:
    """Refused by redirect, in the query since no response type says otherwise, or in the mode that is named."""
    page = rp.ask(person, response_type=None)
    answer = rp.answered(page, mode="form_post" if flow.form_post else "query")
    check_error(answer, "invalid_request", "unsupported_response_type")
    assert "response_type" in answer["error_description"]


def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(rp: Rp, flow: Flow, person: Person) -> None:
    """Where no ID token comes from the authorization endpoint, `nonce` is optional."""
    assert "nonce" not in rp.sign_in(person, nonce=None).claims


def test_oidcc_ensure_request_without_nonce_fails(rp: Rp, flow: Flow, person: Person) -> None:
    """Where one comes, it is demanded (OIDC Core §3.2.2.1, §3.3.2.11)."""
    answer = rp.answered(rp.ask(person, nonce=None))
    check_error(answer, "invalid_request")
    assert "nonce" in answer["error_description"]


def test_oidcc_display_page(rp: Rp, flow: Flow, person: Person) -> None:
    assert rp.sign_in(person, display="page").claims


def test_oidcc_display_popup(rp: Rp, flow: Flow, person: Person) -> None:
    assert rp.sign_in(person, display="popup").claims


def moved_back(person: Person, rp: Rp, seconds: int) -> None:
    """Let the sign-in be older than it is: time is moved, never slept through."""
    from sqlalchemy import text

    with rp.op.services.database.writing() as tx:
        tx.execute(text("UPDATE sessions SET auth_time = auth_time - :seconds"), {"seconds": seconds})


def test_oidcc_prompt_login(rp: Rp, flow: Flow, person: Person) -> None:
    """`prompt=login` asks a second time, and `auth_time` is another."""
    first = rp.sign_in(person).claims
    moved_back(person, rp, 5)
    page = rp.ask(person, prompt="login")
    assert page.main == "login-page"
    second = rp.finish(rp.through(person, page)).claims
    assert second["sub"] == first["sub"]
    assert second["auth_time"] > first["auth_time"] - 5


def test_oidcc_prompt_none_not_logged_in(rp: Rp, flow: Flow, person: Person) -> None:
    """Without a session `prompt=none` is an error, never a page."""
    check_error(rp.answered(rp.ask(person, prompt="none")), *NEEDS_A_PAGE)


def answers_without_a_page(rp: Rp, person: Person, **extra: str) -> None:
    """The second request is answered at once, for the same person and the same sign-in."""
    first = rp.sign_in(person)
    given = rp.finish(rp.ask(person, **(extra | {name: first.id_token for name in extra if name == "id_token_hint"})))
    assert (given.claims["sub"], given.claims.get("auth_time")) == (first.claims["sub"], first.claims.get("auth_time"))


def test_oidcc_prompt_none_logged_in(rp: Rp, flow: Flow, person: Person) -> None:
    answers_without_a_page(rp, person, prompt="none")


def test_oidcc_id_token_hint(rp: Rp, flow: Flow, person: Person) -> None:
    """`prompt=none` with the ID token of the first answer as `id_token_hint`."""
    answers_without_a_page(rp, person, prompt="none", id_token_hint="")


def test_oidcc_max_age_1(rp: Rp, flow: Flow, person: Person) -> None:
    """An older sign-in is done again, and the ID token says when."""
    first = rp.sign_in(person).claims
    moved_back(person, rp, 3)
    page = rp.ask(person, max_age="1")
    assert page.main == "login-page"
    second = rp.finish(rp.through(person, page)).claims
    assert second["auth_time"] > first["auth_time"] - 3
    assert abs(second["auth_time"] - time.time()) < 5 * slowness()


def test_oidcc_max_age_10000(rp: Rp, flow: Flow, person: Person) -> None:
    """A younger one is enough, and `auth_time` stands in the second ID token."""
    first = rp.sign_in(person).claims
    second = rp.finish(rp.ask(person, max_age="10000")).claims
    assert (second["sub"], second["auth_time"]) == (first["sub"], first["auth_time"])


def test_oidcc_ensure_request_with_unknown_parameter_succeeds(rp: Rp, flow: Flow, person: Person) -> None:
    assert rp.sign_in(person, extra="foobar").claims


def test_oidcc_login_hint(rp: Rp, flow: Flow, person: Person) -> None:
    """A hint that names nobody here is no error; the person may change what stands in the field."""
    page = rp.ask(person, login_hint="buffy@localhost")
    assert page.forms[0].fields["username"] == "buffy@localhost"
    assert rp.finish(rp.through(person, page)).claims


def test_oidcc_ui_locales(rp: Rp, flow: Flow, person: Person) -> None:
    assert rp.sign_in(person, ui_locales="se").claims


def test_oidcc_claims_locales(rp: Rp, flow: Flow, person: Person) -> None:
    assert rp.sign_in(person, claims_locales="se").claims


def test_oidcc_ensure_request_with_acr_values_succeeds(rp: Rp, flow: Flow, person: Person) -> None:
    """The ID token's `acr` is one of those that were asked for: of those that discovery announces."""
    announced = discovery(rp.op)["acr_values_supported"]
    given = rp.sign_in(person, acr_values=" ".join(announced))
    assert all(claims["acr"] in announced for claims in (given.front, given.back) if claims)


def test_oidcc_ensure_registered_redirect_uri(rp: Rp, flow: Flow, person: Person) -> None:
    """A page of ours, and no redirect."""
    shows_an_error(rp.ask(person, redirect_uri=f"{rp.redirect_uri}/other"), "invalid_request", "redirect_uri")


def test_oidcc_ensure_post_request_succeeds(rp: Rp, flow: Flow, person: Person) -> None:
    """The request may be sent by POST (OIDC Core §3.1.2.1)."""
    first = person.http.post(f"{rp.op.issuer}/authorize", data=rp.parameters())
    page = person._follow(first)
    assert rp.finish(rp.through(person, page)).claims


def test_oidcc_ensure_request_with_valid_pkce_succeeds(rp: Rp, flow: Flow, person: Person) -> None:
    """With PKCE; a wrong verifier is refused."""
    verifier = "v" * 64
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    pkce = {"code_challenge": challenge, "code_challenge_method": "S256"}
    page = rp.through(person, rp.ask(person, **pkce))
    assert rp.finish(page, code_verifier=verifier).tokens
    code = rp.answered(rp.ask(person, **pkce))["code"]
    assert rp.try_to_redeem(code, code_verifier="w" * 64).json()["error"] == "invalid_grant"


def is_left_out_since_none_is_not_announced(rp: Rp, person: Person, by: str) -> None:
    """The suite leaves its modules with unsigned objects out, and whoever sends one is told why it is refused."""
    assert "none" not in discovery(rp.op)["request_object_signing_alg_values_supported"]
    page = rp.ask(person, **{by: unsigned(rp.parameters()) if by == "request" else "https://suite.example.org/object"})
    answer = rp.answered(page)
    check_error(answer, "invalid_request_object" if by == "request" else "invalid_request_uri")


def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(
    rp: Rp, flow: Flow, person: Person
) -> None:
    is_left_out_since_none_is_not_announced(rp, person, "request")


def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(rp: Rp, flow: Flow, person: Person) -> None:
    is_left_out_since_none_is_not_announced(rp, person, "request_uri")


def test_oidcc_ensure_request_object_with_redirect_uri(rp: Rp, flow: Flow, person: Person) -> None:
    """The object's `redirect_uri` is the one that counts. The suite's object is unsigned, so ours is signed: Core §6.1."""
    signed = rp.own_key.sign({**rp.parameters(), "iss": rp.client_id, "aud": rp.op.issuer})
    outside = {"redirect_uri": f"{rp.redirect_uri}/other", "request": signed}
    state, nonce = rp.state, rp.nonce
    page = rp.ask(person, **outside)
    rp.state, rp.nonce = state, nonce
    assert rp.finish(rp.through(person, page)).claims


def test_oidcc_codereuse(rp: Rp, flow: Flow, person: Person) -> None:
    """A code is good once."""
    given = rp.sign_in(person)
    refused(rp.try_to_redeem(given.answer["code"]))


def test_oidcc_codereuse_30seconds(rp: Rp, flow: Flow, person: Person) -> None:
    """And its second use ends the access token that the first one brought, or the suite warns."""
    given = rp.sign_in(person)
    refused(rp.try_to_redeem(given.answer["code"]))
    for access_token in {given.access_token, given.answer.get("access_token", given.access_token)}:
        answer = http.get(f"{rp.op.issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"})
        assert answer.status_code == 401


def refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_oidcc_refresh_token(rp: Rp, flow: Flow, person: Person) -> None:
    """A refresh brings new tokens, and an ID token of the same sign-in; the token is bound to its client."""
    grants = [*rp.registration["grant_types"], "refresh_token"]
    own, other = (Rp.register(rp.op, flow, grant_types=grants) for _ in range(2))
    given = own.sign_in(person, scope="openid offline_access", prompt="consent")
    answer = own.refresh(given.tokens["refresh_token"], scope="openid offline_access")
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert tokens["access_token"] != given.tokens["access_token"]
    own.nonce = None
    again = own.id_token_claims(tokens["id_token"])
    assert {name: again[name] for name in ("iss", "sub", "aud", "auth_time")} == {
        name: given.back[name] for name in ("iss", "sub", "aud", "auth_time")
    }
    assert rp.userinfo(tokens["access_token"])["sub"] == again["sub"]
    refused(other.refresh(tokens["refresh_token"]))
    for party in (own, other):
        party.unregister()
