"""How a status list is served: what it says of its own age, what may be kept, and what strangers can make of it."""

import gzip
import threading
from collections.abc import Iterator

import jwt
import pytest
from sqlalchemy import event

from idp.keys.signer import SigningUnavailableError
from idp.logout.rules import Reason
from tests.keys.grounds import EPOCH
from tests.signals.status_world import ISSUER, TTL, World, world
from tests.support.status_lists import StatusList, reference

__all__ = ["world"]

JWT_LIST = "application/statuslist+jwt"


@pytest.fixture
def statements(world: World) -> Iterator[list[str]]:
    """What the database is asked."""
    asked: list[str] = []
    event.listen(world.provider.database.engine, "before_cursor_execute", lambda _c, _cur, sql, *_: asked.append(sql))
    yield asked


def end_everything(world: World) -> None:
    with world.provider.database.writing() as tx:
        world.provider.logout.end_account(tx, "alice", Reason.ACCOUNT_DISABLED)


# -- what it says ---------------------------------------------------------------------------------------------------------


def test_a_list_says_what_the_specification_asks_for(world: World) -> None:
    response = world.get("/status/0", Accept=JWT_LIST)
    assert response.status_code == 200
    assert response.content_type == JWT_LIST
    header = jwt.get_unverified_header(response.text)
    assert header == {"alg": "RS256", "kid": header["kid"], "typ": "statuslist+jwt"}
    claims = dict(StatusList.verified(response.text, world.jwks(), f"{ISSUER}/status/0").claims)
    inside = claims.pop("status_list")
    uri = f"{ISSUER}/status/0"
    assert claims == {"iss": ISSUER, "sub": uri, "iat": EPOCH, "exp": EPOCH + 2 * TTL + 1, "ttl": TTL}
    assert inside == {"bits": 2, "lst": inside["lst"], "aggregation_uri": f"{ISSUER}/status"}


def test_a_list_that_was_fetched_at_its_end_may_be_kept_for_another_ttl(world: World) -> None:
    world.clock.now += 0.9
    first = world.get("/status/0").text
    world.clock.now += TTL - 0.001
    fetched = world.get("/status/0").text
    assert fetched == first
    claims = StatusList.verified(fetched, world.jwks(), f"{ISSUER}/status/0").claims
    assert world.clock.now + claims["ttl"] <= claims["exp"] <= world.clock.now + claims["ttl"] + 1


def test_a_list_without_an_entry_is_all_valid_and_tells_nobody_how_many_there_are(world: World) -> None:
    empty = world.list()
    assert (len(empty), empty.not_valid) == (65_536, {})
    world.allow(world.add_client(), world.sign_in())
    world.clock.now += TTL
    assert world.list().array == empty.array


def test_discovery_names_the_aggregation_and_the_aggregation_names_every_list(world: World) -> None:
    announced = world.get("/.well-known/openid-configuration").json["status_list_aggregation_endpoint"]
    assert announced == f"{ISSUER}/status"
    response = world.get("/status")
    assert response.content_type == "application/json"
    assert response.json == {"status_lists": [f"{ISSUER}/status/0"]}
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert world.get("/status", Accept=JWT_LIST).status_code == 406


# -- how old it may be ----------------------------------------------------------------------------------------------------


def test_one_look_serves_every_list_for_a_ttl_and_no_longer(world: World, statements: list[str]) -> None:
    given = world.allow(world.add_client(), world.sign_in())
    first = world.get("/status/0").text
    end_everything(world)
    statements.clear()
    world.clock.now = EPOCH + TTL - 0.001
    assert world.get("/status/0").text == first
    world.get("/status")
    assert statements == []
    world.clock.now = EPOCH + TTL
    assert world.status(given) == 1
    assert len([sql for sql in statements if sql.startswith("SELECT")]) <= 9


def test_what_may_be_kept_is_what_is_left_of_the_ttl(world: World) -> None:
    for age, left in ((0, 15), (0.5, 14), (9, 6), (14.9, 0)):
        world.clock.now = EPOCH + age
        assert world.get("/status/0").headers["Cache-Control"] == f"public, max-age={left}, must-revalidate"
        assert world.get("/status").headers["Cache-Control"] == f"public, max-age={left}, must-revalidate"


