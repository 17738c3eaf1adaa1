"""Refreshing: rotation, reuse, lost answers, and what outlives the session (RFC 6749 §6, RFC 9700 §4.14)."""

from concurrent.futures import ThreadPoolExecutor

from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

MANY = 20


def test_a_refresh_rotates_and_tells_the_same_sid(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    first = app.sign_in(person)
    second = app.refresh(first["refresh_token"]).json()

    before = app.verified(first["id_token"], audience=app.client_id, typ="JWT")
    after = app.verified(second["id_token"], audience=app.client_id, typ="JWT")
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert {name: after[name] for name in ("sid", "sub", "auth_time", "iss", "aud")} == {
        name: before[name] for name in ("sid", "sub", "auth_time", "iss", "aud")
    }
    assert "nonce" not in after


def test_a_client_whose_answer_was_lost_gets_the_same_successor(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    parent = app.sign_in(person)["refresh_token"]
    lost, again = app.refresh(parent).json(), app.refresh(parent).json()
    assert lost["refresh_token"] == again["refresh_token"]
    assert app.refresh(again["refresh_token"]).status_code == 200


def test_a_second_use_of_a_refresh_token_ends_its_family_and_only_that(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    stolen, other = app.sign_in(person), app.sign_in(person)
    second = app.refresh(stolen["refresh_token"]).json()
    third = app.refresh(second["refresh_token"]).json()

    reuse = app.refresh(stolen["refresh_token"])

    assert reuse.status_code == 400
    assert reuse.json()["error"] == "invalid_grant"
    assert app.refresh(third["refresh_token"]).json()["error"] == "invalid_grant"
    assert app.userinfo(third["access_token"]).status_code == 401
    assert app.introspect(third["access_token"]) == {"active": False}
    assert app.refresh(other["refresh_token"]).status_code == 200
    assert app.userinfo(other["access_token"]).status_code == 200


def test_twenty_refreshes_at_once_make_one_successor(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    parent = app.sign_in(person)["refresh_token"]

    with ThreadPoolExecutor(MANY) as pool:
        answers = list(pool.map(lambda _: app.refresh(parent), range(MANY)))

    assert {answer.status_code for answer in answers} == {200}
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert app.refresh(successors.pop()).status_code == 200


def test_scope_may_shrink_at_refresh_and_never_grow(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    token = app.sign_in(person, scope="openid email")["refresh_token"]
    wide = app.refresh(token, scope="openid email profile")
    assert wide.json()["error"] == "invalid_scope"
    narrow = app.refresh(token, scope="openid")  # the refusal spent nothing
    assert narrow.json()["scope"] == "openid"
    assert app.refresh(narrow.json()["refresh_token"]).json()["scope"] == "openid email"


def test_a_refresh_token_of_another_client_is_refused_and_stays_good(provider: RunningProvider, person: Person) -> None:
    app, thief = RelyingParty.register(provider), RelyingParty.register(provider)
    token = app.sign_in(person)["refresh_token"]
    assert thief.refresh(token).json()["error"] == "invalid_grant"
    assert app.refresh(token).status_code == 200


def test_a_session_bound_family_ends_with_the_session_and_an_offline_one_does_not(
    provider: RunningProvider, person: Person
) -> None:
    app = RelyingParty.register(provider)
    bound, offline = app.sign_in(person), app.sign_in(person, scope="openid offline_access")
    assert "sid" not in app.verified(offline["access_token"], audience=provider.issuer, typ="at+jwt")
    sid = app.verified(bound["id_token"], audience=app.client_id, typ="JWT")["sid"]

    provider.cli("session", "end", str(sid))

    assert app.refresh(bound["refresh_token"]).json()["error"] == "invalid_grant"
    assert app.userinfo(bound["access_token"]).status_code == 401
    assert app.refresh(offline["refresh_token"]).status_code == 200
    assert app.userinfo(offline["access_token"]).status_code == 200


def test_revoking_an_access_token_ends_it_alone_and_a_refresh_token_its_family(
    provider: RunningProvider, person: Person
) -> None:
    app = RelyingParty.register(provider)
    tokens = app.sign_in(person)
    answer = app.revoke(tokens["access_token"])
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert app.introspect(tokens["access_token"]) == {"active": False}
    successor = app.refresh(tokens["refresh_token"]).json()
    assert app.introspect(successor["access_token"])["active"] is True

    app.revoke(successor["refresh_token"])

    assert app.introspect(successor["access_token"]) == {"active": False}
    assert app.introspect(successor["refresh_token"]) == {"active": False}
    assert app.refresh(successor["refresh_token"]).json()["error"] == "invalid_grant"


def test_revoking_another_clients_token_does_nothing_and_says_nothing(provider: RunningProvider, person: Person) -> None:
    app, stranger = RelyingParty.register(provider), RelyingParty.register(provider)
    tokens = app.sign_in(person)
    for token in (tokens["access_token"], tokens["refresh_token"], "garbage"):
        assert stranger.revoke(token).status_code == 200
        assert stranger.introspect(token) == {"active": False}
    assert app.userinfo(tokens["access_token"]).status_code == 200
    assert app.refresh(tokens["refresh_token"]).status_code == 200
