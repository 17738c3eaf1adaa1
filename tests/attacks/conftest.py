"""Attacks go over real HTTP against `idp serve` on both databases, and against nothing that other tests use."""

from collections.abc import Iterator

import pytest

from tests.flows.conftest import PEOPLE, person, receiver
from tests.sessions.conftest import deploy, deployment
from tests.support.browsing import Person
from tests.support.databases import DIALECTS
from tests.support.relying_party import RelyingParty
from tests.support.serving import Providers, RunningProvider

__all__ = ["deploy", "deployment", "person", "receiver"]

#: For what no database has a part in.
ON_ONE_DATABASE = pytest.mark.one_database
PASSWORD = "correct horse battery staple"
#: Attacks fail to sign in more often than people do.
SETTINGS = {
    "SECRET_KEY": "a test secret that is long enough: really",
    "ACCOUNTS_THROTTLE_ADDRESS_FAILURES": "1000000",
    "ACCOUNTS_THROTTLE_ACCOUNT_FAILURES": "1000000",
    "SIGNALS_LONGEST_WAIT": "1",  # a poll that is understood is answered all the same
}


@pytest.fixture(scope="session", params=DIALECTS)
def provider(request: pytest.FixtureRequest, providers: Providers) -> RunningProvider:
    """One running provider for each database, with Alice and Bob."""
    return providers("attacked", request.param, SETTINGS, PEOPLE)


@pytest.fixture(autouse=True)
def browsers_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every browser that a test opened is closed after it."""
    opened: list[Person] = []
    begin = Person.__init__

    def remembered(person: Person, home: str) -> None:
        begin(person, home)
        opened.append(person)

    monkeypatch.setattr(Person, "__init__", remembered)
    yield
    for each in opened:
        each.http.close()


@pytest.fixture(scope="session")
def app(provider: RunningProvider) -> RelyingParty:
    """A confidential first-party client, for attacks that leave it as it is."""
    return RelyingParty.register(provider)
