"""The implicit and hybrid flows, where they are switched on (OIDC Core §3.2, §3.3; Multiple Response Types 1.0)."""

from base64 import urlsafe_b64encode
from hashlib import sha256

import httpx
import pytest

from tests.authorization.conftest import FRONT_CHANNEL, PASSWORD, answered, arrived, everything
from tests.support.browsing import Person
from tests.support.jwe import KeyPair
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider

RESPONSE = {"state", "iss"}
TOKEN = {"access_token", "token_type", "expires_in", "scope"}


def half(value: str) -> str:
    """OIDC Core §3.3.2.11, for RS256."""
    return urlsafe_b64encode(sha256(value.encode()).digest()[:16]).rstrip(b"=").decode()


def identity(app: RelyingParty, token: str) -> dict[str, object]:
    return app.verified(token, audience=app.client_id, typ="JWT")


@pytest.mark.parametrize("response_type", FRONT_CHANNEL)
def test_a_response_holds_what_its_type_names_and_each_hash_fits(
    provider: RunningProvider, person: Person, response_type: str
) -> None:
    app = everything(provider)
    words = set(response_type.split())

    fields = answered(app, person, response_type=response_type)

    assert set(fields) == RESPONSE | words - {"token"} | (TOKEN if "token" in words else set())
    if "id_token" in words:
        claims = identity(app, fields["id_token"])
        assert claims["nonce"] == app.nonce
        assert claims.get("at_hash") == (half(fields["access_token"]) if "token" in words else None)
        assert claims.get("c_hash") == (half(fields["code"]) if "code" in words else None)
        assert len(str(claims["sid"])) >= 16
    if "token" in words:
        assert fields["token_type"] == "Bearer"
        access = app.verified(fields["access_token"], audience=provider.issuer, typ="at+jwt")
        assert int(fields["expires_in"]) == int(str(access["exp"])) - int(str(access["iat"]))
        assert app.userinfo(fields["access_token"]).json()["preferred_username"] == "alice"


@pytest.mark.parametrize("response_type", [each for each in FRONT_CHANNEL if "code" in each])
def test_the_code_of_a_hybrid_response_gives_tokens_of_the_same_person_and_session(
    provider: RunningProvider, person: Person, response_type: str
) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type=response_type)
    tokens = app.redeem(fields["code"]).json()
    later = identity(app, tokens["id_token"])
    assert "c_hash" not in later
    assert later["nonce"] == app.nonce
    assert app.refresh(tokens["refresh_token"]).status_code == 200
    if "id_token" in fields:
        first = identity(app, fields["id_token"])
        assert {name: first[name] for name in ("iss", "sub", "sid", "auth_time")} == {
            name: later[name] for name in ("iss", "sub", "sid", "auth_time")
        }


def test_the_order_of_the_words_does_not_matter(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(
        provider, response_types=["token id_token code"], grant_types=["authorization_code", "implicit"]
    )
    assert {"code", "id_token", "access_token"} <= set(answered(app, person, response_type="id_token token code"))


def test_without_an_access_token_the_id_token_says_what_the_scopes_ask_for(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    alone = identity(app, answered(app, person, response_type="id_token", scope="openid email")["id_token"])
    beside = identity(app, answered(app, person, response_type="id_token token", scope="openid email")["id_token"])
    assert alone["email"] == "alice@example.org"
    assert "email" not in beside


@pytest.mark.parametrize("response_type", ["code", "code id_token", "id_token token"])
def test_form_post_sends_the_answer_by_a_form_to_the_apps_origin_alone(
    provider: RunningProvider, person: Person, response_type: str
) -> None:
    app = everything(provider)
    page = person.open(app.authorization_url(response_type=response_type, response_mode="form_post"))
    page = person.sign_in(page, "alice", PASSWORD)
    assert page.main == "form-post-page"
    assert page.forms[0].action == app.redirect_uri
    assert {"state", "iss", *response_type.replace("id_token token", "id_token").split()} <= set(page.forms[0].fields)
    policy = page.response.headers["Content-Security-Policy"]
    assert "form-action" not in policy, "browsers would hold to it what the app redirects to"
    assert page.response.headers["Cache-Control"] == "no-store"
    assert page.response.headers["Referrer-Policy"] == "no-referrer"


def test_a_code_may_come_in_the_fragment(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_mode="fragment")
    assert app.redeem(fields["code"]).status_code == 200


@pytest.mark.parametrize("response_type", FRONT_CHANNEL)
def test_tokens_are_never_sent_by_query(provider: RunningProvider, person: Person, response_type: str) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type=response_type, response_mode="query")
    assert fields["error"] == "invalid_request"
    assert "fragment or form_post" in fields["error_description"]


@pytest.mark.parametrize("response_type", FRONT_CHANNEL)
def test_a_nonce_is_demanded_where_an_id_token_comes_through_the_browser(
    provider: RunningProvider, person: Person, response_type: str
) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type=response_type, nonce="")
    assert fields.get("error") == ("invalid_request" if "id_token" in response_type else None)
    assert "nonce" in fields.get("error_description", "nonce")


