"""Every trigger kills all that it must, and nothing else: each cell of `matrix` over HTTP, on both databases."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.endings.hearing import named
from tests.endings.matrix import ACCESS, COLUMNS, DEAD, THINGS, read, status
from tests.endings.world import ANOTHER, PASSWORD, STATUS_TTL, World
from tests.signals.follower import Follower
from tests.support.databases import DIALECTS
from tests.support.serving import RunningProvider

#: Settings are the defaults: a day of idleness and thirty days in all would be too long for nobody.
LONG = 400 * 86_400


@pytest.fixture(scope="module", params=DIALECTS)
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """A provider of its own: one trigger kills a key."""
    url = request.getfixturevalue("postgres_databases")() if request.param == "postgresql" else ""
    settings = {
        "SECRET_KEY": "a test secret that is long enough",
        "SIGNALS_STATUS_LIST": "true",
        "SIGNALS_STATUS_TTL": str(STATUS_TTL),
    }
    running = RunningProvider(tmp_path_factory.mktemp("endings"), url, settings)
    try:
        yield running.start()
    finally:
        running.close()


def sign_out(world: World, **query: str) -> None:
    page = world.here.open("logout" + (f"?id_token_hint={query['hint']}" if query else ""))
    if page.main == "logout-page":
        page = world.here.submit(page, "logout-confirm")
    assert page.main == "logout-done", page.main


def sign_in_as_another(world: World) -> None:
    page = world.here.open(world.two.authorization_url(prompt="login"))
    assert "code" in world.here.sign_in(page, world.bob, PASSWORD).query


def sign_out_there(world: World) -> None:
    page = world.here.open("account")
    form = next(form for form in page.forms if form.action.endswith("/account/sign-out"))
    world.here.http.post(f"{world.provider.issuer}/account/sign-out", data=form.fields | {"sid": world.sids["one there"]})


def change_password(world: World) -> None:
    page = world.here.open("account/password")
    done = world.here.submit(page, "password-submit", password=PASSWORD, new_password=ANOTHER, new_password_again=ANOTHER)
    assert done.main == "account-page", done.texts


def withdraw(world: World) -> None:
    page = world.here.open("account/apps")
    world.here.submit(page, client_id=world.one.client_id)


def refresh_twice(world: World) -> None:
    """A token that is older than the one that was spent last: nobody who lost an answer sends that."""
    first = world.tokens["one here"]["refresh_token"]
    second = world.one.refresh(first).json()["refresh_token"]
    world.one.refresh(second)
    assert world.one.refresh(first).status_code == 400


def use_code_twice(world: World) -> None:
    assert world.one.redeem(world.spent, code_verifier=world.verifier_spent).status_code == 400


def revoke(world: World, kind: str) -> None:
    assert world.one.revoke(world.tokens["one here"][kind]).status_code == 200


def revoke_key(world: World) -> None:
    kid = next(key["kid"] for key in world.provider.json("key", "list") if key["state"] == "signing")
    world.in_the_shell("key", "revoke", kid, "--reason", "a test")
    until = time.monotonic() + 10
    while world.one.userinfo(world.tokens["one here"]["access_token"]).status_code != 401:
        assert time.monotonic() < until, "the server has not heard of it"
        time.sleep(0.05)


TRIGGERS: dict[str, Callable[[World], None]] = {
    "signing out at the provider": sign_out,
    "RP-initiated logout": lambda world: sign_out(world, hint=world.tokens["one here"]["id_token"]),
    "another person signing in at this browser": sign_in_as_another,
    "`idp session end`": lambda world: world.in_the_shell("session", "end", world.sids["one here"]),
    "idle timeout": lambda world: world.make_old("last_used_at", LONG),
    "absolute timeout": lambda world: world.make_old("expires_at", LONG),
    "account page: sign out there": sign_out_there,
    "account page: sign out others": lambda world: world.account_page("sign-out-others"),
    "account page: change the password": change_password,
    "account page: sign out everywhere": lambda world: world.account_page("sign-out-everywhere"),
    "`idp user sign-out`": lambda world: world.in_the_shell("user", "sign-out", world.alice),
    "`idp user set-password`": lambda world: world.in_the_shell(
        "user", "set-password", world.alice, "--password-stdin", stdin=ANOTHER + "\n"
    ),
    "`idp user disable`": lambda world: world.in_the_shell("user", "disable", world.alice),
    "`idp user remove`": lambda world: world.in_the_shell("user", "remove", world.alice),
    "account page: withdraw access": withdraw,
    "`idp client remove`": lambda world: world.in_the_shell("client", "remove", world.one.client_id),
    "refresh token used twice": refresh_twice,
    "code used twice": use_code_twice,
    "`/revoke` of a refresh token": partial(revoke, kind="refresh_token"),
    "`/revoke` of an access token": partial(revoke, kind="access_token"),
    "`idp key revoke`": revoke_key,
}


@pytest.fixture(scope="module")
def follower(provider: RunningProvider) -> Iterator[Follower]:
    """Somebody who verifies tokens locally."""
    made = Follower.of(provider)
    yield made
    made.close()


@pytest.mark.parametrize("trigger", DEAD)
def test_who_verifies_tokens_locally_hears_of_exactly_the_access_tokens_that_die(
    provider: RunningProvider, follower: Follower, trigger: str
) -> None:
    world = World.make(provider)
    try:
        while follower.follow():
            pass
        TRIGGERS[trigger](world)
        heard = follower.follow(wait=10)
    finally:
        world.close()
    tokens = {thing: world.tokens[name]["access_token"] for name, thing in ACCESS.items()}
    dead = {thing for thing, token in tokens.items() if any(named(claims, token) for claims in heard)}
    # What is allowed offline goes on under another key; the token that the revoked one signed does not.
    assert dead == (set(tokens) if trigger == "`idp key revoke`" else DEAD[trigger] & set(tokens))


@pytest.mark.parametrize("trigger", DEAD)
def test_all_that_must_die_dies_and_all_else_survives(provider: RunningProvider, trigger: str) -> None:
    world = World.make(provider)
    try:
        TRIGGERS[trigger](world)
        happened = time.monotonic()
        dead = world.look()
        listed = world.listed(happened)
    finally:
        world.close()
    assert listed == {name: status(trigger, thing) for name, thing in ACCESS.items()}
    assert {thing: thing in dead for thing in THINGS} == {thing: thing in DEAD[trigger] for thing in THINGS}


def test_before_anything_happens_everything_is_alive(provider: RunningProvider) -> None:
    world = World.make(provider)
    assert world.look() == set()
    world.close()


def test_every_trigger_is_tried() -> None:
    assert set(TRIGGERS) == set(DEAD)


def test_the_page_has_a_column_for_every_thing_and_a_word_for_each() -> None:
    things = [thing for words in COLUMNS.values() for thing in words.values()]
    assert sorted(things) == sorted(THINGS)


@pytest.mark.parametrize("change", [("| ends |", "| perhaps |"), ("| cause |", "| reason |"), ("| browser here |", "|")])
def test_a_table_that_cannot_be_understood_proves_nothing(change: tuple[str, str]) -> None:
    page = Path("docs/ending.md").read_text(encoding="utf-8")
    with pytest.raises((KeyError, ValueError)):
        read(page.replace(*change, 1))
