"""What is still true of a token that somebody presents, and what is told to whom (RFC 9068, RFC 7662, RFC 8725)."""

import pytest

from idp.clients import ending as clients_ending
from idp.clients.rules import Client
from idp.protocol.signatures import half_hash
from idp.sessions import ending as sessions_ending
from idp.tokens import ending, rules
from idp.tokens.introspection import INACTIVE, introspect
from idp.tokens.rules import LEEWAY
from tests.keys.grounds import EPOCH
from tests.tokens.conftest import ISSUER, POLICY, SESSIONS, World


def asked(world: World, client: Client, token: str) -> dict[str, object]:
    with world.database.reading() as tx:
        return introspect(tx, world.tokens, client, token)


def counts(world: World, token: str) -> bool:
    with world.database.reading() as tx:
        return world.tokens.live_access_token(tx, token) is not None


def id_token(world: World, client: Client, sid: str) -> str:
    family, _ = world.allow(client, sid)
    access = world.access_token(client, family)
    with world.database.writing() as tx:
        return world.issuer.id_token(tx, client, family, nonce="n", access_token=access)


def test_a_live_access_token_tells_its_claims_to_its_client(world: World, client: Client) -> None:
    sid = world.sign_in()
    family, _ = world.allow(client, sid)
    answer = asked(world, client, world.access_token(client, family))
    assert answer["active"] is True
    assert answer["token_type"] == "Bearer"
    assert (answer["iss"], answer["sub"], answer["sid"]) == (ISSUER, "alice", sid)
    assert (answer["iat"], answer["exp"]) == (EPOCH, EPOCH + POLICY.access_token_lifetime)
    assert answer["client_id"] == client.client_id
    assert str(answer["jti"]).startswith(family.family_id + ".")


def test_two_tokens_of_one_second_differ(world: World, client: Client) -> None:
    family, _ = world.allow(client, world.sign_in())
    assert world.access_token(client, family) != world.access_token(client, family)


def test_an_access_token_counts_until_its_very_second(world: World, client: Client) -> None:
    family, _ = world.allow(client, world.sign_in())
    token = world.access_token(client, family)
    world.clock.now = EPOCH + POLICY.access_token_lifetime - 0.001
    assert counts(world, token)
    world.clock.now = EPOCH + POLICY.access_token_lifetime
    assert not counts(world, token)
    assert asked(world, client, token) == INACTIVE


def test_the_end_of_the_session_is_seen_at_once(world: World, client: Client) -> None:
    sid = world.sign_in()
    family, refresh = world.allow(client, sid)
    offline, offline_refresh = world.allow(client, sid, offline=True)
    tokens = world.access_token(client, family), refresh
    kept = world.access_token(client, offline), offline_refresh
    assert all(asked(world, client, token)["active"] for token in (*tokens, *kept))
    with world.database.writing() as tx:
        assert sessions_ending.mark_ended(tx, sid, "test")  # even when the families were not marked
    for token in tokens:
        assert asked(world, client, token) == INACTIVE
    for token in kept:
        assert asked(world, client, token)["active"] is True
        assert "sid" not in asked(world, client, kept[0])


@pytest.mark.parametrize("seconds", [SESSIONS.idle_timeout, SESSIONS.absolute_timeout])
def test_a_session_that_ran_out_is_as_good_as_ended(world: World, client: Client, seconds: float) -> None:
    _, refresh = world.allow(client, world.sign_in())
    world.clock.now += seconds - 0.001 if seconds == SESSIONS.idle_timeout else seconds
    active = asked(world, client, refresh)["active"]
    assert active is (seconds == SESSIONS.idle_timeout)
    world.clock.now += 0.001
    assert asked(world, client, refresh) == INACTIVE


@pytest.mark.parametrize("way", ["too old", "idle"])
def test_an_access_token_does_not_outlive_its_session_for_those_who_verify_by_themselves(
    world: World, client: Client, way: str
) -> None:
    family, _ = world.allow(client, world.sign_in())
    over = EPOCH + (SESSIONS.absolute_timeout if way == "too old" else SESSIONS.idle_timeout)
    if way == "too old":
        while world.clock.now < over - SESSIONS.idle_timeout:
            world.clock.now += SESSIONS.idle_timeout - 1
            world.use(str(family.sid))
    world.clock.now = over - 100.5
    answer = asked(world, client, world.access_token(client, family))
    assert (answer["exp"], answer["active"]) == (over, True)
    assert answer["iat"] == over - 101


