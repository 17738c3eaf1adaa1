"""What we send, member by member beside the specifications' own examples, over real HTTP on both databases."""

import secrets
import time
from typing import Any

import jwt
import pytest

from idp.protocol import events
from tests.signals import specifications as spec
from tests.signals.conftest import Follow
from tests.signals.follower import Follower, only_event
from tests.signals.pushed import PushReceiver
from tests.signals.specifications import Difference, difference
from tests.signals.test_polling import end, signed_in
from tests.support import http
from tests.support.browsing import Person
from tests.support.serving import RunningProvider

#: The two databases share the cases: what is seen here is the protocol's, and each case has one of them.
pytestmark = pytest.mark.one_database


def changed_password(provider: RunningProvider) -> None:
    accounts, database = provider.services.accounts, provider.services.database
    name = f"dave{secrets.token_hex(6)}"
    with database.writing() as tx:
        subject = accounts.add(tx, accounts.prepare(name, "an entirely different battery")).subject
    with database.writing() as tx:
        accounts.set_password(tx, subject, accounts.hash_password(name, "yet another battery staple"))


def sets_of_every_kind(provider: RunningProvider, person: Person, follower: Follower) -> dict[str, dict[str, Any]]:
    """One verified SET of each event that we send, by its type. Keys, clients and families are named and not harmed."""
    end(provider, signed_in(provider, person))
    changed_password(provider)
    signals = provider.services.signals
    with provider.services.database.writing() as tx:
        signals.families_ended(tx, [f"f{time.time_ns()}"], "a test")
        signals.token_ended(tx, f"t{time.time_ns()}", tx.now + 300, "a test")
        signals.client_ended(tx, f"c{time.time_ns()}", "a test")
        signals.key_ended(tx, f"k{time.time_ns()}", "a test")
    asked = {"stream_id": follower.stream_id, "state": spec.STATE}
    assert follower.call("POST", "verify", asked).status_code == 204
    kinds = {*events.DEADLY, events.CREDENTIAL_CHANGE, events.VERIFICATION}
    found: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + 20
    while found.keys() != kinds and time.monotonic() < deadline:
        found |= {only_event(claims)[0]: claims for claims in follower.follow(wait=2)}
    assert found.keys() == kinds
    return found


