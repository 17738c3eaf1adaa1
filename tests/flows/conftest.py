"""Flows walk as a relying party, over real HTTP, against `idp serve` on both databases."""

from collections.abc import Iterator

import pytest

from tests.support.browsing import Person
from tests.support.relying_party import Receiver
from tests.support.serving import RunningProvider

PEOPLE = ("alice", "bob")


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProvider]:
    """One running provider for each database, with Alice and Bob."""
    url = request.getfixturevalue("postgres_databases")() if request.param == "postgresql" else ""
    running = RunningProvider(tmp_path_factory.mktemp("provider"), url)
    try:
        running.start()
        for name in PEOPLE:
            running.add_user(name)
        yield running
    finally:
        running.close()


@pytest.fixture
def person(provider: RunningProvider) -> Iterator[Person]:
    """Somebody whose browser has never been here."""
    somebody = Person(provider.issuer)
    yield somebody
    somebody.http.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A back-channel logout endpoint that answers 200."""
    listening = Receiver()
    yield listening
    listening.close()
