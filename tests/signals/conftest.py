"""A running provider on each database, with Alice and Bob, and followers that are closed at the end."""

from collections.abc import Callable, Iterator

import pytest

from tests.flows.conftest import person, provider
from tests.signals.follower import Follower
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

__all__ = ["person", "provider"]

Follow = Callable[..., Follower]


@pytest.fixture
def follow(provider: RunningProvider) -> Iterator[Follow]:
    """Makes followers."""
    made: list[Follower] = []

    def make(app: RelyingParty | None = None, **configuration: object) -> Follower:
        made.append(Follower.of(provider, app, **configuration))
        while made[-1].follow():  # what ended before it came, acknowledged
            pass
        made[-1].heard.clear()
        return made[-1]

    yield make
    for each in made:
        each.close()
