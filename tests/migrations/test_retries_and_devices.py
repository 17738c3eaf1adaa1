"""What was there before: families whose answers may be asked for again, accounts without devices, consents for any port."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import text

from idp.consent import rules as consent_rules
from idp.consent import store as consents
from idp.runtime import migrations
from idp.runtime.database import Database
from idp.runtime.secrets import Secrets, b64url
from idp.tokens import refresh
from idp.tokens import store as families
from idp.tokens.refresh import RefreshToken
from tests.migrations.databases import opened

SECRETS = Secrets((b"the secret of this deployment, long enough",))
FAMILY = b64url(b"f" * 16)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """As the first release left it, with somebody, a family of theirs that was refreshed once, and what they allowed."""
    with opened(url) as found:
        with found.writing(rebuilding=True) as tx:
            tx.connection.begin()
            config = migrations.configuration()
            config.attributes["connection"] = tx.connection
            command.upgrade(config, "0001")
        with found.writing() as tx:
            tx.execute(
                text(
                    "INSERT INTO accounts (subject, username, username_folded, email_verified, phone_number_verified,"
                    " password_hash, created_at, updated_at) VALUES ('alice', 'Alice', 'alice', false, false, 'h', 1, 1)"
                )
            )
            tx.execute(
                text(
                    "INSERT INTO token_families (family_id, client_id, subject, scope, offline, auth_time, acr, amr, generation,"
                    " secret_hash, started_at, rotated_at, expires_at, status_index)"
                    " VALUES (:family, 'app', 'alice', 'openid', true, 1, '1', 'pwd', 1, :hash, 1, 2, 1e12, 7)"
                ),
                {"family": FAMILY, "hash": parent().successors(SECRETS)[0].stored},
            )
            tx.execute(text("INSERT INTO clients (client_id, metadata, created_at) VALUES ('app', '{}', 1)"))
            tx.execute(
                text(
                    "INSERT INTO consents (consent_id, subject, client_id, scope, granted_at)"
                    " VALUES ('c', 'alice', 'app', 'openid', 1)"
                )
            )
        yield found


def parent() -> RefreshToken:
    return RefreshToken(FAMILY, 0, b"s" * 32)


def test_what_was_there_goes_on(database: Database) -> None:
    migrations.upgrade(database)
    with database.writing() as tx:
        family, consent = families.by_id(tx, FAMILY), consents.alive(tx, "alice", "app")
        assert family is not None
        assert (family.generation, family.retried_at, family.seen_at) == (1, None, None)
        assert consent_rules.covers(consent, ["openid"])
        assert not consent_rules.covers_at(consent, "http://127.0.0.1:8400")  # asked about once more, and then known
        assert tx.execute(text("SELECT device_generation FROM accounts")).scalar_one() == 0
    read = refresh.read(parent().text(SECRETS), SECRETS)
    assert read is not None
    with database.writing() as tx:
        child = read.successors(SECRETS, family.generation)[0]
        assert child.stored == family.secret_hash  # an answer that was lost before the upgrade may be asked for after it
        assert families.rotate(tx, "app", child, child.successors(SECRETS)[0], tx.now + 60) is not None