def test_every_set_has_the_envelope_of_the_examples(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    for claims in sets_of_every_kind(provider, person, follower).values():
        for section, example in spec.ENVELOPES.items():
            around = {name: value for name, value in claims.items() if name != "events"} | {"events": {}}
            theirs = {name: value for name, value in example.items() if name not in {"events", "sub", "sid"}} | {"events": {}}
            differing = difference(around, theirs)
            assert differing.left_out == frozenset(), section
            # `sub_id` is in the place of the example's `sub` (RFC 9493 §4, SSF 1.0 §4.1.2), and SSF 1.0 §4.1.9 says SHOULD of `txn`.
            assert differing.added == {"sub_id", "txn"}, section
            assert isinstance(claims["txn"], str)  # RFC 8417 §2.2
            assert differing.retyped <= {"aud"}, section  # one audience, or a list of them (RFC 7519 §4.1.3)
        assert claims.keys() & {"sub", "exp"} == set()  # SSF 1.0 §4.1.3
        assert len(claims["events"]) == 1  # SSF 1.0 §4.2.1
        assert set(claims["events"]) <= {*events.DEADLY, events.CREDENTIAL_CHANGE, events.VERIFICATION}


def test_every_subject_identifier_has_a_format_and_the_members_of_its_example(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    for event, claims in sets_of_every_kind(provider, person, follow()).items():
        subject = claims["sub_id"]
        parts = {name: part for name, part in subject.items() if name != "format"}
        if subject["format"] == "complex":
            assert parts.keys() <= spec.MEMBERS, event
        for one in parts.values() if subject["format"] == "complex" else [subject]:
            assert difference(one, spec.SUBJECTS[one["format"]]) == Difference(), event


def test_the_events_of_caep_have_the_members_of_their_examples(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    found = sets_of_every_kind(provider, person, follow())
    revoked, changed = found[events.SESSION_REVOKED], found[events.CREDENTIAL_CHANGE]
    assert set(revoked["events"]) == set(spec.SESSION_REVOKED["events"])
    assert difference(revoked, spec.SESSION_REVOKED) == Difference(
        left_out=frozenset({"sub_id.tenant", "events.event.reason_user"}),
        added=frozenset({"events.event.tokens_until"}),  # ours; additional fields may stand anywhere (SSF 1.0 §4.2.3)
    )
    assert set(changed["events"]) == set(spec.CREDENTIAL_CHANGE["events"])
    example = spec.CREDENTIAL_CHANGE | {"sub_id": {"format": "complex", "user": spec.CREDENTIAL_CHANGE["sub_id"]}}
    optional = {"fido2_aaguid", "friendly_name", "reason_admin"}
    assert difference(changed, example) == Difference(frozenset(f"events.event.{name}" for name in optional))
    for claims in (revoked, changed):
        _, payload = only_event(claims)
        assert payload["initiating_entity"] in spec.ENTITIES
        assert abs(payload["event_timestamp"] - time.time()) < 120  # seconds, not milliseconds
    _, payload = only_event(changed)
    assert payload["credential_type"] in spec.CREDENTIALS
    assert payload["change_type"] in spec.CHANGES


def test_events_of_our_own_say_what_caep_says_and_until_when_they_matter(
    provider: RunningProvider, person: Person, follow: Follow
) -> None:
    found = sets_of_every_kind(provider, person, follow())
    for event in events.DEADLY - {events.SESSION_REVOKED}:
        _, payload = only_event(found[event])
        assert payload.keys() == {"reason_admin", "event_timestamp", "tokens_until"}
        assert event.startswith("urn:")


def test_a_verification_is_the_example_to_the_member(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    claims = sets_of_every_kind(provider, person, follower)[events.VERIFICATION]
    assert difference(claims, spec.VERIFICATION) == Difference(added=frozenset({"txn"}))
    assert claims["events"] == spec.VERIFICATION["events"]
    assert claims["sub_id"] == {"format": "opaque", "id": follower.stream_id}


def test_the_header_of_a_set_types_it(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    end(provider, signed_in(provider, person))
    (text,) = follower.poll(wait=5).json()["sets"].values()
    header = jwt.get_unverified_header(text)
    assert header.keys() == {"typ", "alg", "kid"}  # RFC 8417 §2.3, SSF 1.0 §4.1.1; the key is in `jwks_uri`
    assert (header["typ"], header["alg"]) == ("secevent+jwt", "RS256")


# -- streams (SSF 1.0 §7, §8) -----------------------------------------------------------------------------------------


def test_the_configuration_has_the_members_of_the_example(provider: RunningProvider) -> None:
    found = http.get(f"{provider.issuer}/.well-known/ssf-configuration")
    assert found.headers["Content-Type"] == "application/json"
    assert difference(found.json(), spec.CONFIGURATION) == Difference(frozenset({"critical_subject_members"}))


def test_a_stream_is_made_and_changed_with_the_requests_of_the_examples(follow: Follow) -> None:
    follower = follow(**spec.CREATE)
    more = frozenset({"min_verification_interval", "inactivity_timeout"})  # both are there, only not in the example
    assert difference(follower.stream, spec.CREATED) == Difference(added=more, retyped=frozenset({"aud"}))
    assert follower.stream["events_requested"] == spec.CREATE["events_requested"]
    for method in ("PATCH", "PUT"):
        answer = follower.call(method, "streams", {"stream_id": follower.stream_id, **spec.CREATE})
        assert (answer.status_code, answer.json()) == (200, follower.stream)
    answer = follower.call("POST", "status", spec.STATUS | {"stream_id": follower.stream_id})
    assert (answer.status_code, answer.json()) == (200, spec.STATUS | {"stream_id": follower.stream_id})
    shown = follower.call("GET", "status", stream_id=follower.stream_id)
    assert (shown.json(), shown.headers["Cache-Control"]) == (answer.json(), "no-store")


def test_subjects_and_verifications_are_asked_for_as_in_the_examples(follow: Follow) -> None:
    follower = follow()
    for path, body, status in spec.REQUESTS:
        answer = follower.call("POST", path, body | {"stream_id": follower.stream_id})
        assert (answer.status_code, answer.content) == (status, b""), path


@pytest.mark.parametrize("path", ["streams", "status"])
def test_whoever_asks_for_a_stream_is_active(provider: RunningProvider, follow: Follow, path: str) -> None:
    """SSF 1.0 §8.1.1, `inactivity_timeout`: any call that names the stream MUST start the time anew."""
    follower, database = follow(), provider.services.database
    with database.writing() as tx:
        tx.connection.exec_driver_sql(
            f"UPDATE signal_streams SET seen_at = {tx.now - 3700} WHERE stream_id = '{follower.stream_id}'"
        )
    assert follower.call("GET", path, stream_id=follower.stream_id).status_code == 200
    with database.writing() as tx:
        provider.services.streams.tidy(tx)
    assert follower.poll().status_code == 200


# -- delivery (RFC 8935, RFC 8936) ------------------------------------------------------------------------------------


def test_polls_are_asked_for_as_in_the_examples(follow: Follow) -> None:
    follower = follow()
    for body in spec.POLLS:
        headers = {"Authorization": f"Bearer {follower.token}", "Prefer": "wait=0"}
        answer = http.post(follower.stream["delivery"]["endpoint_url"], json=body, headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
        assert difference(answer.json(), spec.POLLED) == Difference(added=frozenset({"moreAvailable"}))


def test_the_sets_of_an_answer_stand_below_their_jti(provider: RunningProvider, person: Person, follow: Follow) -> None:
    follower = follow()
    end(provider, signed_in(provider, person))
    sets = follower.poll(wait=5).json()["sets"]
    assert sets
    assert all(follower.verified(text)["jti"] == jti for jti, text in sets.items())


def test_a_push_is_the_request_of_the_example(provider: RunningProvider, receiver: PushReceiver) -> None:
    follower = Follower.of(provider, delivery={"method": "urn:ietf:rfc:8935", "endpoint_url": receiver.url})
    assert follower.stream["delivery"].keys() == spec.CREATED["delivery"].keys()
    asked = {"stream_id": follower.stream_id, "state": spec.STATE}
    assert follower.call("POST", "verify", asked).status_code == 204
    receiver.wait(lambda: spec.STATE in receiver.taken(), 60)
    one = next(one for one in receiver.came if one.state == spec.STATE)
    assert {name: one.headers[name] for name in spec.PUSHED} == spec.PUSHED
    assert difference(follower.verified(one.body), spec.VERIFICATION) == Difference(added=frozenset({"txn"}))
    follower.close()
