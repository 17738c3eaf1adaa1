"""Rotation: one statement decides, a lost answer may be asked for again for a while, and reuse ends the family."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from authlib.oauth2.rfc6749.errors import InvalidGrantError

from idp.clients.rules import Client
from idp.runtime.secrets import Secrets
from idp.tokens import ending, refresh
from idp.tokens.issuing import ReusedRefreshTokenError
from tests.keys.grounds import EPOCH
from tests.tokens.conftest import POLICY, SECRET, World

WINDOW = POLICY.refresh_retry_window


def test_a_rotation_gives_the_next_one_and_moves_the_expiry(world: World, client: Client) -> None:
    family, parent = world.allow(client, world.sign_in())
    world.clock.now += 1000
    child = world.rotate(client, parent)
    assert child != parent
    stored = world.stored(family)
    assert stored.generation == 1
    assert stored.rotated_at == EPOCH + 1000
    assert stored.expires_at == EPOCH + 1000 + POLICY.refresh_token_lifetime
    assert world.rotate(client, child) not in {parent, child}


def test_what_is_stored_is_no_token(world: World, client: Client) -> None:
    _, token = world.allow(client, world.sign_in())
    child = world.rotate(client, token)
    with world.database.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT * FROM token_families").all()
    for text in (token, child):
        for start in range(0, len(text) - 12, 12):
            if start >= 24:  # the family's name stands there in the clear
                assert text[start : start + 12] not in repr(rows)


def test_of_two_tokens_of_one_generation_only_the_stored_one_is_good(world: World, client: Client) -> None:
    """While instances are given another secret one by one, each derives a successor of its own; one of them was stored."""
    family, parent = world.allow(client, world.sign_in())
    later = Secrets((b"the new secret of this deployment, longer", SECRET))
    token = refresh.read(parent, later)
    assert token is not None
    never_stored, stored = token.successors(later)
    world.rotate(client, parent)
    assert world.stored(family).secret_hash == stored.stored
    with pytest.raises(ReusedRefreshTokenError):
        world.with_secrets(b"the new secret of this deployment, longer", SECRET).rotate(client, never_stored.text(later))


@pytest.mark.parametrize("after", [0, 1, WINDOW - 1, WINDOW])
def test_a_lost_answer_may_be_asked_for_again_within_the_window(world: World, client: Client, after: float) -> None:
    _, parent = world.allow(client, world.sign_in())
    child = world.rotate(client, parent)
    world.clock.now += after
    assert world.rotate(client, parent) == child
    assert world.rotate(client, parent) == child
    assert world.rotate(client, child)


def test_asking_again_does_not_lengthen_the_window(world: World, client: Client) -> None:
    _, parent = world.allow(client, world.sign_in())
    world.rotate(client, parent)
    world.clock.now += WINDOW - 1
    world.rotate(client, parent)
    world.clock.now += 2
    with pytest.raises(ReusedRefreshTokenError):
        world.rotate(client, parent)


@pytest.mark.parametrize("after", [WINDOW + 0.001, WINDOW + 1, 86_400])
def test_after_the_window_a_second_use_is_reuse(world: World, client: Client, after: float) -> None:
    family, parent = world.allow(client, world.sign_in())
    world.rotate(client, parent)
    world.clock.now += after
    with pytest.raises(ReusedRefreshTokenError) as reuse:
        world.rotate(client, parent)
    assert reuse.value.family_id == family.family_id


@pytest.mark.parametrize("back", [1, WINDOW, WINDOW + 1, 3600])
def test_a_clock_that_jumped_back_opens_no_longer_window(world: World, client: Client, back: float) -> None:
    _, parent = world.allow(client, world.sign_in())
    child = world.rotate(client, parent)
    world.clock.now -= back
    if back <= WINDOW:
        assert world.rotate(client, parent) == child
    else:
        with pytest.raises(ReusedRefreshTokenError):
            world.rotate(client, parent)


def test_a_grandparent_is_reuse_even_within_the_window(world: World, client: Client) -> None:
    _, grandparent = world.allow(client, world.sign_in())
    parent = world.rotate(client, grandparent)
    world.rotate(client, parent)
    with pytest.raises(ReusedRefreshTokenError):
        world.rotate(client, grandparent)


def test_of_many_at_once_one_rotates_and_all_get_the_same(world: World, client: Client) -> None:
    family, parent = world.allow(client, world.sign_in())
    together = threading.Barrier(12)

    def refresh(_: int) -> str:
        together.wait()
        return world.rotate(client, parent)

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(refresh, range(12)))) == 1
    assert world.stored(family).generation == 1


def test_a_token_of_another_client_is_refused_and_stays_good(world: World, client: Client) -> None:
    thief = world.add_client()
    family, token = world.allow(client, world.sign_in())
    for _ in range(2):
        with pytest.raises(InvalidGrantError):
            world.rotate(thief, token)
    child = world.rotate(client, token)
    world.clock.now += 10 * WINDOW
    with pytest.raises(InvalidGrantError):
        world.rotate(thief, token)  # an old one in the wrong hands of another client ends nothing either
    assert world.stored(family).ended_at is None
    assert world.rotate(client, child)


def test_a_family_that_nobody_refreshed_in_time_is_over(world: World, client: Client) -> None:
    _, token = world.allow(client, None, offline=True)
    world.clock.now += POLICY.refresh_token_lifetime
    with pytest.raises(InvalidGrantError):
        world.rotate(client, token)


def test_an_ended_family_refuses_every_token_of_its_line(world: World, client: Client) -> None:
    family, parent = world.allow(client, world.sign_in())
    child = world.rotate(client, parent)
    with world.database.writing() as tx:
        assert ending.end(tx, family.family_id, "test")
        assert not ending.end(tx, family.family_id, "again")
    for token in (parent, child):
        with pytest.raises(InvalidGrantError):
            world.rotate(client, token)
    assert world.stored(family).end_reason == "test"


def test_ending_one_family_touches_no_other(world: World, client: Client) -> None:
    sid = world.sign_in()
    family, _ = world.allow(client, sid)
    _, other = world.allow(client, sid)
    with world.database.writing() as tx:
        ending.end(tx, family.family_id, "test")
    assert world.rotate(client, other)


def test_the_end_of_a_session_ends_its_families_and_no_offline_one(world: World, client: Client) -> None:
    sid, elsewhere = world.sign_in(), world.sign_in()
    (bound, bound_token), (offline, offline_token), (_, other_token) = (
        world.allow(client, sid),
        world.allow(client, sid, offline=True),
        world.allow(client, elsewhere),
    )
    with world.database.writing() as tx:
        assert ending.end_of_sessions(tx, [sid], "test") == 1
        assert ending.end_of_sessions(tx, [sid], "test") == 0
    assert world.stored(bound).ended_at == EPOCH
    assert world.stored(offline).ended_at is None
    with pytest.raises(InvalidGrantError):
        world.rotate(client, bound_token)
    assert world.rotate(client, offline_token)
    assert world.rotate(client, other_token)


def test_the_end_of_a_person_or_a_client_ends_the_offline_ones_too(world: World, client: Client) -> None:
    other = world.add_client()
    families = [world.allow(each, None, offline=True) for each in (client, client, other)]
    with world.database.writing() as tx:
        assert len(ending.mark_some(tx, ending.closing("test", client_id=client.client_id), 10)) == 2
    assert world.rotate(other, families[2][1])
    with world.database.writing() as tx:
        assert ending.mark_some(tx, ending.closing("test", subject="bob"), 10) == []
        assert len(ending.mark_some(tx, ending.closing("test", subject="alice"), 10)) == 1
    for (_, token), each in zip(families, (client, client, other), strict=True):
        with pytest.raises(InvalidGrantError):
            world.rotate(each, token)


def test_families_go_on_when_the_secret_is_changed_and_the_old_one_named_beside_it(world: World, client: Client) -> None:
    _, parent = world.allow(client, world.sign_in())
    child = world.rotate(client, parent)
    changed = world.with_secrets(b"the new secret of this deployment, longer", SECRET)
    assert changed.rotate(client, parent) != ""  # a lost answer, asked for again after the change
    assert changed.rotate(client, child)


def test_a_secret_that_was_dropped_makes_its_tokens_strangers(world: World, client: Client) -> None:
    family, token = world.allow(client, world.sign_in())
    with pytest.raises(InvalidGrantError):
        world.with_secrets(b"the new secret of this deployment, longer").rotate(client, token)
    assert world.stored(family).ended_at is None


def test_a_stranger_who_knows_a_familys_name_cannot_end_it(world: World, client: Client) -> None:
    family, token = world.allow(client, world.sign_in())
    forged = token[:30] + token[30:][::-1]
    for text in (family.family_id, forged, family.family_id + token[22:-4] + "AAAA"):
        with pytest.raises(InvalidGrantError):
            world.rotate(client, text)
    assert world.stored(family).ended_at is None
    assert world.rotate(client, token)
