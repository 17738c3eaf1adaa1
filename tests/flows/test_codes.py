"""Authorization codes: once, for one client, one redirect URI and one proof (RFC 6749 §4.1, RFC 7636, RFC 9700 §4.5)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

MANY = 20


def code(app: RelyingParty, person: Person, **extra: str) -> str:
    page = person.open(app.authorization_url(**extra))
    if page.main == "login-page":
        page = person.sign_in(page, "alice", "correct horse battery staple")
    return app.code_from(page)


def test_a_code_used_twice_ends_what_the_first_use_gave(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    once = code(app, person)
    tokens = app.redeem(once).json()
    assert app.userinfo(tokens["access_token"]).status_code == 200

    again = app.redeem(once)

    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert app.userinfo(tokens["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_of_twenty_redemptions_at_once_one_wins_and_its_tokens_are_ended(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    contested = code(app, person)

    with ThreadPoolExecutor(MANY) as pool:
        answers = list(pool.map(lambda _: app.redeem(contested), range(MANY)))

    winners = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(winners) == 1
    assert {answer.json()["error"] for answer in answers if answer.status_code != 200} == {"invalid_grant"}
    assert app.introspect(winners[0]["access_token"]) == {"active": False}
    assert app.refresh(winners[0]["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_code_of_another_client_is_refused_and_not_spoiled(provider: RunningProvider, person: Person) -> None:
    app, thief = RelyingParty.register(provider), RelyingParty.register(provider)
    contested = code(app, person)
    thief.verifier = app.verifier
    assert thief.redeem(contested, redirect_uri=app.redirect_uri).json()["error"] == "invalid_grant"
    tokens = app.redeem(contested)
    assert tokens.status_code == 200
    assert thief.redeem(contested, redirect_uri=app.redirect_uri).json()["error"] == "invalid_grant"
    assert app.userinfo(tokens.json()["access_token"]).status_code == 200


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"redirect_uri": "https://elsewhere.example/callback"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
    ],
)
def test_a_wrong_redemption_is_refused_and_the_right_one_still_works(
    provider: RunningProvider, person: Person, fields: dict[str, str], error: str
) -> None:
    app = RelyingParty.register(provider)
    good = code(app, person)
    assert app.redeem(good, **fields).json()["error"] == error
    assert app.redeem(good).status_code == 200


def test_a_verifier_without_a_challenge_is_a_downgrade(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    unproved = code(app, person, code_challenge="", code_challenge_method="")
    assert app.redeem(unproved).json()["error"] == "invalid_grant"
    assert app.redeem(unproved, code_verifier="").status_code == 200


def test_a_code_is_worthless_once_its_session_has_ended(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    sid = app.verified(app.sign_in(person)["id_token"], audience=app.client_id, typ="JWT")["sid"]
    in_flight = code(app, person)
    provider.cli("session", "end", str(sid))
    assert app.redeem(in_flight).json()["error"] == "invalid_grant"
