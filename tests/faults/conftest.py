"""A provider of its own for every test here: it is going to be killed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.parties import LateReceiver
from tests.support.serving import RunningProvider


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningProvider]:
    """A deployment with Alice, served by two workers."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    # Short, so that what was in flight when a process died is taken over soon.
    running = RunningProvider(tmp_path, url, {"WORKERS": "2", "DELIVERY_TIMEOUT": "1"})
    try:
        running.start().add_user()
        yield running
    finally:
        running.kill()
        running.services.database.dispose()


@pytest.fixture
def late() -> Iterator[Callable[[], LateReceiver]]:
    """Makes relying parties that are down."""
    made: list[LateReceiver] = []

    def make() -> LateReceiver:
        made.append(LateReceiver())
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()
