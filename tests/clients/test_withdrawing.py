"""A client's metadata is changed, by an operator or by itself: what it may have no more dies, and nothing else does."""

import json
from dataclasses import dataclass, field

import pytest
from sqlalchemy import event

from idp.clients.rules import Client
from idp.grants.service import Binding
from idp.sessions.rules import SignIn
from idp.tokens.issuing import TokenIssuer
from idp.tokens.rules import Authorization
from tests.clients.registering import METADATA, World
from tests.support.accounts import there_is

REDIRECT, OTHER = "https://app.example/callback", "https://app.example/other"
METADATA_OF_ALL = {
    "redirect_uris": [REDIRECT, OTHER],
    "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
    "scope": "openid profile email offline_access orders.read",
    "backchannel_logout_uri": "https://93.184.215.14/logout",
}


@dataclass
class Given:
    """A client with everything that one can be given: families with and without refresh, codes in flight, a token of its own."""

    world: World
    client: Client
    sid: str
    families: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    own: str = ""

    @classmethod
    def make(cls, world: World, metadata: dict[str, object]) -> "Given":
        provider = world.provider
        with provider.database.writing() as tx:
            client = provider.clients.add(tx, metadata).client
            sid = provider.sessions.start(tx, SignIn("alice", "pwd", "127.0.0.1", "test")).session.sid
            given = cls(world, client, sid)
            for name, scope, refreshable in (
                ("refreshable", "openid profile", True),
                ("with email", "openid email", True),
                ("without refresh", "openid profile", False),
            ):
                allowed = Authorization(client.client_id, "alice", sid, scope, False, tx.now, "1", "pwd")
                family, _ = TokenIssuer(provider.tokens).start_family(
                    tx, TokenIssuer(provider.tokens).new_family_id(), allowed, refreshable=refreshable
                )
                given.families[name] = family.family_id
            for name, uri, scope in (
                ("code", REDIRECT, "openid"),
                ("code there", OTHER, "openid"),
                ("code email", REDIRECT, "openid email"),
            ):
                allowed = Authorization(client.client_id, "alice", sid, scope, False, tx.now, "1", "pwd")
                given.codes[name] = provider.codes.issue(tx, sid, allowed, Binding(uri, None, None))
            session = provider.sessions.hold(tx, sid)
            assert session is not None
            provider.sessions.take_part(tx, session, client)
            if "client_credentials" in client.grant_types:
                given.own = TokenIssuer(provider.tokens).client_access_token(tx, client, "orders.read").text
        return given

    def change(self, **changes: object) -> dict[str, object]:
        """As `idp client set` does; what it says that ended."""
        provider = self.world.provider
        with provider.database.writing() as tx:
            sent = METADATA_OF_ALL | changes
            done = provider.clients.set_metadata(tx, self.client.client_id, {n: v for n, v in sent.items() if v is not None})
            assert done is not None
            before, registration = done
            return provider.logout.end_withdrawn(tx, before, registration.client).shown()

    def dead(self) -> set[str]:
        """The names of what is dead."""
        from idp.tokens import store

        provider = self.world.provider
        with provider.database.writing() as tx:
            dead = {name for name, each in self.families.items() if store.by_id(tx, each).ended_at is not None}
            dead |= {
                name for name, code in self.codes.items() if provider.codes.spend(tx, code, self.client.client_id, "f") is None
            }
            if self.own and provider.tokens.live_access_token(tx, self.own) is None:
                dead.add("own")
        return dead


EVERYTHING_OF_PEOPLE = {"refreshable", "with email", "without refresh", "code", "code there", "code email"}


