"""Against `idp serve` with status lists switched on: what ended is refused when the list says so, and nothing else is."""

from collections.abc import Iterator

import pytest

from idp.verifier import EndedTokenError, Guard, StatusList, Verifier
from tests.endings.world import World
from tests.support.databases import DIALECTS
from tests.support.serving import RunningProvider
from tests.verifier.conftest import until

TTL = 3


@pytest.fixture(scope="module", params=DIALECTS)
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    url = request.getfixturevalue("postgres_databases")() if request.param == "postgresql" else ""
    settings = {
        "SIGNALS_STATUS_LIST": "true",
        "SIGNALS_STATUS_TTL": str(TTL),
        "SECRET_KEY": "a test secret that is long enough",
    }
    running = RunningProvider(tmp_path_factory.mktemp("lists"), url, settings)
    try:
        yield running.start()
    finally:
        running.close()


def accepted(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except EndedTokenError:
        return False
    return True


def test_what_ended_is_refused_within_the_time_of_the_list_and_nothing_else(provider: RunningProvider) -> None:
    world = World.make(provider)
    app = world.one
    try:
        tokens = {name: tokens["access_token"] for name, tokens in world.tokens.items()}
        with Verifier(
            provider.issuer, provider.issuer, follow=StatusList(), credentials=app.auth, max_staleness=10.0
        ) as following:
            assert following.wait(20), following.state
            assert all(accepted(following, token) for token in tokens.values())
            guard, closed = Guard(following), set[str]()
            for name, token in tokens.items():
                guard.bind(following.verify(token), None, lambda _code, _reason, name=name: closed.add(name))
            provider.cli("session", "end", world.sids["one here"])
            assert world.one.revoke(tokens["one there"]).status_code == 200
            dead = {"one here", "two here", "one there"}
            until(lambda: {name for name, token in tokens.items() if not accepted(following, token)} == dead, 20)
            until(lambda: closed == {"one here", "two here"})
            guard.close()
            other = world.one.refresh(world.tokens["one there"]["refresh_token"]).json()["access_token"]
            assert accepted(following, other), "another token of the same family, about which the provider was asked"
            assert not following.is_stale
            assert following.state.problem == ""
    finally:
        world.close()
