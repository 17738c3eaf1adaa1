"""Deployments of each test's own, on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.keys.grounds import Clock
from tests.sessions.deployment import Deployment
from tests.support.databases import DIALECTS, migrated


@pytest.fixture(params=DIALECTS)
def deploy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Starts a deployment with settings of the test's own."""
    built: list[Deployment] = []

    def start(**settings: object) -> Deployment:
        built.append(Deployment.build(migrated(request, tmp_path), Clock(), **settings))
        return built[-1]

    yield start
    for each in built:
        each.close()


@pytest.fixture
def deployment(deploy: Callable[..., Deployment]) -> Deployment:
    """A deployment as it is by default."""
    return deploy()
