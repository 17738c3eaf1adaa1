"""Every ending stands in the status list within a `ttl`, and nothing else does; on both databases, by HTTP."""

from collections.abc import Callable

import pytest
from sqlalchemy import event, text

from idp.clients.authentication import ClientAuthenticationError
from idp.logout.rules import Reason
from idp.runtime.database import table_of
from idp.sessions.models import SessionRow
from idp.tokens.issuing import TokenIssuer
from idp.tokens.rules import LEEWAY, Authorization
from tests.keys.grounds import EPOCH
from tests.signals.status_world import ABSOLUTE, IDLE, ISSUER, LIFETIME, TTL, Given, World, world
from tests.support.status_lists import reference

__all__ = ["world"]

VALID, INVALID, ASK = 0, 1, 3


def families(world: World) -> dict[str, Given]:
    """Alice at two browsers and two apps, offline at one; and Bob."""
    one, two = world.add_client(), world.add_client()
    here, there, bobs = world.sign_in(), world.sign_in(), world.sign_in("bob")
    return {
        "one here": world.allow(one, here),
        "two here": world.allow(two, here),
        "one there": world.allow(one, there),
        "one offline": world.allow(one, here, offline=True),
        "bob's one": world.allow(one, bobs, subject="bob"),
    }


def end_session(world: World, given: Given) -> None:
    with world.provider.database.writing() as tx:
        world.provider.logout.end_session(tx, str(given.family.sid), Reason.SIGNED_OUT)


def end_account(world: World, given: Given) -> None:
    with world.provider.database.writing() as tx:
        world.provider.logout.end_account(tx, given.family.subject, Reason.ACCOUNT_DISABLED)


def end_access(world: World, given: Given) -> None:
    with world.provider.database.writing() as tx:
        world.provider.logout.end_access(tx, given.family.subject, given.family.client_id, Reason.CONSENT_WITHDRAWN)


def end_client(world: World, given: Given) -> None:
    with world.provider.database.writing() as tx:
        world.provider.logout.end_client(tx, given.family.client_id)


def end_family(world: World, given: Given) -> None:
    with world.provider.database.writing() as tx:
        world.provider.logout.end_family(tx, given.family.family_id, Reason.REFRESH_TOKEN_REUSED)


def run_out(column: str, seconds: float) -> Callable[[World, Given], None]:
    """The session's time is over just now, and no reaper came by."""

    def make_old(world: World, given: Given) -> None:
        table = table_of(SessionRow)
        with world.provider.database.writing() as tx:
            tx.execute(table.update().where(table.c.sid == given.family.sid).values({column: tx.now - seconds}))

    return make_old


ENDINGS = [
    pytest.param(end_session, {"one here", "two here"}, id="session"),
    pytest.param(end_account, {"one here", "two here", "one there", "one offline"}, id="account"),
    pytest.param(end_access, {"one here", "one there", "one offline"}, id="access"),
    pytest.param(end_client, {"one here", "one there", "one offline", "bob's one"}, id="client"),
    pytest.param(end_family, {"one here"}, id="family"),
    pytest.param(run_out("last_used_at", IDLE), {"one here", "two here"}, id="idle, not reaped"),
    pytest.param(run_out("expires_at", 0), {"one here", "two here"}, id="too old, not reaped"),
]


@pytest.mark.parametrize(("end", "dead"), ENDINGS)
def test_what_ended_is_invalid_within_a_ttl_and_all_else_valid(
    world: World, end: Callable[[World, Given], None], dead: set[str]
) -> None:
    given = families(world)
    assert {name for name, each in given.items() if world.status(each)} == set()
    end(world, given["one here"])
    world.clock.now += TTL
    assert {name: world.status(each) for name, each in given.items()} == {name: int(name in dead) for name in given}
    assert set(world.list().not_valid) == {reference(given[name].access_token)[1] for name in dead}


