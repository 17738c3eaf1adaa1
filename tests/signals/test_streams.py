"""Streams over real HTTP (SSF 1.0 §8.1)."""

import threading
import time
from typing import Any

import pytest

from idp.protocol import events
from idp.signals import rules, stream_store
from tests.signals.conftest import Follow, end_streams
from tests.signals.follower import Follower, only_event, receiver_of
from tests.signals.test_polling import end, signed_in
from tests.support import http
from tests.support.browsing import Person
from tests.support.pace import slowness
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PUSH = "urn:ietf:rfc:8935"


def test_the_transmitter_says_what_it_can_do_and_it_is_so(provider: RunningProvider, follow: Follow) -> None:
    found = http.get(f"{provider.issuer}/.well-known/ssf-configuration")
    assert found.headers["Content-Type"] == "application/json"
    document = found.json()
    assert document["spec_version"] == "1_0"
    assert document["issuer"] == provider.issuer
    assert document["default_subjects"] == "ALL"
    assert http.get(document["jwks_uri"]).status_code == 200
    follower = follow()
    for name in ("configuration", "status"):
        headers = {"Authorization": f"Bearer {follower.token}"}
        query = {"stream_id": follower.stream_id}
        assert http.get(document[f"{name}_endpoint"], headers=headers, params=query).status_code == 200
    for name in ("add_subject", "remove_subject", "verification"):
        assert http.post(document[f"{name}_endpoint"], json={}).status_code == 401 or name


def test_a_stream_is_made_read_changed_and_deleted(provider: RunningProvider, follow: Follow) -> None:
    follower = follow(events_requested=[events.SESSION_REVOKED, "urn:example:unknown"], description="A test")
    stream = follower.stream
    assert stream["iss"] == provider.issuer
    assert stream["aud"] == follower.app.client_id
    assert stream["events_requested"] == [events.SESSION_REVOKED, "urn:example:unknown"]
    assert stream["events_delivered"] == [events.SESSION_REVOKED]
    assert stream["delivery"]["method"] == rules.POLL
    assert follower.call("GET", "streams", stream_id=follower.stream_id).json() == stream
    assert follower.call("GET", "streams").json() == [stream]

    changed = follower.call("PATCH", "streams", {"stream_id": follower.stream_id, "description": "Another"}).json()
    assert changed == stream | {"description": "Another"}
    replaced = follower.call("PUT", "streams", {"stream_id": follower.stream_id}).json()
    assert "description" not in replaced
    assert replaced["events_requested"] == replaced["events_delivered"] == list(rules.STANDARD)
    assert follower.call("DELETE", "streams", stream_id=follower.stream_id).status_code == 204
    assert follower.call("GET", "streams", stream_id=follower.stream_id).status_code == 404
    assert follower.call("GET", "streams").json() == []
    assert follower.poll().status_code == 404


def test_our_own_events_are_shown_to_a_receiver_that_names_one_of_them(follow: Follow) -> None:
    standard = follow(events_requested=[events.SESSION_REVOKED, "urn:example:unknown"])
    assert standard.stream["events_supported"] == list(rules.STANDARD)
    assert not [event for event in standard.stream["events_supported"] if event.startswith("urn:")]
    ours = follow(events_requested=[events.FAMILY_REVOKED])
    assert ours.stream["events_supported"] == list(rules.SUPPORTED)
    assert ours.stream["events_delivered"] == [events.FAMILY_REVOKED]
    nothing = follow(events_requested=None)
    assert nothing.stream["events_supported"] == nothing.stream["events_delivered"] == list(rules.STANDARD)
    asked = {"stream_id": nothing.stream_id, "events_requested": [events.KEY_REVOKED]}
    assert nothing.call("PATCH", "streams", asked).json()["events_supported"] == list(rules.SUPPORTED)


