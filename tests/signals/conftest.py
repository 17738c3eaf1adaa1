"""A running provider on each database, with Alice and Bob, and followers that are closed at the end."""

from collections.abc import Callable, Iterator

import pytest

from idp.runtime.paging import Page
from tests.flows.conftest import PEOPLE, person
from tests.signals.follower import Follower
from tests.signals.pushed import PushReceiver
from tests.support.databases import DIALECTS
from tests.support.relying_party import RelyingParty
from tests.support.serving import Providers, RunningProvider

__all__ = ["person"]

Follow = Callable[..., Follower]


@pytest.fixture(scope="session", params=DIALECTS)
def provider(request: pytest.FixtureRequest, providers: Providers) -> RunningProvider:
    """One running provider for each database, with Alice and Bob. Whoever follows here is in no other folder's way."""
    return providers("signals", request.param, people=PEOPLE)


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


@pytest.fixture
def receiver(provider: RunningProvider) -> Iterator[PushReceiver]:
    """Nothing waits for it afterwards."""
    listening = PushReceiver().open()
    yield listening
    end_streams(provider)
    listening.close()


def end_streams(provider: RunningProvider) -> None:
    """Nobody follows any more, and nothing is owed to anybody."""
    database, streams = provider.services.database, provider.services.streams
    with database.reading() as tx:
        every = streams.listed(tx, Page(10_000))
    for stream in every:
        with database.writing() as tx:
            streams.end(tx, stream.client_id, stream.stream_id)
