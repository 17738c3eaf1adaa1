"""Keys on both databases, under a clock that is moved by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idp.keys import keyring
from idp.keys.keyring import PublicJwk
from idp.keys.models import SigningKeyRow
from idp.keys.rules import KeyPolicy
from idp.keys.service import KeyService
from idp.runtime.database import Database
from idp.runtime.secrets import Secrets
from tests.keys.grounds import DATABASES, EPOCH, Clock, database_for, empty

SECRET = b"the secret of this deployment, long enough"
POLICY = KeyPolicy(rotation_period=86_400, max_age=300, clock_skew=60, longest_life=600)
BITS = 2048


@pytest.fixture(scope="session")
def pool() -> list[tuple[PublicJwk, bytes]]:
    """RSA keys, made once: making one takes a third of a second."""
    return [keyring.generate(BITS, "RS256") for _ in range(8)]


@pytest.fixture(autouse=True)
def prepared_keys(pool: list[tuple[PublicJwk, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is given the same keys in the same order, and new ones when these are used up."""
    left, generate = list(pool), keyring.generate

    def take(bits: int, alg: str) -> tuple[PublicJwk, bytes]:
        if (bits, alg) != (BITS, "RS256"):
            return generate(bits, alg)
        try:
            return left.pop()
        except IndexError:
            return generate(bits, alg)

    monkeypatch.setattr(keyring, "generate", take)


@pytest.fixture(scope="session")
def _clock() -> Clock:
    return Clock()


@pytest.fixture
def clock(_clock: Clock) -> Clock:
    """The time; every test begins at the same."""
    _clock.now = EPOCH
    return _clock


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the SQLite file is."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="session", params=DATABASES)
def _database(request: pytest.FixtureRequest, folder: Path, _clock: Clock) -> Iterator[Database]:
    with database_for(request, folder, _clock, [SigningKeyRow]) as made:
        yield made


@pytest.fixture
def database(_database: Database, clock: Clock) -> Database:
    """A database without a key."""
    empty(_database, [SigningKeyRow])
    return _database


@pytest.fixture
def instance(database: Database) -> Callable[..., KeyService]:
    """Another instance of the provider on the same database."""
    return lambda secret=SECRET, *more: KeyService(database, Secrets((secret, *more)), POLICY, BITS)


@pytest.fixture
def keys(instance: Callable[..., KeyService]) -> KeyService:
    made = instance()
    made.keep_up()
    return made
