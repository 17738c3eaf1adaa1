"""Flows walk as a relying party, over real HTTP, against `idp serve` on both databases."""

from collections.abc import Iterator

import pytest

from tests.support.browsing import Person
from tests.support.databases import DIALECTS
from tests.support.relying_party import Receiver
from tests.support.serving import Providers, RunningProvider

PEOPLE = ("alice", "bob")


@pytest.fixture(scope="session", params=DIALECTS)
def provider(request: pytest.FixtureRequest, providers: Providers) -> RunningProvider:
    """One running provider for each database, with Alice and Bob."""
    return providers("flows", request.param, people=PEOPLE)


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