@pytest.mark.parametrize("jump", [-1.0, -30.0, 100.0])
def test_a_clock_that_jumps_makes_no_list_live_longer(world: World, jump: float) -> None:
    given = world.allow(world.add_client(), world.sign_in())
    assert world.status(given) == 0
    end_everything(world)
    world.clock.now += jump
    assert world.status(given) == 1


def test_a_clock_that_creeps_back_makes_no_list_live_longer(world: World) -> None:
    given = world.allow(world.add_client(), world.sign_in())
    world.clock.now += 1
    assert world.status(given) == 0
    end_everything(world)
    world.passed.now += TTL
    assert world.status(given) == 1


def test_every_process_keeps_the_promise_by_itself(world: World) -> None:
    given = world.allow(world.add_client(), world.sign_in())
    others = [world.another() for _ in range(2)]
    assert [each.status(given) for each in (world, *others)] == [0, 0, 0]
    end_everything(others[1])
    world.clock.now += TTL
    assert [each.status(given) for each in (world, *others)] == [1, 1, 1]


def test_a_list_that_is_too_old_is_not_served_when_the_database_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.get("/status/0").status_code == 200
    monkeypatch.setattr(world.provider.tokens, "statuses", lambda _tx: 1 / 0)
    assert world.get("/status/0").status_code == 200
    world.clock.now += TTL
    assert world.get("/status/0").status_code == 500


def test_a_key_that_cannot_sign_is_said_to_be_for_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> str:
        raise SigningUnavailableError("the HSM is away")

    monkeypatch.setattr(world.provider.keys, "sign", unavailable)
    response = world.get("/status/0")
    assert (response.status_code, response.json["error"]) == (503, "temporarily_unavailable")
    assert response.headers["Retry-After"] == "5"


def test_a_list_is_signed_anew_at_once_when_its_key_is_revoked(world: World) -> None:
    before = world.get("/status/0").text
    kid = jwt.get_unverified_header(before)["kid"]
    with world.provider.database.writing() as tx:
        world.provider.logout.end_key(tx, kid, "a test", None)
    world.provider.keys.keep_up()
    after = world.get("/status/0").text
    assert jwt.get_unverified_header(after)["kid"] != kid
    assert StatusList.verified(after, world.jwks(), f"{ISSUER}/status/0").not_valid == {}


def test_a_key_is_published_for_as_long_as_a_list_that_it_signed(world: World) -> None:
    slow = world.another(signals_status_ttl=3600)
    assert slow.provider.keys.policy.longest_life == 7201
    assert world.provider.keys.policy.longest_life == 600


def test_many_at_once_make_one_look(world: World, statements: list[str]) -> None:
    together, bodies = threading.Barrier(8), []

    def ask() -> None:
        together.wait()
        found = world.provider.status_lists.get(0)
        assert found is not None
        bodies.append(found[0].body)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(bodies) == 8
    assert len(set(bodies)) == 1
    assert len([sql for sql in statements if "status_count" in sql or "token_family_indices" in sql]) == 1


# -- over HTTP ------------------------------------------------------------------------------------------------------------