@pytest.mark.parametrize("configuration", [{}, {"events_requested": [events.SESSION_REVOKED]}], ids=["nothing", "caep"])
def test_a_new_stream_of_the_standards_events_has_no_backlog_of_others_endings(
    provider: RunningProvider, person: Person, follow: Follow, configuration: dict[str, object]
) -> None:
    knows = follow()
    before = signed_in(provider, person)
    end(provider, before)
    assert [claims["sub_id"]["session"]["id"] for claims in knows.follow(wait=5)] == [before]  # it has its number

    fresh = Follower.of(provider, **({"events_requested": None} | configuration))
    empty = Follower.of(provider)
    assert fresh.follow() == []
    after = signed_in(provider, Person(provider.issuer))
    end(provider, after)
    heard = fresh.follow(wait=5)
    assert [claims["sub_id"]["session"]["id"] for claims in heard] == [after]
    # One that verifies tokens learns of every token that may be alive, as an empty memory must.
    told = [claims["sub_id"].get("session", {}).get("id") for claims in empty.follow(wait=5)]
    assert {before, after} <= set(told)
    fresh.close()
    empty.close()


def test_what_the_transmitter_supplies_can_be_repeated_and_not_changed(follow: Follow) -> None:
    follower = follow()
    assert follower.call("PATCH", "streams", follower.stream).status_code == 200
    for name, value in {"iss": "https://evil.example", "aud": "another", "events_delivered": []}.items():
        assert follower.call("PATCH", "streams", {"stream_id": follower.stream_id, name: value}).status_code == 400
    assert follower.call("PATCH", "streams", {"description": "which?"}).status_code == 400


def test_a_stream_hears_of_what_it_asked_for_alone(provider: RunningProvider, person: Person, follow: Follow) -> None:
    keys, sessions = follow(events_requested=[events.KEY_REVOKED]), follow(events_requested=[events.SESSION_REVOKED])
    end(provider, signed_in(provider, person))
    assert [only_event(claims)[0] for claims in sessions.follow(wait=5)] == [events.SESSION_REVOKED]
    assert keys.follow() == []


def test_two_processes_of_one_app_follow_each_by_itself(provider: RunningProvider, person: Person, follow: Follow) -> None:
    one = follow()
    two = follow(one.app)
    sid = signed_in(provider, person)
    end(provider, sid)
    first, second = one.poll(wait=5).json()["sets"], two.poll(wait=5).json()["sets"]
    assert first == second  # to the byte: it was signed once
    one.poll(ack=list(first))
    assert two.poll().json()["sets"] == first


