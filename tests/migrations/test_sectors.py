"""What was there before: clients that had the host of a private scheme or a loopback address as their sector."""

import json
from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import text

from idp.clients.rules import Client, ClientRecord
from idp.runtime import migrations
from idp.runtime.database import Database
from idp.tokens import store
from tests.migrations.databases import opened

#: By client: its redirect URIs, the sector that it had, and whether it keeps that.
CLIENTS = {
    "web": (["https://victim.example/cb"], "victim.example", True),
    "thief": (["com.evil.app://victim.example/cb"], "victim.example", False),
    "native-a": (["http://127.0.0.1/cb"], "127.0.0.1", False),
    "native-b": (["http://127.0.0.1:9000/cb"], "127.0.0.1", False),
    "named": (["com.example.app:/cb"], "sector.example", True),
}


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """As 0003 left it: Alice is known to all of them, Bob to the web app and to the first native one, Carol to the web app."""
    with opened(url) as found:
        with found.writing(rebuilding=True) as tx:
            tx.connection.begin()
            config = migrations.configuration()
            config.attributes["connection"] = tx.connection
            command.upgrade(config, "0003")
        with found.writing() as tx:
            for name, (uris, _, _) in CLIENTS.items():
                metadata: dict[str, object] = {"redirect_uris": uris, "subject_type": "pairwise"}
                if name == "named":
                    metadata["sector_identifier_uri"] = "https://sector.example/uris"
                values = {"id": name, "metadata": json.dumps(metadata)}
                tx.execute(text("INSERT INTO clients (client_id, metadata, created_at) VALUES (:id, :metadata, 1)"), values)
            for person in ("alice", "bob", "carol"):
                tx.execute(
                    text(
                        "INSERT INTO accounts (subject, username, username_folded, email_verified, phone_number_verified,"
                        " password_hash, created_at, updated_at, device_generation)"
                        " VALUES (:name, :name, :name, false, false, 'h', 1, 1, 0)"
                    ),
                    {"name": person},
                )
            for sector in ("victim.example", "127.0.0.1", "sector.example"):
                for person in ("alice", "bob", "carol"):
                    values = {"subject": person, "sector": sector, "sub": f"{person} at {sector}"}
                    tx.execute(text("INSERT INTO pairwise_subjects VALUES (:subject, :sector, :sub)"), values)
            for number, (client, person) in enumerate((("thief", "alice"), ("native-a", "bob"), ("native-b", "alice"))):
                values = {"id": f"f{number}", "client": client, "subject": person, "index": number}
                tx.execute(
                    text(
                        "INSERT INTO token_families (family_id, client_id, subject, scope, offline, auth_time, acr, amr, generation,"
                        " started_at, rotated_at, expires_at, status_index)"
                        " VALUES (:id, :client, :subject, 'openid', true, 1, '1', 'pwd', 0, 1, 2, 1e12, :index)"
                    ),
                    values,
                )
            tx.execute(
                text(
                    "INSERT INTO consents (consent_id, subject, client_id, scope, granted_at)"
                    " VALUES ('c', 'alice', 'native-a', 'openid', 1)"
                )
            )
            tx.execute(
                text(
                    "INSERT INTO sessions (sid, cookie_hash, subject, started_at, auth_time, last_used_at, expires_at, amr,"
                    " address, user_agent) VALUES ('s', 'h', 'carol', 1, 1, 1, 1e12, 'pwd', '-', '-')"
                )
            )
            for client, sector in (("native-b", "127.0.0.1"), ("web", "victim.example")):
                tx.execute(
                    text("INSERT INTO session_clients VALUES ('s', :client, 1, :sector, :told)"),
                    {"client": client, "sector": sector, "told": f"s as {sector} calls it"},
                )
                tx.execute(
                    text(
                        "INSERT INTO signal_streams (stream_id, client_id, method, events_requested, status, cursor, acked_ahead,"
                        " removed_subjects, created_at, seen_at, sector)"
                        " VALUES (:client, :client, 'poll', '[]', 'enabled', 0, '[]', '[]', 1, 1, :sector)"
                    ),
                    {"client": client, "sector": sector},
                )
        yield found


def sector(client_id: str) -> str:
    uris, _, _ = CLIENTS[client_id]
    metadata: dict[str, object] = {"redirect_uris": uris, "subject_type": "pairwise"}
    if client_id == "named":
        metadata["sector_identifier_uri"] = "https://sector.example/uris"
    return Client.of(ClientRecord(client_id, json.dumps(metadata), None, 1.0, None)).sector


@pytest.mark.filterwarnings("error")
def test_people_keep_the_names_by_which_an_app_knows_them_and_no_app_gets_anothers(database: Database) -> None:
    migrations.upgrade(database)
    for client_id, (_, before, keeps) in CLIENTS.items():
        assert (sector(client_id) == before) is keeps, client_id
    with database.reading() as tx:
        names = {
            client_id: {person: store.sub_in(tx, sector(client_id), person) for person in ("alice", "bob", "carol")}
            for client_id in CLIENTS
        }
        told = dict(tx.execute(text("SELECT client_id, sector FROM session_clients")).all())
        heard = dict(tx.execute(text("SELECT client_id, sector FROM signal_streams")).all())
        sids = dict(tx.execute(text("SELECT client_id, sector_sid FROM session_clients")).all())
    everybody = {person: f"{person} at victim.example" for person in ("alice", "bob", "carol")}
    assert names["web"] == everybody
    assert names["named"] == {person: f"{person} at sector.example" for person in ("alice", "bob", "carol")}
    assert names["thief"] == {"alice": "alice at victim.example", "bob": None, "carol": None}
    assert names["native-a"] == {"alice": "alice at 127.0.0.1", "bob": "bob at 127.0.0.1", "carol": None}
    assert names["native-b"] == {"alice": "alice at 127.0.0.1", "bob": None, "carol": "carol at 127.0.0.1"}
    assert told == heard == {"native-b": sector("native-b"), "web": "victim.example"}
    assert sids == {"native-b": "s as 127.0.0.1 calls it", "web": "s as victim.example calls it"}


def test_a_name_is_looked_up_in_its_own_sector_after_that(database: Database) -> None:
    migrations.upgrade(database)
    with database.writing() as tx:
        assert store.subject_in(tx, sector("native-a"), "alice at 127.0.0.1") == "alice"
        assert store.subject_in(tx, sector("native-a"), "carol at 127.0.0.1") is None
        store.name(tx, "dave", sector("native-a"), "a new name")
        store.name(tx, "dave", sector("native-a"), "another")
        assert store.sub_in(tx, sector("native-a"), "dave") == "a new name"