def test_what_is_allowed_offline_outlives_the_session(world: World, client: Client) -> None:
    family, _ = world.allow(client, world.sign_in(), offline=True)
    world.clock.now = EPOCH + SESSIONS.idle_timeout - 100
    assert asked(world, client, world.access_token(client, family))["exp"] == world.clock.now + POLICY.access_token_lifetime


def test_the_end_of_the_family_is_seen_at_once(world: World, client: Client) -> None:
    family, refresh = world.allow(client, world.sign_in())
    access = world.access_token(client, family)
    with world.database.writing() as tx:
        ending.end(tx, family.family_id, "test")
    assert asked(world, client, access) == asked(world, client, refresh) == INACTIVE


def test_one_access_token_may_be_ended_alone(world: World, client: Client) -> None:
    family, refresh = world.allow(client, world.sign_in())
    one, other = world.access_token(client, family), world.access_token(client, family)
    jti, expires = str(asked(world, client, one)["jti"]), float(str(asked(world, client, one)["exp"]))
    with world.database.writing() as tx:
        assert ending.end_token(tx, jti, expires)
        assert not ending.end_token(tx, jti, expires)
    assert asked(world, client, one) == INACTIVE
    assert asked(world, client, other)["active"] is True
    assert asked(world, client, refresh)["active"] is True


def test_what_is_known_of_ended_tokens_may_go_only_when_they_have_expired_by_every_clock(world: World, client: Client) -> None:
    family, _ = world.allow(client, world.sign_in())
    token = world.access_token(client, family)
    jti, expires = str(asked(world, client, token)["jti"]), float(str(asked(world, client, token)["exp"]))
    with world.database.writing() as tx:
        ending.end_token(tx, jti, expires)
    world.clock.now = expires + LEEWAY - 0.001
    with world.database.writing() as tx:
        assert world.tokens.tidy(tx) == 0
    assert asked(world, client, token) == INACTIVE
    world.clock.now = expires + LEEWAY
    with world.database.writing() as tx:
        assert world.tokens.tidy(tx) == 1
    assert asked(world, client, token) == INACTIVE


def test_the_removal_of_the_client_is_seen_at_once(world: World, client: Client) -> None:
    family, refresh = world.allow(client, world.sign_in())
    access = world.access_token(client, family)
    with world.database.writing() as tx:
        clients_ending.mark_removed(tx, client.client_id)
    assert not counts(world, access)
    assert asked(world, client, refresh) == INACTIVE


def test_only_the_live_refresh_token_of_a_line_is_active(world: World, client: Client) -> None:
    _, parent = world.allow(client, world.sign_in())
    child = world.rotate(client, parent)
    assert asked(world, client, parent) == INACTIVE
    assert asked(world, client, child)["active"] is True


def test_a_stranger_learns_nothing(world: World, client: Client) -> None:
    stranger = world.add_client(resources=["https://other.example/"])
    family, refresh = world.allow(client, world.sign_in())
    for token in (world.access_token(client, family), refresh, "garbage", "a.b.c", "", "."):
        assert asked(world, stranger, token) == {"active": False}


def test_a_resource_server_that_is_an_audience_may_ask(world: World) -> None:
    app = world.add_client(resources=["https://api.example/"])
    api = world.add_client(resources=["https://api.example/"])
    family, refresh = world.allow(app, world.sign_in())
    access = world.access_token(app, family)
    assert asked(world, api, access)["aud"] == [ISSUER, "https://api.example/"]
    assert asked(world, api, refresh) == INACTIVE


def test_a_client_that_calls_itself_the_issuer_learns_nothing_of_others(world: World, client: Client) -> None:
    """Every access token names the issuer as an audience (for `/userinfo`): that must open no door at `/introspect`."""
    nosy = world.add_client(resources=[ISSUER])
    family, _ = world.allow(client, world.sign_in())
    assert asked(world, nosy, world.access_token(client, family)) == INACTIVE


