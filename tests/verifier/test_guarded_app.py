"""A guarded app beside a real provider: every ending that a token can die of closes its open socket, and no other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import jwt
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.load.socket_app import AUDIENCE, App
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider
from tests.verifier.feeding import until


@dataclass
class Opened:
    """An open socket, and what it was opened with."""

    app: App
    party: RelyingParty
    tokens: dict[str, str]
    page: ClientConnection

    @classmethod
    def by(cls, app: App, party: RelyingParty) -> "Opened":
        tokens = replace(party).sign_in(Person(app.provider.issuer))
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        page = connect(f"ws://127.0.0.1:{app.port}", additional_headers=headers, proxy=None)
        return cls(app, party, tokens, page.__enter__())

    def refresh(self) -> None:
        self.tokens |= self.party.refresh(self.tokens["refresh_token"]).raise_for_status().json()

    def say(self, text: str) -> str:
        self.page.send(text)
        return str(self.page.recv(timeout=10))

    def closing(self) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as closed:
            self.page.recv(timeout=10)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason


def expiry(token: str) -> int:
    return int(jwt.decode(token, options={"verify_signature": False})["exp"])


def an_operator_ends_the_session(opened: Opened) -> None:
    sid = jwt.decode(opened.tokens["id_token"], options={"verify_signature": False})["sid"]
    opened.app.provider.cli("session", "end", sid)


def the_app_revokes_its_access_token(opened: Opened) -> None:
    assert opened.party.revoke(opened.tokens["access_token"]).status_code == 200


def the_app_revokes_its_refresh_token(opened: Opened) -> None:
    assert opened.party.revoke(opened.tokens["refresh_token"]).status_code == 200


def a_refresh_token_is_used_twice(opened: Opened) -> None:
    stolen = opened.tokens["refresh_token"]
    for _ in range(2):
        opened.refresh()
    assert opened.party.refresh(stolen).status_code == 400


def an_operator_removes_the_client(opened: Opened) -> None:
    opened.app.provider.cli("client", "remove", opened.party.client_id)


def the_person_signs_out_everywhere(opened: Opened) -> None:
    opened.app.provider.cli("user", "sign-out", "alice")


ENDINGS: list[Callable[[Opened], None]] = [
    an_operator_ends_the_session,
    the_app_revokes_its_access_token,
    the_app_revokes_its_refresh_token,
    a_refresh_token_is_used_twice,
    an_operator_removes_the_client,
    the_person_signs_out_everywhere,
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    settings = {"TOKENS_REFRESH_RETRY_WINDOW": "0"}
    provider = RunningProvider(tmp_path_factory.mktemp("provider"), settings=settings).start()
    try:
        for name in ("alice", "bob"):
            provider.add_user(name)
        running = App.start(provider)
        yield running
        running.close()
    finally:
        provider.close()


@pytest.fixture
def party(app: App) -> RelyingParty:
    """The app of a person, whose tokens are for the guarded one."""
    return RelyingParty.register(app.provider, resources=[AUDIENCE])


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_what_ends_the_token_closes_the_socket(app: App, party: RelyingParty, ending: Callable[[Opened], None]) -> None:
    opened = Opened.by(app, party)
    other = replace(app.party).sign_in(Person(app.provider.issuer), "bob")
    headers = {"Authorization": f"Bearer {other['access_token']}"}
    with opened.page, connect(f"ws://127.0.0.1:{app.port}", additional_headers=headers, proxy=None) as untouched:
        assert opened.say("hello") == "hello"
        ending(opened)
        assert opened.closing() == (4401, "The session has ended")
        untouched.send("still here")
        assert untouched.recv(timeout=10) == "still here"


def test_a_revoked_key_closes_what_it_opened_and_a_refresh_opens_it_again(app: App, party: RelyingParty) -> None:
    first, second = Opened.by(app, party), Opened.by(app, party)
    kid = jwt.get_unverified_header(first.tokens["access_token"])["kid"]
    with first.page, second.page:
        app.provider.cli("key", "revoke", kid, "--reason", "test")
        assert first.closing() == second.closing() == (4401, "The session has ended")
        first.refresh()
        assert jwt.get_unverified_header(first.tokens["access_token"])["kid"] != kid
        headers = {"Authorization": f"Bearer {first.tokens['access_token']}"}
        with connect(f"ws://127.0.0.1:{app.port}", additional_headers=headers, proxy=None) as again:
            again.send("hello")
            assert again.recv(timeout=10) == "hello"


def test_a_revoked_token_spares_the_socket_that_has_a_newer_one(app: App, party: RelyingParty) -> None:
    opened = Opened.by(app, party)
    older = opened.tokens["access_token"]
    with opened.page:
        while expiry(opened.tokens["access_token"]) == expiry(older):  # of one second, the last that is brought counts
            opened.refresh()
        assert opened.say(opened.tokens["access_token"]) == "extended"
        assert party.revoke(older).status_code == 200
        until(lambda: opened.say(older).startswith("EndedTokenError"))
        assert opened.say("still here") == "still here"
