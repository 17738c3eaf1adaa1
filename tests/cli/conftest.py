"""A deployment that nobody serves: commands need no server."""

from collections.abc import Iterator

import pytest

from tests.cli.running import DONE, run
from tests.support.serving import RunningProvider


@pytest.fixture(params=["sqlite", "postgresql"])
def idp(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """An empty deployment on each database."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    deployment = RunningProvider(tmp_path_factory.mktemp("cli"), url)
    assert run(deployment, "migrate").code == DONE
    yield deployment
    deployment.close()


@pytest.fixture
def embedded(tmp_path_factory: pytest.TempPathFactory) -> RunningProvider:
    """A deployment on the embedded database, which does not exist yet."""
    return RunningProvider(tmp_path_factory.mktemp("embedded"))