def test_an_id_token_is_not_given_without_openid(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    assert answered(app, person, response_type="id_token", scope="profile")["error"] == "invalid_scope"
    assert "code" in answered(app, person, response_type="code token", scope="profile")


def test_a_type_that_the_client_did_not_register_is_refused_in_the_fragment(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider, response_types=["code id_token"], grant_types=["authorization_code", "implicit"])
    fields = answered(app, person, response_type="id_token token")
    assert fields["error"] == "unauthorized_client"
    assert "code id_token" in fields["error_description"]
    assert person.open(app.authorization_url()).query["error"] == "unauthorized_client"
    assert answered(app, person, response_type="token")["error"] == "unsupported_response_type"


def test_a_silent_request_is_answered_in_the_fragment_either_way(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    assert answered(app, person, response_type="id_token", prompt="none")["error"] == "login_required"
    first = answered(app, person, response_type="id_token")["id_token"]
    again = answered(app, person, response_type="id_token", prompt="none", id_token_hint=first)["id_token"]
    assert identity(app, first)["auth_time"] == identity(app, again)["auth_time"]


def test_a_person_is_asked_for_consent_before_anything_is_issued(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url(response_type="id_token token")), "alice", PASSWORD)
    assert page.main == "consent-page"
    assert "form-action 'self';" in page.response.headers["Content-Security-Policy"]
    assert "access_token" in arrived(app, person.submit(page, "consent-allow"))
    page = person.open(app.authorization_url(response_type="id_token token", prompt="consent"))
    assert arrived(app, person.submit(page, "consent-deny"))["error"] == "access_denied"


# -- what ends them ---------------------------------------------------------------------------------------------------


def sign_out(provider: RunningProvider, person: Person) -> None:
    page = person.open("logout")
    assert person.submit(page, "logout-confirm").main == "logout-done"


@pytest.mark.parametrize("response_type", [each for each in FRONT_CHANNEL if "token" in each.split()])
@pytest.mark.parametrize("scope", ["openid", "openid offline_access"])
def test_the_end_of_the_session_ends_an_access_token_from_here_offline_or_not(
    provider: RunningProvider, person: Person, response_type: str, scope: str
) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type=response_type, scope=scope)
    assert app.userinfo(fields["access_token"]).status_code == 200
    assert "offline_access" not in fields["scope"]

    sign_out(provider, person)

    assert app.userinfo(fields["access_token"]).status_code == 401
    assert app.introspect(fields["access_token"]) == {"active": False}


