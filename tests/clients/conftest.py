"""Deployments with dynamic registration, one of each kind for each database."""

from collections.abc import Iterator

import pytest

from tests.clients.registering import World
from tests.support.databases import DIALECTS


def _world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, **settings: object) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("registering")
    url = (
        f"sqlite:///{folder / 'idp.sqlite3'}" if request.param == "sqlite" else request.getfixturevalue("postgres_databases")()
    )
    world = World.build(url, **settings)
    yield world
    world.provider.database.dispose()


@pytest.fixture(scope="module", params=DIALECTS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Registration is open."""
    yield from _world(request, tmp_path_factory, clients_registration_hourly=100_000)


@pytest.fixture(scope="module", params=DIALECTS)
def by_token(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Registration needs an initial access token."""
    yield from _world(request, tmp_path_factory, clients_registration="token")


@pytest.fixture(scope="module", params=DIALECTS)
def narrow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Registration is open, for few."""
    yield from _world(
        request,
        tmp_path_factory,
        clients_registration_hourly=5,
        clients_registration_limit=8,
        clients_registration_unused=86_400,
    )
