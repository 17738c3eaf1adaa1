"""What was there before 0006 and 0007: families with places in their order, what people and clients that are gone left behind."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from idp.delivery import store as deliveries
from idp.runtime import migrations
from idp.runtime.database import Database
from idp.runtime.secrets import b64url
from idp.tokens.positions import Positions
from tests.migrations.databases import opened_at

_ACCOUNT = (
    "INSERT INTO accounts (subject, username, username_folded, email_verified, phone_number_verified, password_hash, created_at,"
    " updated_at, device_generation) VALUES ('alice', 'alice', 'alice', false, false, 'h', 1, 1, 0)"
)
_CLIENT = "INSERT INTO clients (client_id, metadata, created_at, ended_at) VALUES (:id, :metadata, 1, :ended)"
_CONSENT = "INSERT INTO consents (consent_id, subject, client_id, scope, granted_at) VALUES (:id, :of, :by, 'openid', 1)"
_FAMILY = (
    "INSERT INTO token_families (family_id, client_id, subject, scope, offline, auth_time, acr, amr, generation, started_at,"
    " rotated_at, expires_at, status_index) VALUES (:id, 'app', 'alice', 'openid', true, 1, '1', 'pwd', 0, 1, 2, 1e12, :place)"
)
_DELIVERY = (
    "INSERT INTO deliveries (delivery_id, kind, client_id, lane, party, uri, payload, created_at, expires_at, next_attempt_at,"
    " attempts, delivered_at) VALUES (:id, 'backchannel', :by, :by, :by, 'https://app.example/', '{}', 1, 2, 1, 1, :arrived)"
)
LIST = 65_536


@pytest.fixture(params=[(), (0, 7), (5, LIST + 1)], ids=["no family", "one list", "two lists"])
def places(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """Where families stand."""
    return request.param


@pytest.fixture
def database(url: str, places: tuple[int, ...]) -> Iterator[Database]:
    """As 0005 left it: Alice, whom an app knows, and traces of somebody and of an app that were removed."""
    with opened_at(url, "0005") as found:
        with found.writing() as tx:
            tx.execute(text(_ACCOUNT))
            for client, metadata, ended in (("app", '{"a": 1}', None), ("gone", '{"client_name": "Gone"}', 2.0)):
                tx.execute(text(_CLIENT), {"id": client, "metadata": metadata, "ended": ended})
            for number, (person, client) in enumerate((("alice", "app"), ("alice", "gone"), ("removed", "app"))):
                tx.execute(text(_CONSENT), {"id": f"c{number}", "of": person, "by": client})
            for person in ("alice", "removed"):
                tx.execute(text("INSERT INTO pairwise_subjects VALUES (:of, 'a.example', :of)"), {"of": person})
            for place in places:
                tx.execute(text(_FAMILY), {"id": b64url(str(place).zfill(16).encode()), "place": place})
            for client, arrived in (("app", 1.5), ("other", None)):
                tx.execute(text(_DELIVERY), {"id": client, "by": client, "arrived": arrived})
            if found.dialect == "postgresql" and places:
                tx.execute(text("SELECT setval('token_family_indices', :last)"), {"last": places[-1]})
        yield found


def test_nobody_who_is_gone_has_left_anything_and_everybody_else_keeps_theirs(database: Database) -> None:
    migrations.upgrade(database)
    with database.reading() as tx:
        assert dict(tx.execute(text("SELECT client_id, metadata FROM clients")).all()) == {"app": '{"a": 1}', "gone": "{}"}
        assert tx.execute(text("SELECT subject, client_id FROM consents")).all() == [("alice", "app")]
        assert tx.execute(text("SELECT subject FROM pairwise_subjects")).all() == [("alice",)]
        assert tx.execute(text("SELECT count(*) FROM deliveries")).scalar() == 2
        assert [deliveries.has_taken(tx, client) for client in ("app", "other")] == [True, False]


def test_families_keep_their_places_and_new_ones_are_drawn_from_lists_that_are_empty(
    database: Database, places: tuple[int, ...]
) -> None:
    """A place that two families had would end the one with the other."""
    migrations.upgrade(database)
    with database.writing() as tx:
        kept = tx.execute(text("SELECT status_index FROM token_families ORDER BY status_index")).scalars().all()
        assert tuple(kept) == places
        draw = Positions().draw
        drawn = [draw(tx) for _ in range(50)]
    first = {(): 0, (0, 7): LIST, (5, LIST + 1): 2 * LIST}[places]
    assert len(set(drawn)) == 50
    assert all(first <= place < first + LIST for place in drawn)
    assert drawn != sorted(drawn)
