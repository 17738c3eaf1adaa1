"""An app's sessions: found by cookie, ended by the provider's `sid`, never revived."""

import pytest

from examples.sessions import ENDED_LATELY, LIFETIME, Session, SessionEndedError, Sessions
from tests.examples.conftest import ISSUER, NOW


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock)


def start(sessions: Sessions, sid: str, sub: str = "alice") -> Session:
    return sessions.start({"iss": ISSUER, "sid": sid, "sub": sub}, "id.token")


def test_a_session_is_found_by_its_key_alone(sessions: Sessions) -> None:
    session = start(sessions, "s1")
    assert sessions.find(session.key) == session
    assert [sessions.find(key) for key in (None, "", "s1", session.key + "x")] == [None] * 4


def test_no_key_is_used_twice(sessions: Sessions) -> None:
    assert start(sessions, "s1").key != start(sessions, "s1").key


def test_ending_a_sid_ends_each_of_its_sessions_and_no_other(sessions: Sessions) -> None:
    first, second, other = start(sessions, "s1"), start(sessions, "s1"), start(sessions, "s2")
    assert {session.key for session in sessions.end(ISSUER, sid="s1")} == {first.key, second.key}
    assert [sessions.find(session.key) for session in (first, second, other)] == [None, None, other]


def test_ending_a_person_ends_all_their_sessions(sessions: Sessions) -> None:
    start(sessions, "s1"), start(sessions, "s2")
    other = start(sessions, "s3", sub="bob")
    assert {session.sid for session in sessions.end(ISSUER, sub="alice")} == {"s1", "s2"}
    assert sessions.find(other.key) == other


def test_a_sid_beside_another_persons_sub_ends_nothing(sessions: Sessions) -> None:
    session = start(sessions, "s1")
    assert sessions.end(ISSUER, sid="s1", sub="bob") == []
    assert sessions.find(session.key) == session


def test_the_same_sid_of_another_provider_is_another_session(sessions: Sessions) -> None:
    session = start(sessions, "s1")
    assert sessions.end("https://elsewhere.example", sid="s1") == []
    assert sessions.find(session.key) == session


def test_ending_what_is_not_there_is_no_error(sessions: Sessions) -> None:
    assert sessions.end(ISSUER, sid="never seen") == []


def test_a_sign_in_overtaken_by_its_logout_token_does_not_begin(sessions: Sessions, clock: Clock) -> None:
    sessions.end(ISSUER, sid="s1")
    with pytest.raises(SessionEndedError):
        start(sessions, "s1")
    clock.now += ENDED_LATELY
    assert start(sessions, "s1")


def test_a_session_ends_by_itself_after_its_lifetime(sessions: Sessions, clock: Clock) -> None:
    session = start(sessions, "s1")
    clock.now += LIFETIME
    assert sessions.find(session.key) is None
    start(sessions, "s2")
    assert sessions.end(ISSUER, sid="s1") == []
