"""Signing out: who is asked, who is sent where, and who hears of it (RP-Initiated and Back-Channel Logout 1.0)."""

import re
import time
from pathlib import Path
from urllib.parse import urlencode

import jwt

from tests.conformance import forward
from tests.support.browsing import Page, Person
from tests.support.relying_party import Receiver, RelyingParty
from tests.support.serving import RunningProvider


def logout(person: Person, **parameters: str) -> Page:
    return person.open(f"logout?{urlencode(parameters)}")


def bye(app: RelyingParty) -> str:
    return str(app.registration["post_logout_redirect_uris"][0])  # type: ignore[index]


def is_signed_in(app: RelyingParty, person: Person) -> bool:
    return "code" in person.open(app.authorization_url(prompt="none")).query


def test_a_hint_of_this_very_session_signs_out_at_once_and_returns_the_state(
    provider: RunningProvider, person: Person, receiver: Receiver
) -> None:
    app = RelyingParty.register(provider, receiver=receiver)
    tokens = app.sign_in(person)
    sid = app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["sid"]
    state = "s" * 128

    page = logout(person, id_token_hint=tokens["id_token"], post_logout_redirect_uri=bye(app), state=state)

    assert page.url == f"{bye(app)}?state={state}"
    assert not is_signed_in(app, person)
    claims = app.logout_claims(receiver.wait()[0])
    assert claims["sid"] == sid
    assert "sub" not in claims
    assert receiver.paths == ["/backchannel?logout=backchannel"]
    assert list(receiver.bodies[0]) == ["logout_token"]
    assert app.userinfo(tokens["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_an_expired_hint_of_this_very_session_signs_out_at_once_too(tmp_path: Path) -> None:
    """RP-Initiated Logout 1.0 §4: a hint is not presented to prove anything, and outlives its `exp`."""
    later = RunningProvider(tmp_path, program="tests.conformance.forward")
    later.start().add_user()
    app, person = RelyingParty.register(later), Person(later.issuer)
    hint = app.sign_in(person)["id_token"]
    (later.data_dir / forward.FILE).write_text("3600")
    lifetime = jwt.decode(hint, options={"verify_signature": False})
    assert lifetime["exp"] - lifetime["iat"] < 3600
    page = logout(person, id_token_hint=hint, post_logout_redirect_uri=bye(app), state="x", logout_hint="alice")
    assert page.url == f"{bye(app)}?state=x"
    assert not is_signed_in(app, person)
    later.close()


def test_every_app_of_the_session_hears_of_it_and_no_other(provider: RunningProvider, person: Person) -> None:
    receivers = [Receiver() for _ in range(3)]
    first, second, stranger = (RelyingParty.register(provider, receiver=each) for each in receivers)
    tokens = first.sign_in(person)
    second.sign_in(person)
    elsewhere = Person(provider.issuer)
    untouched = stranger.sign_in(elsewhere, username="bob")

    logout(person, id_token_hint=tokens["id_token"])

    first.logout_claims(receivers[0].wait()[0])
    second.logout_claims(receivers[1].wait()[0])
    assert receivers[2].bodies == []
    assert stranger.userinfo(untouched["access_token"]).status_code == 200
    for each in receivers:
        each.close()


def test_without_a_hint_the_person_is_asked_first(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)

    page = logout(person)
    assert page.main == "logout-page"
    assert person.submit(page, "logout-cancel").main == "logout-cancelled"
    assert is_signed_in(app, person)
    assert person.submit(page, "logout-confirm").main == "logout-done"
    assert not is_signed_in(app, person)


def test_a_link_from_a_third_party_signs_nobody_out(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    mallory = Person(provider.issuer)
    foreign = app.sign_in(mallory, username="bob")["id_token"]

    assert logout(person, id_token_hint=foreign).main == "logout-page"
    assert is_signed_in(app, person)
    assert is_signed_in(app, mallory)


def test_a_confirmation_needs_its_csrf_token(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    forged = person.http.post(f"{provider.issuer}/logout", data={"decision": "confirm"})
    assert forged.status_code == 400
    assert is_signed_in(app, person)


def test_a_bare_post_logout_redirect_uri_ends_the_session_and_goes_nowhere(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    page = person.submit(logout(person, post_logout_redirect_uri=bye(app)), "logout-confirm")
    assert page.main == "logout-done"
    assert not is_signed_in(app, person)


def test_client_id_and_a_registered_uri_redirect_after_the_confirmation(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    page = logout(person, client_id=app.client_id, post_logout_redirect_uri=bye(app), state="xyz")
    assert person.submit(page, "logout-confirm").url == f"{bye(app)}?state=xyz"


def test_an_unregistered_uri_or_a_bad_hint_never_redirects(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    hint = app.sign_in(person)["id_token"]
    for uri in (bye(app) + "/", bye(app) + "?x=1", "https://evil.example/", "//evil.example", "/\\evil.example"):
        other = Person(provider.issuer)
        fresh = app.sign_in(other)["id_token"]
        page = logout(other, id_token_hint=fresh, post_logout_redirect_uri=uri, state="x")
        assert page.main == "logout-page"
        assert "not registered" in page.texts["logout-refused"]
        assert is_signed_in(app, other), "the exam asks for an error or a confirmation"
        assert page.texts["address-came"] == uri.encode("unicode_escape").decode()
        assert page.texts["addresses-registered"].strip() == bye(app)
        page = other.submit(page, "logout-confirm")
        assert page.main == "logout-done"
        assert not is_signed_in(app, other)
        assert page.response.headers.get("Refresh") is None
        event = next(event for event in reversed(provider.events("logout.redirect_refused")))
        assert event["client_id"] == app.client_id
        assert event["post_logout_redirect_uri"] == uri.encode("unicode_escape").decode()
        assert event["registered"] == bye(app)
    for bad in (hint[:-8] + "AAAAAAAA", "garbage", app.sign_in(person)["access_token"]):
        page = logout(person, id_token_hint=bad, post_logout_redirect_uri=bye(app), client_id=app.client_id)
        assert page.main == "logout-page"
        assert person.submit(page, "logout-cancel").main == "logout-cancelled"
    assert is_signed_in(app, person)


def test_a_relying_party_may_post_its_logout_request(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    hint = app.sign_in(person)["id_token"]
    form = {"id_token_hint": hint, "post_logout_redirect_uri": bye(app), "state": "abc"}
    page = person._follow(person.http.post(f"{provider.issuer}/logout", data=form))
    assert page.url == f"{bye(app)}?state=abc"
    assert not is_signed_in(app, person)


def test_who_is_signed_out_already_is_simply_sent_on(provider: RunningProvider, person: Person) -> None:
    app = RelyingParty.register(provider)
    hint = app.sign_in(person)["id_token"]
    logout(person, id_token_hint=hint)
    assert logout(person, id_token_hint=hint, post_logout_redirect_uri=bye(app)).url == bye(app)
    assert logout(person).main == "logout-done"


def test_sub_stands_beside_the_sid_for_a_client_that_wants_it(
    provider: RunningProvider, person: Person, receiver: Receiver
) -> None:
    app = RelyingParty.register(provider, receiver=receiver, backchannel_logout_include_sub=True)
    tokens = app.sign_in(person)
    logout(person, id_token_hint=tokens["id_token"])
    claims = app.logout_claims(receiver.wait()[0])
    assert claims["sub"] == app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["sub"]


def test_a_transient_failure_is_tried_again_with_the_same_jti_and_a_refusal_is_final(
    provider: RunningProvider, person: Person
) -> None:
    shaky = Receiver(lambda count: 503 if count < 3 else 204)
    deaf = Receiver(lambda _count: 400)
    one, two = RelyingParty.register(provider, receiver=shaky), RelyingParty.register(provider, receiver=deaf)
    hint = one.sign_in(person)["id_token"]
    two.sign_in(person)

    logout(person, id_token_hint=hint)

    attempts = [one.logout_claims(token) for token in shaky.wait(3)]
    assert len({claims["jti"] for claims in attempts}) == 1
    deaf.wait(1)
    shown = provider.json("delivery", "list")
    mine = {row["client_id"]: row for row in shown}
    assert mine[two.client_id]["state"] == "dead"
    assert len(deaf.bodies) == 1
    for each in (shaky, deaf):
        each.close()


def test_an_operator_ends_a_session_by_its_sid(provider: RunningProvider, person: Person, receiver: Receiver) -> None:
    app = RelyingParty.register(provider, receiver=receiver)
    sid = str(app.verified(app.sign_in(person)["id_token"], audience=app.client_id, typ="JWT")["sid"])
    assert sid in [row["sid"] for row in provider.json("session", "list", "--user", "alice")]
    provider.cli("session", "end", sid)
    assert app.logout_claims(receiver.wait()[0])["sid"] == sid
    assert provider.json("session", "show", sid)["state"] == "ended"
    provider.cli("session", "end", sid, code=1)
    assert not is_signed_in(app, person)


def test_the_page_tells_which_apps_were_told_and_only_to_this_browser(provider: RunningProvider, person: Person) -> None:
    """Told, waiting and not reachable, each as it is, and again while one is waited for."""
    receivers = [Receiver(), Receiver(lambda _count: 400), Receiver(lambda _count: 503)]
    names = ("That hears", "That refuses", "That is down", "That cannot hear")
    apps = [
        RelyingParty.register(provider, receiver=each, client_name=name) for each, name in zip(receivers, names, strict=False)
    ]
    apps.append(RelyingParty.register(provider, client_name=names[-1]))
    for app in apps:
        app.sign_in(person)
    page = person.submit(person.open("logout"), "logout-confirm")
    until = time.monotonic() + 10
    while page.response.text.count('data-state="waiting"') > 1:
        assert time.monotonic() < until
        page = person.open("logout/done")
    shown = re.findall(r'data-state="([a-z]+)"><bdi class="name">([^<]+)<', page.response.text)
    assert [state for state, _ in shown] == ["told", "unreachable", "waiting", "untold"]
    assert [name for _, name in shown] == list(names)
    assert page.response.headers["Refresh"] == "1"
    assert page.response.headers["Cache-Control"] == "no-store"
    assert "sid" not in page.url
    stranger = Person(provider.issuer)
    assert "That hears" not in stranger.open("logout/done").response.text
    stranger.http.close()
    for each in receivers:
        each.close()


def test_an_address_that_is_refused_is_shown_to_developers_whoever_asks(provider: RunningProvider, person: Person) -> None:
    """Without a client there is nothing to show but what came; what is registered is the named client's alone."""
    app = RelyingParty.register(provider)
    nasty = 'https://evil.example/"><script>alert(1)</script>\u202e\u0430'
    for extra in ({}, {"client_id": app.client_id}, {"id_token_hint": "garbage", "client_id": app.client_id}):
        for signed_in in (False, True):
            other = Person(provider.issuer)
            if signed_in:
                app.sign_in(other)
            page = logout(other, post_logout_redirect_uri=nasty, **extra)
            assert page.main == ("logout-page" if signed_in else "logout-done")
            assert "logout-refused" in page.texts
            assert "<script>" not in page.response.text
            assert page.texts["address-came"].endswith("\\u202e\\u0430")
            assert (bye(app) in page.texts["addresses-registered"]) == ("client_id" in extra)
            other.http.close()


def test_an_address_that_is_registered_is_refused_without_a_client_or_with_a_bad_hint(
    provider: RunningProvider, person: Person
) -> None:
    app = RelyingParty.register(provider)
    app.sign_in(person)
    page = logout(person, post_logout_redirect_uri=bye(app))
    assert "logout-refused" in page.texts
    page = logout(person, post_logout_redirect_uri=bye(app), id_token_hint="garbage", client_id=app.client_id)
    assert "logout-refused" in page.texts
    page = logout(person, post_logout_redirect_uri=bye(app), client_id=app.client_id)
    assert page.main == "logout-page"
    assert "logout-refused" not in page.texts