def test_what_was_allowed_offline_comes_by_the_code_and_outlives_the_session(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type="code token", scope="openid offline_access")
    tokens = app.redeem(fields["code"]).json()
    sign_out(provider, person)
    assert app.userinfo(fields["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_a_code_that_comes_twice_ends_what_came_with_it_and_what_it_gave(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type="code id_token token")
    tokens = app.redeem(fields["code"]).json()
    assert app.userinfo(fields["access_token"]).status_code == app.userinfo(tokens["access_token"]).status_code == 200

    assert app.redeem(fields["code"]).json()["error"] == "invalid_grant"

    assert app.userinfo(fields["access_token"]).status_code == app.userinfo(tokens["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_code_that_another_client_tries_ends_nothing(provider: RunningProvider, person: Person) -> None:
    app, other = everything(provider), everything(provider)
    fields = answered(app, person, response_type="code token")
    assert app.redeem(fields["code"]).status_code == 200
    assert other.redeem(fields["code"], redirect_uri=app.redirect_uri).json()["error"] == "invalid_grant"
    assert app.userinfo(fields["access_token"]).status_code == 200


def test_a_client_that_is_removed_takes_its_tokens_along(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    fields = answered(app, person, response_type="id_token token")
    with provider.services.database.writing() as tx:
        provider.services.logout.end_client(tx, app.client_id)
    assert app.userinfo(fields["access_token"]).status_code == 401


def test_withdrawn_access_ends_them(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, first_party=False)
    page = person.sign_in(person.open(app.authorization_url(response_type="id_token token")), "alice", PASSWORD)
    fields = arrived(app, person.submit(page, "consent-allow"))
    page = person.open("account/apps")
    person.submit(page, client_id=app.client_id)
    assert app.userinfo(fields["access_token"]).status_code == 401


@pytest.mark.parametrize("response_type", FRONT_CHANNEL)
def test_an_app_that_got_tokens_here_hears_of_the_sessions_end(
    provider: RunningProvider, person: Person, receiver: Receiver, response_type: str
) -> None:
    app = everything(provider, receiver=receiver, backchannel_logout_uri=receiver.uri)
    fields = answered(app, person, response_type=response_type)
    sign_out(provider, person)
    told = app.logout_claims(receiver.wait()[0])
    if "id_token" in fields:
        assert told["sid"] == identity(app, fields["id_token"])["sid"]


def test_an_id_token_from_here_is_a_hint_that_signs_its_session_out(provider: RunningProvider, person: Person) -> None:
    app = everything(provider)
    hint = answered(app, person, response_type="id_token")["id_token"]
    bye = str(app.registration["post_logout_redirect_uris"][0])  # type: ignore[index]
    page = person.open(str(httpx.URL("logout", params={"id_token_hint": hint, "post_logout_redirect_uri": bye})))
    assert page.url == bye
    assert answered(app, person, response_type="id_token", prompt="none")["error"] == "login_required"


# -- clients that ask for more ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_type", ["id_token", "code id_token token"])
def test_an_id_token_that_only_the_client_may_read_is_never_sent_in_the_open(
    provider: RunningProvider, person: Person, response_type: str
) -> None:
    pair = KeyPair.make("RSA-OAEP-256")
    app = everything(provider, id_token_encrypted_response_alg="RSA-OAEP-256", jwks=pair.jwks)
    fields = answered(app, person, response_type=response_type)
    header, inner = pair.opened(fields["id_token"])
    assert header["cty"] == "JWT"
    assert identity(app, inner)["nonce"] == app.nonce


def test_without_a_key_that_fits_nothing_is_sent_instead(provider: RunningProvider, person: Person) -> None:
    app = everything(provider, id_token_encrypted_response_alg="RSA-OAEP-256", jwks=KeyPair.make("ECDH-ES").jwks)
    fields = answered(app, person, response_type="id_token token")
    assert fields["error"] == "unauthorized_client"
    assert "id_token_encrypted_response_alg" in fields["error_description"]
    assert not {"id_token", "access_token"} & set(fields)


def test_a_sector_knows_people_and_sessions_by_names_of_its_own(
    provider: RunningProvider, person: Person, receiver: Receiver
) -> None:
    usual = everything(provider)
    paired = everything(provider, subject_type="pairwise", receiver=receiver, backchannel_logout_uri=receiver.uri)
    public = identity(usual, answered(usual, person, response_type="id_token")["id_token"])
    hint = answered(paired, person, response_type="id_token token")
    told = identity(paired, hint["id_token"])
    assert not {public["sub"], public["sid"]} & {told["sub"], told["sid"]}
    assert paired.userinfo(hint["access_token"]).json()["sub"] == told["sub"]
    again = answered(paired, person, response_type="id_token", prompt="none", id_token_hint=hint["id_token"])
    assert identity(paired, again["id_token"])["sub"] == told["sub"]
    sign_out(provider, person)
    assert paired.logout_claims(receiver.wait()[0])["sid"] == told["sid"]
