"""Pairwise subjects (OIDC Core §8.1), and sessions that have a name of their own in each sector."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from idp.runtime.database import table_of
from idp.sessions.models import SessionClientRow
from idp.tokens.models import PairwiseSubjectRow
from tests.support.browsing import Person
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider


def pairwise(provider: RunningProvider, **metadata: object) -> RelyingParty:
    return RelyingParty.register(provider, subject_type="pairwise", **metadata)


def identity(app: RelyingParty, tokens) -> dict[str, object]:
    return app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")


def test_apps_of_two_sectors_know_one_person_and_one_session_by_different_names(
    provider: RunningProvider, person: Person
) -> None:
    apps = [pairwise(provider), pairwise(provider), RelyingParty.register(provider)]
    known = [identity(app, app.sign_in(person)) for app in apps]
    assert len({claims["sub"] for claims in known}) == 3
    assert len({claims["sid"] for claims in known}) == 3


def test_apps_of_one_sector_know_them_by_the_same(provider: RunningProvider, person: Person) -> None:
    one = pairwise(provider)
    two = pairwise(provider, redirect_uris=[one.redirect_uri + "/other"])
    first, second = identity(one, one.sign_in(person)), identity(two, two.sign_in(person))
    assert (first["sub"], first["sid"]) == (second["sub"], second["sid"])


def test_the_name_of_a_person_is_the_same_at_the_next_sign_in_and_the_name_of_the_session_is_not(
    provider: RunningProvider, person: Person
) -> None:
    app, elsewhere = pairwise(provider), Person(provider.issuer)
    here, there = identity(app, app.sign_in(person)), identity(app, app.sign_in(elsewhere))
    assert here["sub"] == there["sub"]
    assert here["sid"] != there["sid"]
    bob = Person(provider.issuer)
    assert identity(app, app.sign_in(bob, "bob"))["sub"] != here["sub"]
    for each in (elsewhere, bob):
        each.http.close()


def test_every_answer_to_the_app_says_the_same_two_names(provider: RunningProvider, person: Person) -> None:
    app = pairwise(provider)
    tokens = app.sign_in(person)
    told = identity(app, tokens)
    names = {"sub": told["sub"], "sid": told["sid"]}

    def of(claims) -> dict[str, object]:
        return {name: claims[name] for name in names}

    assert of(app.verified(tokens["access_token"], audience=provider.issuer, typ="at+jwt")) == names
    assert app.userinfo(tokens["access_token"]).json()["sub"] == told["sub"]
    assert of(app.introspect(tokens["access_token"])) == names
    assert of(app.introspect(tokens["refresh_token"])) == names
    again = app.refresh(tokens["refresh_token"]).json()
    assert of(identity(app, again)) == names
    assert of(app.verified(again["access_token"], audience=provider.issuer, typ="at+jwt")) == names
    code = app.code_from(person.open(app.authorization_url(prompt="none")))
    assert of(identity(app, app.redeem(code).json())) == names


def test_the_logout_token_names_what_the_id_token_named(provider: RunningProvider, person: Person) -> None:
    receivers = [Receiver(), Receiver()]
    secluded = pairwise(provider, receiver=receivers[0], backchannel_logout_include_sub=True)
    open_ = RelyingParty.register(provider, receiver=receivers[1], backchannel_logout_include_sub=True)
    told = [identity(app, app.sign_in(person)) for app in (secluded, open_)]
    person.submit(person.open("logout"), "logout-confirm")
    for app, claims, receiver in zip((secluded, open_), told, receivers, strict=True):
        token = app.logout_claims(receiver.wait()[0])
        assert (token["sid"], token["sub"]) == (claims["sid"], claims["sub"])
        receiver.close()


def test_a_hint_with_the_sectors_sid_signs_out_at_once(provider: RunningProvider, person: Person) -> None:
    app = pairwise(provider)
    hint = app.sign_in(person)["id_token"]
    bye = str(app.registration["post_logout_redirect_uris"][0])  # type: ignore[index]
    assert person.open(f"logout?id_token_hint={hint}&post_logout_redirect_uri={bye}").url == bye


def test_a_hint_from_another_session_is_recognised_as_such(provider: RunningProvider, person: Person) -> None:
    app, elsewhere = pairwise(provider), Person(provider.issuer)
    other = app.sign_in(elsewhere)["id_token"]
    app.sign_in(person)
    assert person.open(f"logout?id_token_hint={other}").main == "logout-page"
    elsewhere.http.close()


def test_a_hint_names_the_person_who_must_answer_the_request(provider: RunningProvider, person: Person) -> None:
    app, bob = pairwise(provider), Person(provider.issuer)
    hint = app.sign_in(person)["id_token"]
    app.sign_in(bob, "bob")
    assert "code" in person.open(app.authorization_url(prompt="none", id_token_hint=hint)).query
    assert bob.open(app.authorization_url(prompt="none", id_token_hint=hint)).query["error"] == "login_required"
    bob.http.close()


def test_a_refresh_after_the_end_of_the_session_is_refused(provider: RunningProvider, person: Person) -> None:
    app = pairwise(provider)
    tokens = app.sign_in(person)
    person.submit(person.open("logout"), "logout-confirm")
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert app.userinfo(tokens["access_token"]).status_code == 401
    assert app.introspect(tokens["access_token"]) == {"active": False}


def test_an_operator_sees_one_session_whatever_it_is_called_elsewhere(provider: RunningProvider, person: Person) -> None:
    app = pairwise(provider)
    told = identity(app, app.sign_in(person))
    services = provider.services
    with services.database.reading() as tx:
        table = table_of(SessionClientRow)
        sid = str(tx.execute(table.select().where(table.c.sector_sid == told["sid"])).one().sid)
    assert sid != told["sid"]
    shown = provider.json("session", "show", sid)
    assert shown["clients"] == [app.client_id]


def test_a_sector_is_the_host_of_its_identifier_or_of_the_redirect_uris(provider: RunningProvider, person: Person) -> None:
    app = pairwise(provider)
    sub = identity(app, app.sign_in(person))["sub"]
    table = table_of(PairwiseSubjectRow)
    with provider.services.database.reading() as tx:
        assert tx.execute(table.select().where(table.c.sub == sub)).one().sector == urlsplit(app.redirect_uri).hostname


@pytest.fixture
def with_frames(tmp_path_factory: pytest.TempPathFactory):
    """A provider that loads pages of apps in frames, and lets apps ask whether the session changed."""
    settings = {"LOGOUT_FRONTCHANNEL": "true", "SESSIONS_MANAGEMENT": "true"}
    running = RunningProvider(tmp_path_factory.mktemp("frames"), settings=settings).start()
    running.add_user()
    yield running
    running.close()


def test_a_frame_and_a_session_state_name_nothing_that_another_sector_knows(with_frames: RunningProvider) -> None:
    person = Person(with_frames.issuer)
    app = pairwise(with_frames)
    metadata = {"redirect_uris": [app.redirect_uri], "frontchannel_logout_uri": app.redirect_uri + "/out"}
    app = pairwise(with_frames, **metadata)
    other = RelyingParty.register(with_frames)
    told, elsewhere = identity(app, app.sign_in(person)), identity(other, other.sign_in(person))
    states = [person.open(each.authorization_url(prompt="none")).query["session_state"] for each in (app, other, app)]
    assert len(set(states)) == 3
    assert not any(str(name) in state for state in states for name in (told["sid"], elsewhere["sid"]))
    page = person.submit(person.open("logout"), "logout-confirm")
    (frame,) = re.findall(r'<iframe[^>]* src="([^"]+)"', page.response.text)
    assert parse_qs(urlsplit(frame.replace("&amp;", "&")).query)["sid"] == [told["sid"]]
    assert str(elsewhere["sid"]) not in page.response.text
    person.http.close()
