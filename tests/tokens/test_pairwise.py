"""Names of people and sessions in a sector: made once, written down, and the same for good (OIDC Core §8.1)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.clients.rules import Client
from idp.sessions import rules as session_rules
from idp.sessions.service import SessionService
from idp.tokens import rules
from tests.tokens.conftest import SECRET, SESSIONS, World

NEW_SECRET = b"another secret of this deployment, long enough"


@pytest.fixture
def secluded(world: World) -> Client:
    return world.add_client(subject_type="pairwise")


def sub(world: World, client: Client, subject: str = "alice") -> str:
    with world.database.writing() as tx:
        return world.tokens.subjects.sub_in(tx, client.pairwise_sector, subject)


def take_part(world: World, client: Client, sid: str) -> str:
    with world.database.writing() as tx:
        session = world.sessions.hold(tx, sid)
        assert session is not None
        world.sessions.take_part(tx, session, client)
        return world.sessions.sid_for(tx, client, sid)


def told(world: World, client: Client, sid: str) -> str:
    with world.database.reading() as tx:
        return world.sessions.sid_for(tx, client, sid)


def test_a_name_outlives_the_secret_that_made_it(world: World, secluded: Client) -> None:
    before = sub(world, secluded)
    after = sub(world.with_secrets(NEW_SECRET), secluded)
    assert after == before
    assert sub(world.with_secrets(NEW_SECRET), secluded, "bob") != sub(world, world.add_client(), "bob")


def test_a_session_keeps_the_name_that_an_app_was_told_when_the_secret_changes(world: World, secluded: Client) -> None:
    sid = world.sign_in()
    before = take_part(world, secluded, sid)
    changed = world.with_secrets(NEW_SECRET)
    changed.sessions = SessionService(world.database, SESSIONS, changed.secrets)
    assert told(changed, secluded, sid) == before
    assert take_part(changed, secluded, sid) == before
    other = world.add_client(subject_type="pairwise", redirect_uris=["https://other.example/cb"])
    assert told(changed, other, sid) != told(world, other, sid)  # nobody was told yet


def test_a_session_keeps_its_name_when_the_app_registers_another_sector(world: World, secluded: Client) -> None:
    sid = world.sign_in()
    before = take_part(world, secluded, sid)
    moved = Client(secluded.client_id, None, 0.0, ("https://moved.example/cb",), subject_type="pairwise")
    assert moved.pairwise_sector != secluded.pairwise_sector
    assert told(world, moved, sid) == before


def test_a_public_client_costs_no_query_and_knows_the_names_of_their_own(world: World, client: Client) -> None:
    with world.database.reading() as tx:
        tx.connection.close()  # whoever asks now fails
        assert world.sessions.sid_for(tx, client, "s") == "s"
        assert world.tokens.subjects.sub_in(tx, client.pairwise_sector, "alice") == "alice"
        assert world.tokens.subject_of(tx, client, "alice") == "alice"


def test_a_family_says_the_sectors_names_and_stands_on_its_own(world: World, secluded: Client) -> None:
    sid = world.sign_in()
    family, _ = world.allow(secluded, sid)
    assert (family.subject, family.sid, family.session_behind) == ("alice", sid, sid)
    assert family.sub == sub(world, secluded)
    assert family.told_sid == told(world, secluded, sid) != sid
    assert world.stored(family) == family


def test_an_offline_family_has_no_session_behind_it_by_any_name(world: World, secluded: Client) -> None:
    family, _ = world.allow(secluded, world.sign_in(), offline=True, scope="openid offline_access")
    token = world.access_token(secluded, family)
    with world.database.reading() as tx:
        live = world.tokens.live_access_token(tx, token)
    assert live is not None
    assert "sid" not in live.claims
    assert live.claims["sub"] == family.sub


def test_a_name_is_the_persons_in_its_own_sector_alone(world: World, secluded: Client) -> None:
    other = world.add_client(subject_type="pairwise", redirect_uris=["https://other.example/cb"])
    here, there = sub(world, secluded), sub(world, other)
    with world.database.reading() as tx:
        assert world.tokens.subject_of(tx, secluded, here) == "alice"
        assert world.tokens.subject_of(tx, secluded, there) is None
        assert world.tokens.subject_of(tx, secluded, "alice") is None


def test_many_who_ask_for_the_first_time_get_one_name(world: World, secluded: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: sub(world, secluded, "carol"), range(24)))
    assert len(found) == 1


_NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=30)


@given(_NAMES, _NAMES, _NAMES, _NAMES)
def test_no_two_pairs_of_sector_and_name_have_one_name(sector: str, name: str, other_sector: str, other_name: str) -> None:
    for make in (rules.pairwise_sub, session_rules.sector_sid):
        same = make(SECRET, sector, name) == make(SECRET, other_sector, other_name)
        assert same == ((sector, name) == (other_sector, other_name))
        assert make(SECRET, sector, name) != make(NEW_SECRET, sector, name)
