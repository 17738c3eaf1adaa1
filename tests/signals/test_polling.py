"""The poll over real HTTP, on both databases (RFC 8936)."""

import time

from idp.protocol import events
from tests.signals.conftest import Follow
from tests.signals.follower import Follower, only_event
from tests.support.browsing import Person
from tests.support.pace import slowness
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider


def signed_in(provider: RunningProvider, person: Person) -> str:
    """Somebody signs in at an app; the `sid`."""
    app = RelyingParty.register(provider)
    tokens = app.sign_in(person)
    return str(app.verified(tokens["id_token"], audience=app.client_id, typ="JWT")["sid"])


def end(provider: RunningProvider, sid: str) -> None:
    """End a session from another process than the server."""
    with provider.services.database.writing() as tx:
        assert provider.services.logout.end_session(tx, sid, "ended_by_operator") is not None


def test_a_follower_that_waits_hears_of_an_ended_session_at_once(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    sid = signed_in(provider, person)
    follower = follow()
    person.submit(person.open("logout"), "logout-confirm")
    began = time.monotonic()
    (claims,) = follower.follow(wait=20)
    assert time.monotonic() - began < 5 * slowness()
    event, payload = only_event(claims)
    assert event == events.SESSION_REVOKED
    assert claims["sub_id"]["session"] == {"format": "opaque", "id": sid}
    assert claims["sub_id"]["user"]["iss"] == provider.issuer
    assert payload["initiating_entity"] == "user"
    assert payload["tokens_until"] > time.time() + 300
    assert follower.follow() == []


def test_what_another_process_ends_is_heard_while_waiting(provider: RunningProvider, person: Person, follow: Follow) -> None:
    import threading

    sid = signed_in(provider, person)
    follower = follow()
    threading.Timer(0.3, end, (provider, sid)).start()
    began = time.monotonic()
    (claims,) = follower.follow(wait=20)
    assert 0.25 < time.monotonic() - began < 5 * slowness()
    assert claims["sub_id"]["session"]["id"] == sid


def test_a_wait_that_is_over_is_answered_with_nothing(follow: Follow) -> None:
    follower = follow()
    began = time.monotonic()
    answer = follower.poll(wait=1)
    assert answer.json() == {"sets": {}, "moreAvailable": False}
    assert 0.9 < time.monotonic() - began < 3 * slowness()


def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    follower = follow()
    sids = [signed_in(provider, Person(provider.issuer)) for _ in range(3)]
    for sid in sids:
        end(provider, sid)
    first = follower.poll(maxEvents=2).json()
    assert len(first["sets"]) == 2
    assert first["moreAvailable"] is True
    again = follower.poll(maxEvents=2).json()
    assert again["sets"] == first["sets"]
    second = list(first["sets"])[1]
    after = follower.poll(ack=[second]).json()  # out of order
    assert [only for only in after["sets"] if only == second] == []
    assert len(after["sets"]) == 2
    assert list(after["sets"])[0] == list(first["sets"])[0]
    assert follower.poll(ack=list(after["sets"])).json() == {"sets": {}, "moreAvailable": False}


def test_a_new_stream_begins_with_what_still_matters(provider: RunningProvider, person: Person, follow: Follow) -> None:
    sid = signed_in(provider, person)
    end(provider, sid)
    late = Follower.of(provider)
    heard = [claims["sub_id"]["session"]["id"] for claims in late.follow() if "session" in claims["sub_id"]]
    assert sid in heard
    late.close()


def test_an_acknowledgement_alone_is_taken(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    end(provider, signed_in(provider, person))
    found = follower.poll().json()["sets"]
    assert follower.poll(maxEvents=0, ack=list(found)).json()["sets"] == {}
    assert follower.poll().json()["sets"] == {}


def test_an_error_that_a_receiver_reports_is_an_acknowledgement(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    follower = follow()
    end(provider, signed_in(provider, person))
    (jti,) = follower.poll().json()["sets"]
    answer = follower.poll(setErrs={jti: {"err": "invalid_key", "description": "unknown"}})
    assert answer.json() == {"sets": {}, "moreAvailable": False}
