"""Tokens on both databases, with the rooms below them, under a clock that is moved by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from idp.clients.models import ClientOriginRow, ClientRow
from idp.clients.rules import Client
from idp.clients.service import ClientService
from idp.keys.models import SigningKeyRow
from idp.keys.rules import KeyPolicy
from idp.keys.service import KeyService
from idp.runtime.database import Database
from idp.runtime.secrets import Secrets
from idp.sessions.models import SessionClientRow, SessionClosingRow, SessionRow
from idp.sessions.rules import SessionPolicy, SignIn
from idp.sessions.service import SessionService
from idp.tokens import store
from idp.tokens.issuing import TokenIssuer
from idp.tokens.models import (
    EndedTokenRow,
    FamilyClosingRow,
    FamilyRow,
    PairwiseSubjectRow,
    StatusCountRow,
    StatusListRow,
)
from idp.tokens.rules import Authorization, Family, TokenPolicy
from idp.tokens.service import TokenService
from tests.keys.grounds import DATABASES, EPOCH, Clock, database_for, empty

ISSUER = "https://idp.example"
SECRET = b"the secret of this deployment, long enough"
POLICY = TokenPolicy(ISSUER, 300, 600, 30 * 86_400, 60)
SESSIONS = SessionPolicy(idle_timeout=7200, absolute_timeout=43_200)
#: One key for the whole run: rotation is tested in `tests/keys`.
KEYS = KeyPolicy(rotation_period=10**9, max_age=300, clock_skew=60, longest_life=600)
MODELS = (
    ClientRow,
    ClientOriginRow,
    SigningKeyRow,
    SessionRow,
    SessionClientRow,
    SessionClosingRow,
    FamilyRow,
    FamilyClosingRow,
    StatusListRow,
    StatusCountRow,
    EndedTokenRow,
    PairwiseSubjectRow,
)


@dataclass
class World:
    """One deployment below `grants`, and what a grant would do with it."""

    database: Database
    clock: Clock
    secrets: Secrets
    keys: KeyService
    clients: ClientService
    sessions: SessionService
    tokens: TokenService

    @property
    def issuer(self) -> TokenIssuer:
        """What the door would sign with. What the door decides is tested in tests/issuing."""
        return TokenIssuer(self.tokens)

    def add_client(self, **metadata: object) -> Client:
        whole: dict[str, object] = {
            "redirect_uris": ["https://app.example/cb"],
            "grant_types": ["authorization_code", "refresh_token"],
        }
        with self.database.writing() as tx:
            return self.clients.add(tx, whole | metadata).client

    def sign_in(self, subject: str = "alice") -> str:
        """A new session; its `sid`."""
        with self.database.writing() as tx:
            return self.sessions.start(tx, SignIn(subject, "pwd", "127.0.0.1", "test")).session.sid

    def use(self, sid: str) -> None:
        with self.database.writing() as tx:
            assert self.sessions.hold(tx, sid) is not None

    def allow(self, client: Client, sid: str | None, *, scope: str = "openid", offline: bool = False) -> tuple[Family, str]:
        """A family and its first refresh token."""
        given = Authorization(client.client_id, "alice", sid, scope, offline, self.clock.now, "1", "pwd")
        with self.database.writing() as tx:
            family, token = self.issuer.start_family(tx, self.issuer.new_family_id(), given, refreshable=True)
        assert token is not None
        return family, token

    def rotate(self, client: Client, token: str) -> str:
        """Spend a refresh token as `/token` does; the successor."""
        with self.database.writing() as tx:
            return self.issuer.rotate(tx, client, token)[1]

    def access_token(self, client: Client, family: Family, scope: str = "openid") -> str:
        with self.database.writing() as tx:
            return self.issuer.access_token(tx, client, family, scope).text

    def stored(self, family: Family) -> Family:
        with self.database.reading() as tx:
            found = store.by_id(tx, family.family_id)
        assert found is not None
        return found

    def with_secrets(self, *roots: bytes) -> "World":
        """The same deployment after its secret was changed."""
        changed = Secrets(roots)
        tokens = TokenService(POLICY, self.keys, self.clients, self.sessions, changed)
        return replace(self, secrets=changed, tokens=tokens)


@pytest.fixture(scope="session")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session", params=DATABASES)
def _world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _clock: Clock) -> Iterator[World]:
    _clock.now = EPOCH  # the tests on another database may have moved it, and keys begin when they are made
    with database_for(request, tmp_path_factory.mktemp("tokens"), _clock, MODELS) as database:
        secrets = Secrets((SECRET,))
        keys = KeyService(database, secrets, KEYS, 2048)
        keys.keep_up()
        clients = ClientService(database, cache_seconds=0, loopback_http=False)
        sessions = SessionService(database, SESSIONS, secrets)
        tokens = TokenService(POLICY, keys, clients, sessions, secrets)
        yield World(database, _clock, secrets, keys, clients, sessions, tokens)


@pytest.fixture
def world(_world: World) -> World:
    """A deployment in which nobody is signed in, at the same moment for every test. Its keys stay."""
    _world.clock.now = EPOCH
    empty(_world.database, [model for model in MODELS if model is not SigningKeyRow])
    return _world


@pytest.fixture
def client(world: World) -> Client:
    """A confidential client that may refresh."""
    return world.add_client()
