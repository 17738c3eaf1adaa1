"""A lost refresh answer signs nobody out: the parent stays good until something of its answer was used, and never twice over.

The clock is moved by hand: a phone sleeps an hour, and a thief comes whenever they like.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jwt
import pytest
from authlib.oauth2.rfc6749.errors import InvalidGrantError
from sqlalchemy import event

from idp.clients.rules import Client
from idp.runtime.database import Transaction
from idp.tokens import ending, store
from idp.tokens.issuing import ReusedRefreshTokenError
from idp.tokens.rules import Family
from idp.tokens.service import TokenService
from tests.tokens.conftest import POLICY, SECRET, World

DAY = 86_400
HOUR = 3600
PATIENT = replace(POLICY, refresh_parent_lifetime=DAY)


@pytest.fixture
def patient(world: World) -> World:
    """A deployment as it is by default. What is allowed here is allowed offline, so that no session ends meanwhile."""
    tokens = TokenService(PATIENT, world.keys, world.clients, world.sessions, world.secrets)
    return replace(world, tokens=tokens)


def allow(world: World, client: Client) -> tuple[Family, str]:
    return world.allow(client, None, offline=True)


def use(world: World, client: Client, family: Family) -> None:
    """An access token issued beside the live refresh token is used."""
    used(world, world.access_token(client, world.stored(family)))


def used(world: World, token: str) -> None:
    with world.database.reading() as tx:
        live = world.tokens.live_access_token(tx, token)
        assert live is not None
        world.tokens.note_arrival(tx, live)


@pytest.mark.parametrize("slept", [61, HOUR, DAY - 1])
def test_a_phone_that_slept_asks_again_and_goes_on(patient: World, client: Client, slept: float) -> None:
    family, parent = allow(patient, client)
    patient.rotate(client, parent)  # the answer is lost: the phone fell asleep
    patient.clock.now += slept
    child = patient.rotate(client, parent)
    use(patient, client, family)
    patient.clock.now += HOUR
    assert patient.rotate(client, child)
    assert patient.stored(family).ended_at is None


def test_answers_may_be_lost_as_often_as_they_like(patient: World, client: Client) -> None:
    family, parent = allow(patient, client)
    answers = [patient.rotate(client, parent)]
    for _ in range(5):
        patient.clock.now += HOUR
        answers.append(patient.rotate(client, parent))
    assert len(set(answers)) == 6
    assert patient.rotate(client, answers[-1])
    assert patient.stored(family).ended_at is None


def test_the_whole_of_it_lasts_a_day_however_often_somebody_asks(patient: World, client: Client) -> None:
    family, parent = allow(patient, client)
    patient.rotate(client, parent)
    for _ in range(4):
        patient.clock.now += DAY / 4
        patient.rotate(client, parent)
    patient.clock.now += POLICY.refresh_retry_window + 1
    with pytest.raises(ReusedRefreshTokenError) as reuse:
        patient.rotate(client, parent)
    assert reuse.value.family_id == family.family_id


def test_tabs_that_wake_together_share_one_answer(patient: World, client: Client) -> None:
    family, parent = allow(patient, client)
    patient.rotate(client, parent)
    patient.clock.now += HOUR
    together = threading.Barrier(12)

    def refresh(_: int) -> str:
        together.wait()
        return patient.rotate(client, parent)

    with ThreadPoolExecutor(12) as pool:
        (child,) = set(pool.map(refresh, range(12)))
    assert patient.stored(family).generation == 2
    assert patient.rotate(client, child)


def test_once_the_successor_was_used_the_parent_is_a_thiefs(patient: World, client: Client) -> None:
    _, parent = allow(patient, client)
    child = patient.rotate(client, parent)
    patient.rotate(client, child)
    for later in (0, HOUR):
        patient.clock.now += later
        with pytest.raises(ReusedRefreshTokenError):
            patient.rotate(client, parent)


def test_once_an_access_token_beside_the_successor_was_used_the_parent_is_a_thiefs(patient: World, client: Client) -> None:
    family, parent = allow(patient, client)
    child = patient.rotate(client, parent)
    use(patient, client, family)
    patient.clock.now += POLICY.refresh_retry_window + 1
    with pytest.raises(ReusedRefreshTokenError):
        patient.rotate(client, parent)
    assert patient.rotate(client, child)  # here nobody ends the family: `grants` does


def test_tabs_that_refresh_at_once_share_an_answer_that_one_of_them_used_already(patient: World, client: Client) -> None:
    family, parent = allow(patient, client)
    child = patient.rotate(client, parent)
    use(patient, client, family)
    patient.clock.now += POLICY.refresh_retry_window
    assert patient.rotate(client, parent) == child


def test_an_access_token_from_before_the_refresh_shows_nothing(patient: World, client: Client) -> None:
    """It is in use until it expires, and says nothing of an answer that came after it."""
    family, parent = allow(patient, client)
    before = patient.access_token(client, family)
    patient.rotate(client, parent)
    used(patient, before)
    patient.clock.now += HOUR / 20
    assert patient.rotate(client, parent)
    assert patient.stored(family).seen_at is None


def test_what_was_used_is_written_down_once(patient: World, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    family, parent = allow(patient, client)
    patient.rotate(client, parent)
    token = patient.access_token(client, patient.stored(family))
    written: list[str] = []
    seen = store.seen

    def counted(tx: Transaction, family_id: str, generation: int) -> None:
        written.append(family_id)
        seen(tx, family_id, generation)

    monkeypatch.setattr(store, "seen", counted)
    for _ in range(3):
        used(patient, token)
    assert written == [family.family_id]


def test_who_asked_first_and_who_asked_again_are_never_both_let_on(patient: World, client: Client) -> None:
    """A thief took the parent and was first, the app asks later: the thief's next refresh is the end of both."""
    family, parent = allow(patient, client)
    thiefs = patient.rotate(client, parent)
    patient.clock.now += HOUR
    apps = patient.rotate(client, parent)
    with pytest.raises(ReusedRefreshTokenError):
        patient.rotate(client, thiefs)
    with pytest.raises(ReusedRefreshTokenError) as reuse:
        patient.rotate(client, thiefs)
    with patient.database.writing() as tx:
        assert ending.end(tx, reuse.value.family_id, "test")
    for token in (parent, thiefs, apps):
        with pytest.raises(InvalidGrantError):
            patient.rotate(client, token)
    assert patient.stored(family).end_reason == "test"


