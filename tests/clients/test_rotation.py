"""Two secrets of one client, for a stated time: both open every endpoint, and the old one dies by the clock."""

import json

import pytest

from idp import app
from tests.clients.keys import claims, form, signed, with_secret
from tests.clients.registering import ISSUER, METADATA, World


def made(world: World, method: str = "client_secret_basic") -> tuple[str, str]:
    with world.provider.database.writing() as tx:
        answer = world.provider.clients.add(tx, METADATA | {"token_endpoint_auth_method": method}).response()
    return str(answer["client_id"]), str(answer["client_secret"])


def rotated(world: World, client_id: str, overlap: int = 3600) -> str:
    with world.provider.database.writing() as tx:
        client = world.provider.clients.get(tx, client_id)
        assert client is not None
        secret = world.provider.clients.rotate_secret(tx, client, overlap)
    assert secret is not None
    return secret


def opens(world: World, method: str, client_id: str, secret: str, web=None) -> bool:
    """Whether the secret authenticates, by the client's own method."""
    if method == "client_secret_basic":
        more = {"auth": (client_id, secret), "data": {"token": "x"}}
    elif method == "client_secret_post":
        more = {"data": {"token": "x", "client_id": client_id, "client_secret": secret}}
    else:
        now = int(world.clock.now)
        assertion = claims(client_id, ISSUER, iat=now, exp=now + 60)
        more = {"data": {"token": "x"} | form(signed(assertion, with_secret(secret), "HS256"))}
    answer = (web or world.web).post("/revoke", **more)
    assert answer.status_code in {200, 401}, answer.text
    return bool(answer.status_code == 200)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_both_secrets_count_until_the_old_one_dies_by_the_clock(world: World, method: str) -> None:
    client_id, old = made(world, method)
    new = rotated(world, client_id, 3600)
    assert new != old
    assert opens(world, method, client_id, old)
    assert opens(world, method, client_id, new)
    assert not opens(world, method, client_id, "x" * 64)
    world.clock.now += 3599
    assert opens(world, method, client_id, old)
    world.clock.now += 1
    assert not opens(world, method, client_id, old)
    assert opens(world, method, client_id, new)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_jwt"])
def test_without_an_overlap_the_old_one_dies_at_once(world: World, method: str) -> None:
    client_id, old = made(world, method)
    new = rotated(world, client_id, 0)
    assert not opens(world, method, client_id, old)
    assert opens(world, method, client_id, new)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_jwt"])
def test_a_second_rotation_leaves_the_last_two(world: World, method: str) -> None:
    client_id, first = made(world, method)
    second, third = rotated(world, client_id), rotated(world, client_id)
    assert [opens(world, method, client_id, each) for each in (first, second, third)] == [False, True, True]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_jwt"])
def test_a_process_that_remembers_the_client_takes_the_new_secret_at_once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, method: str
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('cached') / 'idp.sqlite3'}"
    one = World.build(url, clients_cache_seconds=3600)
    other = app.build(one.provider.settings, one.clock)
    other.keys.load()
    try:
        web = app.create_app(other).test_client()
        client_id, old = made(one, method)
        assert opens(one, method, client_id, old, web)  # it is remembered there now
        new = rotated(one, client_id)
        assert opens(one, method, client_id, new, web)
        assert opens(one, method, client_id, old, web)
    finally:
        one.provider.database.dispose()
        other.database.dispose()


def test_what_died_is_forgotten_and_what_lives_is_not(world: World) -> None:
    client_id, _ = made(world, "client_secret_jwt")
    rotated(world, client_id, 100)
    for passed, kept in ((99, True), (1, False)):
        world.clock.now += passed
        with world.provider.database.writing() as tx:
            world.provider.clients.tidy(tx)
            client = world.provider.clients.get(tx, client_id)
        assert client is not None
        assert [value is not None for value in (client.retiring_hash, client.retiring_sealed, client.retiring_until)] == [
            kept
        ] * 3


def test_both_sealed_secrets_move_to_another_secret_of_the_deployment(world: World) -> None:
    client_id, _ = made(world, "client_secret_jwt")
    rotated(world, client_id)
    keeper = world.provider.clients.secrets
    with world.provider.database.reading() as tx:
        assert keeper.under_an_older_secret(tx) == 0
    from dataclasses import replace

    keeper._own = replace(
        world.provider.secrets, roots=(b"another secret of this deployment, long", *world.provider.secrets.roots)
    )
    with world.provider.database.writing() as tx:
        older = keeper.under_an_older_secret(tx)
        assert older >= 2  # other tests' clients are there, too
        assert keeper.reseal(tx) == (older, older)
        assert keeper.under_an_older_secret(tx) == 0
        client = world.provider.clients.get(tx, client_id)
    assert client is not None
    assert len(keeper.of(client, world.clock.now)) == 2


def test_a_client_that_manages_itself_goes_on_with_its_rotated_secret(world: World) -> None:
    own = world.register()
    old = str(own.answer["client_secret"])
    new = rotated(world, own.client_id)
    answer = own.put(client_name="Another name")
    assert answer.status_code == 200
    assert "client_secret" not in answer.json
    assert opens(world, "client_secret_basic", own.client_id, new)
    assert opens(world, "client_secret_basic", own.client_id, old)
    assert own.put(answer.json["registration_access_token"], client_secret=new).status_code == 200


def test_another_method_of_authentication_leaves_no_secret_behind(world: World) -> None:
    own = world.register()
    rotated(world, own.client_id)
    assert own.put(token_endpoint_auth_method="none").status_code == 200
    with world.provider.database.reading() as tx:
        client = world.provider.clients.get(tx, own.client_id)
    assert client is not None
    assert (client.secret_hash, client.retiring_hash, client.retiring_until) == (None, None, None)


def test_neither_secret_nor_its_hash_stands_in_what_is_told_of_a_client(world: World) -> None:
    own = world.register()
    secrets = (str(own.answer["client_secret"]), rotated(world, own.client_id))
    told = json.dumps(own.get().json)
    assert not any(secret in told for secret in secrets)
    assert "retiring" not in told