@pytest.mark.parametrize(("end", "dead"), ENDINGS)
def test_what_ended_stays_invalid_until_no_clock_takes_its_tokens_any_more(
    world: World, end: Callable[[World, Given], None], dead: set[str]
) -> None:
    given = families(world)["one here"]
    world.clock.now += 1
    end(world, given)
    assert world.later(given, LIFETIME + LEEWAY - 1) == INVALID
    world.provider.reaper.reap()
    assert world.later(given, TTL) in {VALID, INVALID}


def test_a_session_that_runs_out_by_itself_is_seen_without_any_reaper(world: World) -> None:
    given = families(world)["one here"]
    client = world.provider.clients.find(given.family.client_id)
    assert client is not None
    world.clock.now = EPOCH + IDLE - TTL
    assert world.status(given) == VALID
    assert world.later(given) == INVALID


def test_an_ended_session_does_not_touch_what_was_allowed_offline(world: World) -> None:
    given = families(world)
    end_session(world, given["one offline"])
    assert world.later(given["one offline"]) == VALID
    assert world.status(given["one here"]) == INVALID


def test_a_single_revoked_token_makes_its_family_doubtful_until_that_token_expired(world: World) -> None:
    given = families(world)["one here"]
    client = world.provider.clients.find(given.family.client_id)
    assert client is not None
    with world.provider.database.writing() as tx:
        live = world.provider.tokens.live_access_token(tx, given.access_token)
        assert live is not None
        world.provider.logout.end_access_token(tx, str(live.claims["jti"]), EPOCH + LIFETIME)
    assert world.later(given) == ASK
    assert world.list().not_valid == {reference(given.access_token)[1]: ASK}
    world.clock.now = EPOCH + LIFETIME + LEEWAY - 1
    with world.provider.database.writing() as tx:
        world.provider.tokens.tidy(tx)
    assert world.status(given) == ASK
    assert world.later(given) == VALID
    end_family(world, given)
    assert world.later(given) == INVALID


def test_a_family_that_ended_after_a_token_of_it_was_revoked_is_invalid(world: World) -> None:
    given = families(world)["one here"]
    with world.provider.database.writing() as tx:
        live = world.provider.tokens.live_access_token(tx, given.access_token)
        assert live is not None
        world.provider.logout.end_access_token(tx, str(live.claims["jti"]), EPOCH + LIFETIME)
        world.provider.logout.end_family(tx, given.family.family_id, Reason.REVOKED)
    assert world.later(given) == INVALID


def test_a_token_without_a_family_that_is_revoked_touches_no_list(world: World) -> None:
    families(world)
    with world.provider.database.writing() as tx:
        world.provider.logout.end_access_token(tx, "a-token-of-a-client-itself", EPOCH + LIFETIME)
    world.clock.now += TTL
    assert world.list().not_valid == {}


def test_what_a_removed_client_is_given_at_the_same_moment_is_invalid(world: World) -> None:
    """The door had decided when another process removed the client: nobody marked that family."""
    client, sid = world.add_client(), world.sign_in()
    end_client(world, world.allow(client, sid))
    with pytest.raises(ClientAuthenticationError):
        world.allow(client, sid)
    issuer = TokenIssuer(world.provider.tokens)
    with world.provider.database.writing() as tx:
        allowed = Authorization(client.client_id, "alice", sid, "openid", False, tx.now, "1", "pwd")
        family, refresh_token = issuer.start_family(tx, issuer.new_family_id(), allowed, refreshable=True)
        access_token = issuer.access_token(tx, client, family, "openid").text
    assert refresh_token is not None
    assert family.ended_at is None
    assert world.later(Given(family, access_token, refresh_token)) == INVALID


def test_a_refresh_keeps_the_place_in_the_list(world: World) -> None:
    client = world.add_client()
    first = world.allow(client, world.sign_in())
    second = world.refresh(client, first.refresh_token)
    assert reference(second.access_token) == reference(first.access_token)
    assert second.access_token != first.access_token


def test_no_two_families_share_a_place_and_none_follows_the_one_before(world: World) -> None:
    client, sid = world.add_client(), world.sign_in()
    places = [reference(world.allow(client, sid).access_token)[1] for _ in range(20)]
    assert len(set(places)) == 20
    assert len({other - one for one, other in zip(places, places[1:], strict=False)}) > 10