def test_a_parent_that_comes_at_the_moment_of_its_successor_leaves_no_two_lines(patient: World, client: Client) -> None:
    for _ in range(20):
        family, parent = allow(patient, client)
        child = patient.rotate(client, parent)
        patient.clock.now += HOUR
        together = threading.Barrier(2)

        def refresh(token: str, together: threading.Barrier = together) -> str | None:
            together.wait()
            try:
                return patient.rotate(client, token)
            except ReusedRefreshTokenError:
                return None

        with ThreadPoolExecutor(2) as pool:
            given = list(pool.map(refresh, [parent, child]))
        assert sorted(each is None for each in given) == [False, True]  # whoever was second is seen to be one too many
        assert patient.stored(family).generation == 2


def test_an_answer_may_be_asked_for_again_after_the_secret_was_changed(patient: World, client: Client) -> None:
    _, parent = allow(patient, client)
    patient.rotate(client, parent)
    patient.clock.now += HOUR
    changed = patient.with_secrets(b"the new secret of this deployment, longer", SECRET)
    tokens = TokenService(PATIENT, changed.keys, changed.clients, changed.sessions, changed.secrets)
    changed = replace(changed, tokens=tokens)
    again = changed.rotate(client, parent)
    changed.clock.now += HOUR
    last = changed.rotate(client, parent)
    assert again != last
    assert changed.rotate(client, last)


def test_another_clients_hands_are_refused_and_change_nothing(patient: World, client: Client) -> None:
    thief = patient.add_client()
    family, parent = allow(patient, client)
    patient.rotate(client, parent)
    patient.clock.now += HOUR
    with pytest.raises(InvalidGrantError):
        patient.rotate(thief, parent)
    assert patient.stored(family).generation == 1
    assert patient.rotate(client, parent)


def test_an_ended_family_is_not_asked_again(patient: World, client: Client) -> None:
    family, parent = allow(patient, client)
    patient.rotate(client, parent)
    with patient.database.writing() as tx:
        ending.end(tx, family.family_id, "test")
    patient.clock.now += HOUR
    with pytest.raises(InvalidGrantError):
        patient.rotate(client, parent)


def test_a_refresh_asks_the_database_once_however_long_answers_may_be_lost(patient: World, client: Client) -> None:
    """The way that nearly every refresh goes is one statement, and those that read the client and the session."""
    _, parent = allow(patient, client)
    statements: list[str] = []
    event.listen(patient.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    patient.rotate(client, parent)
    assert [each for each in statements if "token_families" in each] == [each for each in statements if "UPDATE" in each]
    assert len([each for each in statements if "token_families" in each]) == 1


def test_a_family_stands_before_the_one_dot_of_its_tokens_names_and_no_name_comes_twice(patient: World, client: Client) -> None:
    family, token = allow(patient, client)
    names = []
    for _ in range(3):
        for _ in range(2):
            text = patient.access_token(client, patient.stored(family))
            names.append(str(jwt.decode(text, options={"verify_signature": False})["jti"]))
        token = patient.rotate(client, token)
    assert [name.split(".")[0] for name in names] == [family.family_id] * 6
    assert len(set(names)) == 6
    assert {name.count(".") for name in names} == {1}
    assert max(len(name) for name in names) <= 64