@pytest.mark.parametrize(
    ("changes", "dead"),
    [
        ({}, set()),
        ({"client_name": "Another name", "contacts": ["ops@app.example"]}, set()),
        ({"redirect_uris": [REDIRECT, OTHER, "https://app.example/third"]}, set()),
        ({"scope": "openid profile email offline_access orders.read phone"}, set()),
        ({"backchannel_logout_uri": None}, set()),
        ({"token_endpoint_auth_method": "client_secret_post"}, set()),
        ({"first_party": True, "resources": ["https://api.example"]}, set()),
        ({"redirect_uris": [REDIRECT]}, {"code there"}),
        ({"scope": "openid profile offline_access orders.read"}, {"with email", "code email"}),
        ({"scope": "openid profile email offline_access"}, {"own"}),
        ({"grant_types": ["authorization_code", "client_credentials"]}, {"refreshable", "with email"}),
        ({"grant_types": ["authorization_code", "refresh_token"]}, {"own"}),
        ({"grant_types": ["client_credentials"], "redirect_uris": None, "response_types": []}, EVERYTHING_OF_PEOPLE),
        ({"subject_type": "pairwise"}, EVERYTHING_OF_PEOPLE),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_what_an_operator_withdraws_dies_and_nothing_else(world: World, changes: dict[str, object], dead: set[str]) -> None:
    given = Given.make(world, METADATA_OF_ALL)
    said = given.change(**changes)
    assert said["authorizations_ended"] == len(dead & set(given.families))
    assert said["codes_ended"] == len(dead & set(given.codes))
    assert given.dead() == dead


def test_where_people_get_other_names_the_app_is_told_by_those_that_it_knows(world: World) -> None:
    given = Given.make(world, METADATA_OF_ALL)
    provider = world.provider
    with provider.database.writing() as tx:
        told = provider.sessions.sid_for(tx, given.client, given.sid)
    assert told == given.sid
    assert given.change(subject_type="pairwise")["sessions_left"] == 1
    with provider.database.writing() as tx:
        (delivery,) = provider.deliveries.of_session(tx, given.sid)
        assert delivery.payload["sid"] == told
        assert provider.sessions.clients_of(tx, given.sid) == []
        client = provider.clients.get(tx, given.client.client_id)
        assert client is not None
        assert provider.sessions.sid_for(tx, client, given.sid) != told
        session = provider.sessions.get(tx, given.sid)
        assert session is not None
        assert session.ended_at is None


def test_the_scope_that_a_client_takes_from_itself_is_gone_from_what_it_was_given(world: World) -> None:
    """RFC 7592 §2.2: an update by the client is the same change, and has the same ends."""
    own = world.register(redirect_uris=[REDIRECT], scope="openid email", grant_types=["authorization_code", "refresh_token"])
    provider = world.provider
    with provider.database.writing() as tx:
        client = provider.clients.get(tx, own.client_id)
        assert client is not None
        there_is(tx, "alice")
        sid = provider.sessions.start(tx, SignIn("alice", "pwd", "127.0.0.1", "test")).session.sid
        allowed = Authorization(client.client_id, "alice", sid, "openid email", False, tx.now, "1", "pwd")
        _, refresh = TokenIssuer(provider.tokens).start_family(
            tx, TokenIssuer(provider.tokens).new_family_id(), allowed, refreshable=True
        )
    auth = (own.client_id, str(own.answer["client_secret"]))
    first = world.web.post("/token", data={"grant_type": "refresh_token", "refresh_token": refresh}, auth=auth)
    assert first.status_code == 200, first.text
    assert (
        own.put(redirect_uris=[REDIRECT], scope="openid", grant_types=["authorization_code", "refresh_token"]).status_code
        == 200
    )
    sent = {"grant_type": "refresh_token", "refresh_token": first.json["refresh_token"]}
    assert world.web.post("/token", data=sent, auth=auth).json["error"] == "invalid_grant"


def test_two_operators_at_once_do_not_undo_each_other(world: World) -> None:
    given = Given.make(world, METADATA_OF_ALL)
    from idp.clients import store

    with world.provider.database.writing() as tx:
        record = store.by_id(tx, given.client.client_id)
        assert record is not None
        assert given.world.provider.clients.set_metadata(tx, given.client.client_id, METADATA) is not None
        assert not store.set_metadata(tx, record, record.metadata, [])


def test_what_it_costs_that_a_client_leaves_does_not_grow_by_a_statement_for_each_person(world: World) -> None:
    """One writer's lock is held for all of it: with a question and an insert for each person, 10,000 held it for 5 s."""
    counts = [_statements_of_leaving(world, people) for people in (2, 8)]
    assert counts[0] == counts[1]


def _statements_of_leaving(world: World, people: int) -> int:
    provider = world.provider
    with provider.database.writing() as tx:
        client = provider.clients.add(tx, METADATA_OF_ALL).client
        for number in range(people):
            session = provider.sessions.start(tx, SignIn(f"person {number}", "pwd", "127.0.0.1", "test")).session
            provider.sessions.take_part(tx, session, client)
    with provider.database.writing() as tx:
        done = provider.clients.set_metadata(tx, client.client_id, METADATA_OF_ALL | {"subject_type": "pairwise"})
        assert done is not None
        asked: list[str] = []
        event.listen(tx.connection, "before_cursor_execute", lambda _c, _cur, sql, *_: asked.append(sql))
        ended = provider.logout.end_withdrawn(tx, done[0], done[1].client)
    assert ended.sessions == people
    return len(asked)