def test_a_subject_that_was_removed_is_left_out_until_it_is_added_again(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    follower = follow()
    sids = [signed_in(provider, Person(provider.issuer)) for _ in range(2)]
    removed = {"stream_id": follower.stream_id, "subject": rules.opaque(sids[0])}
    assert follower.call("POST", "subjects/remove", removed).status_code == 204
    end(provider, sids[0])
    end(provider, sids[1])
    assert [claims["sub_id"]["session"]["id"] for claims in follower.follow(wait=5)] == [sids[1]]
    added = follower.call("POST", "subjects/add", removed)
    assert (added.status_code, added.content) == (200, b"")
    assert follower.call("POST", "subjects/remove", {"stream_id": follower.stream_id}).status_code == 400


def test_a_person_who_was_removed_is_left_out(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    app_sid = signed_in(provider, person)
    with provider.services.database.reading() as tx:
        session = provider.services.sessions.get(tx, app_sid)
    assert session is not None
    subject = rules.person(provider.issuer, session.subject)
    follower.call("POST", "subjects/remove", {"stream_id": follower.stream_id, "subject": subject})
    end(provider, app_sid)
    assert follower.follow(wait=1) == []


def test_a_verification_comes_with_its_state_and_not_too_often(follow: Follow) -> None:
    follower = follow()
    asked = {"stream_id": follower.stream_id, "state": "VGhpcw=="}
    assert follower.call("POST", "verify", asked).status_code == 204
    (claims,) = follower.follow(wait=5)
    assert only_event(claims) == (events.VERIFICATION, {"state": "VGhpcw=="})
    assert claims["sub_id"] == {"format": "opaque", "id": follower.stream_id}
    again = follower.call("POST", "verify", asked)
    assert again.status_code == 429
    assert 0 < int(again.headers["Retry-After"]) <= follower.stream["min_verification_interval"] + 1


def test_a_verification_is_for_its_own_stream(follow: Follow) -> None:
    one, two = follow(), follow()
    one.call("POST", "verify", {"stream_id": one.stream_id})
    assert len(one.follow(wait=5)) == 1
    assert two.follow() == []


def test_a_stream_that_is_held_answers_no_poll_for_an_empty_one_would_lie(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    follower = follow()
    for status in ("paused", "disabled"):
        asked = follower.call("POST", "status", {"stream_id": follower.stream_id, "status": status, "reason": "why"})
        assert asked.json() == {"stream_id": follower.stream_id, "status": status, "reason": "why"}
        assert follower.call("GET", "status", stream_id=follower.stream_id).json() == asked.json()
        refused = follower.poll()
        assert (refused.status_code, refused.json()["err"]) == (403, "access_denied")
        assert follower.call("POST", "verify", {"stream_id": follower.stream_id}).status_code == 400
    sid = signed_in(provider, person)
    end(provider, sid)
    follower.call("POST", "status", {"stream_id": follower.stream_id, "status": "enabled"})
    assert sid in [claims["sub_id"].get("session", {}).get("id") for claims in follower.follow()]


def test_a_status_that_there_is_not_is_refused(follow: Follow) -> None:
    follower = follow()
    assert follower.call("POST", "status", {"stream_id": follower.stream_id, "status": "asleep"}).status_code == 400


def test_a_client_may_have_so_many_streams(provider: RunningProvider) -> None:
    app = receiver_of(provider)
    made = [Follower.of(provider, app)]
    one = made[0]
    answers = [one.call("POST", "streams", {}).status_code for _ in range(rules.MOST_STREAMS)]
    assert answers == [201] * (rules.MOST_STREAMS - 1) + [409]
    database = provider.services.database
    with database.writing() as tx:
        left = provider.services.streams.of_client(tx, app.client_id)[7].stream_id
        ago = tx.now - rules.LEFT_SECONDS - 1
        tx.connection.exec_driver_sql(f"UPDATE signal_streams SET seen_at = {ago} WHERE stream_id = '{left}'")
    assert one.call("POST", "streams", {}).status_code == 201, "one that was left behind makes room"
    with database.reading() as tx:
        remaining = [stream.stream_id for stream in provider.services.streams.of_client(tx, app.client_id)]
    assert len(remaining) == rules.MOST_STREAMS
    assert left not in remaining
    one.close()


def test_a_poll_that_waits_for_a_stream_is_answered_when_the_stream_is_gone(follow: Follow) -> None:
    follower = follow()
    began = time.monotonic()
    leaving = threading.Timer(0.3, lambda: follower.call("DELETE", "streams", stream_id=follower.stream_id))
    leaving.start()
    assert follower.poll(wait=25).status_code == 404
    assert time.monotonic() - began < 10 * slowness()
    leaving.join()


def test_a_single_token_is_remembered_for_those_whose_clock_is_behind(provider: RunningProvider) -> None:
    with provider.services.database.writing() as tx:
        expires_at = tx.now - 30
        assert provider.services.logout.end_access_token(tx, f"late-{expires_at}", expires_at)
    follower = Follower.of(provider)
    heard = [claims for claims in follower.follow(wait=5) if claims["sub_id"].get("jti") == f"late-{expires_at}"]
    assert len(heard) == 1
    follower.close()


def test_a_changed_password_is_told_before_anything_else_of_it(provider: RunningProvider, follow: Follow) -> None:
    follower = follow()
    accounts, database = provider.services.accounts, provider.services.database
    username = f"carol-{follower.stream_id[:6].lower().replace('_', 'x').replace('-', 'y')}"
    with database.writing() as tx:
        subject = accounts.add(tx, accounts.prepare(username, "an entirely different battery")).subject
    with database.writing() as tx:
        accounts.set_password(tx, subject, accounts.hash_password(username, "yet another battery staple"))
    (claims,) = follower.follow(wait=5)
    event, payload = only_event(claims)
    assert event == events.CREDENTIAL_CHANGE
    assert (payload["credential_type"], payload["change_type"], payload["initiating_entity"]) == ("password", "update", "admin")
    assert claims["sub_id"] == {"format": "complex", "user": rules.person(provider.issuer, subject)}


def test_a_stream_that_nobody_polls_goes(provider: RunningProvider, follow: Follow) -> None:
    follower, polled = follow(), follow()
    database = provider.services.database
    with database.writing() as tx:
        tx.connection.exec_driver_sql(
            f"UPDATE signal_streams SET seen_at = {tx.now - 3700} WHERE stream_id = '{follower.stream_id}'"
        )
    with database.writing() as tx:
        assert provider.services.streams.tidy(tx) == 1
    assert follower.poll().status_code == 404
    assert polled.poll().status_code == 200


def test_a_removed_client_follows_nothing_any_more(provider: RunningProvider, follow: Follow) -> None:
    follower, other = follow(), follow()
    with provider.services.database.writing() as tx:
        assert provider.services.logout.end_client(tx, follower.app.client_id)
        assert provider.services.streams.of_client(tx, follower.app.client_id) == []
    assert follower.poll().status_code == 401
    (claims,) = other.follow(wait=5)
    assert claims["sub_id"]["application"]["id"] == follower.app.client_id


def test_how_far_the_end_of_a_session_is_known(provider: RunningProvider, person: Person) -> None:
    database, services = provider.services.database, provider.services
    end_streams(provider)
    followers = [Follower.of(provider) for _ in range(2)]
    for each in followers:
        while each.follow():
            pass
    sid = signed_in(provider, person)

    def exposure():
        with database.reading() as tx:
            return services.streams.exposure(tx, sid)

    assert exposure() is None
    end(provider, sid)
    known = exposure()
    assert (known.confirmed, known.followers, known.all_confirmed) == (0, 2, False)
    followers[0].follow(wait=5)
    assert exposure().confirmed == 0  # it has heard, and not said so yet
    followers[0].follow()
    assert exposure().confirmed == 1
    for _ in range(2):
        followers[1].follow()
    assert exposure().all_confirmed
    shown = provider.json("session", "show", sid)["exposure"]
    assert (shown["confirmed"], shown["followers"]) == (2, 2)
    assert shown["sentence"].startswith("all followers confirmed; apps that only check expiry: safe at ")
    listed = provider.json("signals", "list")
    assert {(row["stream_id"], row["behind"]) for row in listed} == {(each.stream_id, 0) for each in followers}
    for each in followers:
        each.close()


def test_a_follower_that_was_killed_does_not_leave_an_ending_unconfirmed_for_ever(
    provider: RunningProvider, person: Person
) -> None:
    database, services = provider.services.database, provider.services
    end_streams(provider)
    alive, killed = Follower.of(provider), Follower.of(provider)
    while alive.follow():
        pass
    with database.writing() as tx:
        stream_store.change(tx, killed.stream_id, seen_at=tx.now - rules.LEFT_SECONDS - 1)
    sid = signed_in(provider, person)
    end(provider, sid)
    for _ in range(2):
        alive.follow(wait=5)
    with database.reading() as tx:
        known = services.streams.exposure(tx, sid)
    assert (known.confirmed, known.followers, known.unseen, known.all_confirmed) == (1, 1, 1, True)
    shown = provider.json("session", "show", sid)["exposure"]
    assert shown["sentence"].startswith(
        "all followers confirmed; 1 not heard of for 7 minutes; apps that only check expiry: safe"
    )
    alive.close()
    killed.close()


def test_the_sign_out_page_says_what_is_safe_already(provider: RunningProvider, person: Person) -> None:
    end_streams(provider)
    follower = Follower.of(provider)
    while follower.follow():
        pass
    signed_in(provider, person)
    done = person.submit(person.open("logout"), "logout-confirm")
    assert done.main == "logout-done"
    assert done.texts["logout-exposure"].startswith(
        "Your tokens: 0 of 1 followers confirmed; apps that only check expiry: safe at "
    )
    assert done.response.headers["Refresh"] == "1"
    for _ in range(2):
        follower.follow(wait=1)
    assert person.open("logout/done").texts["logout-exposure"].startswith("Your tokens: all followers confirmed; ")
    assert "Refresh" not in person.open("logout/done").response.headers
    follower.close()


def test_a_client_with_pairwise_subjects_hears_its_sectors_names_and_an_api_hears_them_all(
    provider: RunningProvider, person: Person
) -> None:
    """What no app of a sector may compare is never sent to one; whoever verifies everybody's tokens must know every name."""
    end_streams(provider)
    secluded = RelyingParty.register(
        provider,
        subject_type="pairwise",
        scope="openid ssf.read ssf.manage",
        grant_types=["authorization_code", "client_credentials"],
    )
    other = RelyingParty.register(provider, subject_type="pairwise")
    plain = RelyingParty.register(provider)
    told = [
        app.verified(app.sign_in(person, scope="openid")["id_token"], audience=app.client_id, typ="JWT")
        for app in (plain, secluded, other)
    ]
    within, api = Follower.of(provider, secluded), Follower.of(provider)
    for each in (within, api):
        while each.follow():
            pass
        each.heard.clear()
    end(provider, str(told[0]["sid"]))

    def heard_by(follower: Follower, count: int) -> list[tuple[object, object]]:
        found: list[tuple[object, object]] = []
        while len(found) < count:
            events = follower.follow(wait=5)
            assert events, found
            found += [(one["sub_id"]["session"]["id"], one["sub_id"]["user"]["sub"]) for one in events]
        assert follower.follow() == []
        return found

    names = [(claims["sid"], claims["sub"]) for claims in told]
    assert heard_by(within, 1) == [names[1]]
    assert sorted(heard_by(api, 3)) == sorted(names)
    assert len({one["txn"] for one in (*within.heard, *api.heard)}) == len(names), "nothing links one's names"
    with provider.services.database.reading() as tx:
        known = provider.services.streams.exposure(tx, str(told[0]["sid"]))
    assert (known.confirmed, known.followers) == (2, 2)
    for each in (within, api):
        each.close()


def test_what_one_act_did_to_a_person_is_told_by_one_txn(provider: RunningProvider, follow: Follow) -> None:
    follower = follow()
    sessions = {signed_in(provider, Person(provider.issuer)) for _ in range(2)}
    services = provider.services
    with services.database.writing() as tx:
        account = services.accounts.find(tx, "alice")
        assert account is not None
        services.logout.end_after_password_change(tx, account.subject)
        services.signals.families_ended(tx, [f"family-{follower.stream_id}"], "a test")
    last = signed_in(provider, Person(provider.issuer))
    end(provider, last)
    heard: list[dict[str, Any]] = []
    while last not in str(heard):
        found = follower.follow(wait=5)
        assert found, heard
        heard += found
    here = [
        one for one in heard if one["sub_id"].get("user", {}).get("sub") == account.subject
    ]  # other sectors have other names
    ended = {one["sub_id"]["session"]["id"]: one["txn"] for one in here if events.SESSION_REVOKED in one["events"]}
    (changed,) = [one["txn"] for one in here if events.CREDENTIAL_CHANGE in one["events"]]
    (family,) = [one["txn"] for one in heard if events.FAMILY_REVOKED in one["events"]]
    assert {ended[sid] for sid in sessions} == {changed}
    assert len({changed, family, ended[last]}) == 3


def test_a_changed_password_is_told_by_the_name_that_each_sector_knows(provider: RunningProvider, person: Person) -> None:
    secluded = RelyingParty.register(
        provider,
        subject_type="pairwise",
        scope="openid ssf.read ssf.manage",
        grant_types=["authorization_code", "client_credentials"],
    )
    sub = secluded.verified(secluded.sign_in(person, scope="openid")["id_token"], audience=secluded.client_id, typ="JWT")["sub"]
    follower = Follower.of(provider, secluded)
    while follower.follow():
        pass
    services = provider.services
    with services.database.writing() as tx:
        account = services.accounts.find(tx, "alice")
        assert account is not None
        services.logout.end_after_password_change(tx, account.subject)
    heard = []
    while not any("change_type" in str(one["events"]) for one in heard):
        found = follower.follow(wait=5)
        assert found, heard
        heard += found
    assert {one["sub_id"]["user"]["sub"] for one in heard} == {sub}
    follower.close()