def test_a_place_costs_one_short_statement_and_a_refresh_none(world: World) -> None:
    client, sid = world.add_client(), world.sign_in()
    found = world.provider.clients.find(client.client_id)  # as it is once the client has authenticated
    assert found is not None
    client = found
    world.allow(client, sid)  # the order of the list is known from now on
    statements: list[str] = []
    event.listen(world.provider.database.engine, "before_cursor_execute", lambda _c, _cur, sql, *_: statements.append(sql))
    given = world.allow(client, sid)
    count = "INSERT" if world.provider.database.dialect == "sqlite" else "SELECT"
    asked = [sql.split()[0] for sql in statements if not sql.startswith("BEGIN")]
    beginning = ["UPDATE", "SELECT", "INSERT", count, "INSERT"]
    assert asked[: len(beginning)] == beginning, "the session is held, all stands well, the app takes part, and the family"
    statements.clear()
    world.refresh(client, given.refresh_token)
    asked = [sql.split()[0] for sql in statements if not sql.startswith("BEGIN")]
    assert asked[:3] == ["UPDATE", "SELECT", "SELECT"], "the family, the session, and whether all stands well"


def test_lists_follow_each_other_and_those_beyond_are_not_there(world: World) -> None:
    client, sid = world.add_client(), world.sign_in()
    first = world.allow(client, sid)
    assert world.get("/status/1").status_code == 404
    with world.provider.database.writing() as tx:
        if world.provider.database.dialect == "postgresql":
            tx.execute(text("SELECT setval('token_family_indices', 65534)"))
        else:
            tx.execute(text("UPDATE status_count SET given = 65535"))
    last, next_ = world.allow(client, sid), world.allow(client, sid)
    assert reference(last.access_token)[0] == f"{ISSUER}/status/0"
    assert reference(next_.access_token)[0] == f"{ISSUER}/status/1"
    assert world.status(next_) == VALID  # at once: its token is out already
    assert world.list(1).not_valid == {}
    end_family(world, next_)
    assert world.later(next_) == INVALID
    assert (world.status(last), world.list(0).not_valid) == (VALID, {})
    assert world.get("/status/2").status_code == 404
    assert world.get("/status").json == {"status_lists": [f"{ISSUER}/status/0", f"{ISSUER}/status/1"]}
    assert reference(first.access_token) == (f"{ISSUER}/status/0", first.family.status_index)


def test_tokens_say_nothing_of_lists_unless_it_is_switched_on(world: World) -> None:
    other = world.another(signals_status_list=False)
    given = other.allow(other.add_client(), other.sign_in())
    with pytest.raises(KeyError):
        reference(given.access_token)
    for path in ("/status", "/status/0"):
        assert other.get(path).status_code == 404
    assert "status_list_aggregation_endpoint" not in other.get("/.well-known/openid-configuration").json
    # Switched on later, what was given before has its place.
    client = world.provider.clients.find(given.family.client_id)
    assert client is not None
    assert world.status(world.refresh(client, given.refresh_token)) == VALID


def test_a_token_for_a_client_itself_has_no_place(world: World) -> None:
    client = world.add_client()
    with world.provider.database.writing() as tx:
        token = TokenIssuer(world.provider.tokens).client_access_token(tx, client, "").text
    with pytest.raises(KeyError):
        reference(token)


def test_the_absolute_timeout_counts_though_the_session_is_used(world: World) -> None:
    client, sid = world.add_client(), world.sign_in()
    while world.clock.now < EPOCH + ABSOLUTE - IDLE:
        world.clock.now += IDLE / 2
        with world.provider.database.writing() as tx:
            assert world.provider.sessions.hold(tx, sid) is not None
    world.clock.now = EPOCH + ABSOLUTE - IDLE / 2
    with world.provider.database.writing() as tx:
        assert world.provider.sessions.hold(tx, sid) is not None
    world.clock.now = EPOCH + ABSOLUTE - 10
    given = world.allow(client, sid)
    assert world.status(given) == VALID
    assert world.later(given) == INVALID