def test_an_unchanged_list_is_not_sent_again(world: World) -> None:
    first = world.get("/status/0")
    again = world.get("/status/0", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    assert again.headers["Access-Control-Allow-Origin"] == "*"
    world.clock.now += TTL
    assert world.get("/status/0", **{"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_a_list_is_compressed_for_who_takes_it(world: World) -> None:
    plain, zipped = world.get("/status/0"), world.get("/status/0", **{"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.data) == plain.data
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    for answer in (plain, zipped):
        assert set(answer.headers["Vary"].split(", ")) >= {"Accept", "Accept-Encoding"}


def test_whoever_takes_a_jwt_gets_one(world: World) -> None:
    for accept in [
        "",
        JWT_LIST,
        "application/*",
        "*/*",
        "text/html, */*;q=0.1",
        f"application/statuslist+cwt, {JWT_LIST};q=0.5",
    ]:
        response = world.get("/status/0", Accept=accept)
        assert (response.status_code, response.content_type) == (200, JWT_LIST), accept


def test_whoever_takes_something_else_is_told_so(world: World) -> None:
    for accept in ["application/statuslist+cwt", "application/json", "text/html", f"{JWT_LIST};q=0"]:
        response = world.get("/status/0", Accept=accept)
        assert (response.status_code, response.json["error"]) == (406, "invalid_request"), accept


def test_history_is_not_shown(world: World) -> None:
    for time in (str(int(EPOCH)), "0", "", "x"):
        assert world.get(f"/status/0?time={time}").status_code == 501
    assert world.get("/status/0?else=1").status_code == 200


def test_any_page_may_read_a_list(world: World) -> None:
    response = world.get("/status/0", Origin="https://evil.example")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Set-Cookie" not in response.headers
    preflight = world.web.options("/status/0", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Headers"] == "*, Authorization"
    assert world.get("/status/7", Origin="https://evil.example").headers["Access-Control-Allow-Origin"] == "*"


def test_head_is_get_without_a_body(world: World) -> None:
    response = world.web.head("/status/0")
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["ETag"] == world.get("/status/0").headers["ETag"]


# -- attacks --------------------------------------------------------------------------------------------------------------

NO_LISTS = [
    "-1",
    "+0",
    "00",
    "01",
    "0.0",
    "0x0",
    "1e0",
    "%200",
    "0%20",
    "0%00",
    "0%0a",
    "%D9%A0",
    "%EF%BC%90",
    "1",
    "65536",
    "9999999999999",
    "9" * 40,
    "9" * 5000,
    "0/",
    "0/0",
    "0%2f0",
    "%2e%2e",
    "../jwks",
    "0;a",
    "0,1",
    "",
    "None",
    "0'--",
]


def test_what_is_no_list_is_not_there(world: World) -> None:
    for number in NO_LISTS:
        response = world.get(f"/status/{number}")
        assert (response.status_code, response.json["error"]) == (404, "not_found"), number


def test_strangers_who_ask_for_lists_that_are_not_there_cost_one_look_at_an_index(world: World, statements: list[str]) -> None:
    world.get("/status/0")
    statements.clear()
    world.get(f"/status/{10**12}")
    asked = [sql for sql in statements if "SELECT" in sql]
    assert len(asked) == 1
    assert "status_count" in asked[0] or "token_family_indices" in asked[0]


def test_nobody_writes_to_a_list(world: World) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert world.web.open("/status/0", method=method, data=b"x").status_code == 405


def test_a_list_holds_nothing_but_bits(world: World) -> None:
    """No name of a person, client, session, family or token stands in a list, nor in what an access token says of it."""
    client = world.add_client()
    given = world.allow(client, world.sign_in())
    end_everything(world)
    world.clock.now += TTL
    token = world.get("/status/0").text
    said = jwt.decode(token, options={"verify_signature": False, "verify_exp": False, "verify_iat": False})
    for secret in (client.client_id, given.family.family_id, str(given.family.sid), "alice", "account_disabled"):
        assert secret not in str(said)
    assert set(said) == {"iss", "sub", "iat", "exp", "ttl", "status_list"}
    claims = jwt.decode(given.access_token, options={"verify_signature": False})
    assert set(claims["status"]) == {"status_list"}
    assert set(claims["status"]["status_list"]) == {"idx", "uri"}


def test_a_status_list_is_no_access_token_and_an_access_token_no_list(world: World) -> None:
    token = world.get("/status/0").text
    with world.provider.database.reading() as tx:
        assert world.provider.tokens.live_access_token(tx, token) is None
        assert world.provider.tokens.id_token_hint(tx, token) is None
    given = world.allow(world.add_client(), world.sign_in())
    with pytest.raises(AssertionError):
        StatusList.verified(given.access_token, world.jwks(), reference(given.access_token)[0])


def test_a_forged_host_changes_no_address_in_a_list(world: World) -> None:
    world.get("/status", Host="evil.example")
    assert world.get("/status", Host="evil.example").json == {"status_lists": [f"{ISSUER}/status/0"]}
    assert world.list().claims["sub"] == f"{ISSUER}/status/0"