def test_an_id_token_is_no_access_token_and_an_access_token_no_hint(world: World) -> None:
    for typ in ("at+jwt", "JWT"):
        client = world.add_client(access_token_header_typ=typ)
        sid = world.sign_in()
        identity = id_token(world, client, sid)
        family, refresh = world.allow(client, sid)
        access = world.access_token(client, family)
        logout = world.keys.sign(
            "logout+jwt", {"iss": ISSUER, "aud": client.client_id, "jti": "x", "sid": sid}, world.clock.now
        )
        assert counts(world, access)
        assert not counts(world, identity)
        assert not counts(world, logout)
        assert not counts(world, refresh)
        assert asked(world, client, identity) == INACTIVE
        with world.database.reading() as tx:
            assert world.tokens.id_token_hint(tx, identity) is not None
            for other in (access, refresh, logout, "garbage", ""):
                assert world.tokens.id_token_hint(tx, other) is None


def test_an_access_token_of_the_other_header_type_is_refused(world: World, client: Client) -> None:
    family, _ = world.allow(client, world.sign_in())
    claims = rules.access_token_claims(
        POLICY,
        EPOCH,
        POLICY.access_token_lifetime,
        client_id=client.client_id,
        subject="alice",
        scope="openid",
        audience=(ISSUER,),
        token_id=f"{family.family_id}.x",
    )
    assert counts(world, world.keys.sign("at+jwt", claims, EPOCH))
    assert not counts(world, world.keys.sign("JWT", claims, EPOCH))


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "https://other.example"},
        {"aud": []},
        {"aud": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": EPOCH - 1},
        {"jti": None},
        {"jti": 1},
        {"jti": "unknown-family.x"},
        {"client_id": "unknown"},
        {"client_id": None},
        {"client_id": ["a"]},
    ],
)
def test_claims_that_are_not_those_of_our_access_tokens_do_not_count_though_we_signed_them(
    world: World, client: Client, change: dict[str, object]
) -> None:
    family, _ = world.allow(client, world.sign_in())
    claims = rules.access_token_claims(
        POLICY,
        EPOCH,
        POLICY.access_token_lifetime,
        client_id=client.client_id,
        subject="alice",
        scope="openid",
        audience=(ISSUER,),
        token_id=f"{family.family_id}.x",
    )
    changed = {name: value for name, value in (claims | change).items() if value is not None}
    assert not counts(world, world.keys.sign("at+jwt", changed, EPOCH))


def test_an_id_token_carries_what_relying_parties_index_by(world: World, client: Client) -> None:
    sid = world.sign_in()
    family, _ = world.allow(client, sid)
    access = world.access_token(client, family)
    with world.database.writing() as tx:
        claims = world.keys.verify(world.issuer.id_token(tx, client, family, nonce="n", access_token=access), "JWT", EPOCH)
    assert claims["sid"] == sid
    assert claims["at_hash"] == half_hash(access, "RS256")
    assert claims["aud"] == client.client_id
    assert claims["exp"] == EPOCH + POLICY.id_token_lifetime
    assert {"auth_time", "acr", "amr", "jti", "nonce"} <= set(claims)
    assert "client_id" not in claims
    assert "scope" not in claims


def test_a_hint_is_still_a_hint_when_it_has_expired(world: World, client: Client) -> None:
    token = id_token(world, client, world.sign_in())
    world.clock.now += 3 * 86_400
    with world.database.reading() as tx:
        claims = world.tokens.id_token_hint(tx, token)
    assert claims is not None
    assert claims["sub"] == "alice"


def test_a_token_for_a_client_itself_has_no_person_behind_it(world: World) -> None:
    machine = world.add_client(grant_types=["client_credentials"], response_types=[], scope="reports")
    with world.database.writing() as tx:
        token = world.issuer.client_access_token(tx, machine, "reports").text
    answer = asked(world, machine, token)
    assert answer["sub"] == machine.client_id
    assert "sid" not in answer
    assert "." not in str(answer["jti"])
    with world.database.reading() as tx:
        live = world.tokens.live_access_token(tx, token)
    assert live is not None
    assert live.family is None
