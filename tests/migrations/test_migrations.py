"""Migrating: from nothing, again, by several at once, half-way; and what was there before is there afterwards."""

import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from idp import resources
from idp.runtime import migrations
from idp.runtime.database import Base, Database
from idp.tables import metadata
from tests.migrations.check_models import VERSION_TABLE, differences
from tests.migrations.databases import opened
from tests.support.serving import RunningProvider

AT_ONCE = 4
NEW_FILES = 50
ALICE = {"subject": "s-alice", "username": "Alice", "username_folded": "alice"}

#: One row of each kind that an installation lives on, in the columns of the first revision.
ROWS: dict[str, dict[str, object]] = {
    "accounts": {
        **ALICE,
        "email": None,
        "email_verified": False,
        "phone_number_verified": False,
        "password_hash": "$argon2id$…",
        "created_at": 1.5,
        "updated_at": 2.25,
    },
    "username_likenesses": {"skeleton": "alice", "subject": "s-alice"},
    "clients": {
        "client_id": "c1",
        "metadata": '{"client_name": "Ünïcode"}',
        "secret_hash": "h",
        "created_at": 1700000000.123456,
    },
    "signing_keys": {
        "kid": "k1",
        "alg": "RS256",
        "predecessor": "",
        "published_at": 1.0,
        "active_at": 2.0,
        "public": "{}",
        "sealed": b"\x00\xff sealed",
        "holder": "database",
        "announcement": 722.0,
        "retention": 660.0,
    },
}


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with opened(url) as found:
        yield found


def test_from_nothing_to_the_newest_revision(database: Database) -> None:
    assert migrations.current(database) is None
    assert migrations.upgrade(database) is True
    assert migrations.current(database) == migrations.head()
    assert set(inspect(database.engine).get_table_names()) == {*metadata.tables, VERSION_TABLE}


def test_the_migrations_make_what_the_models_describe(database: Database) -> None:
    assert differences(database) == []


def test_the_check_finds_what_no_migration_makes(database: Database) -> None:
    migrations.upgrade(database)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE clients DROP COLUMN secret_hash"))
    assert "secret_hash" in "".join(differences(database))


def test_upgrading_again_changes_nothing_and_keeps_every_row(database: Database) -> None:
    migrations.upgrade(database)
    _fill(database)
    before = _everything(database)

    assert migrations.upgrade(database) is False
    with database.engine.begin() as connection:  # as if it were behind: the lock is taken and Alembic is asked
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = version_num"))
    assert migrations.upgrade(database) is False

    assert _everything(database) == before
    assert {name for name, rows in before.items() if rows} == {*ROWS, "status_count", VERSION_TABLE}


def test_every_row_of_the_first_release_is_there_after_all_that_came_later(database: Database) -> None:
    from alembic import command

    with database.writing(rebuilding=True) as tx:
        tx.connection.begin()
        config = migrations.configuration()
        config.attributes["connection"] = tx.connection
        command.upgrade(config, "0001")
    _fill(database)
    before = _everything(database)
    assert migrations.upgrade(database) is True
    after = _everything(database)
    for name in ROWS:
        assert [new[: len(old)] for old, new in zip(before[name], after[name], strict=True)] == before[name], name


def test_a_later_revision_keeps_every_row_and_a_failing_one_leaves_no_trace(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, first, folder = _filled_with_a_folder_of_ones_own(database, tmp_path, monkeypatch)

    _write_revision(
        folder, "9001", first, "op.create_table('later', sa.Column('a', sa.Integer())); raise RuntimeError('half-way')"
    )
    with pytest.raises(RuntimeError, match="half-way"):
        migrations.upgrade(database)
    assert _everything(database) == before

    _write_revision(folder, "9001", first, "op.add_column('clients', sa.Column('later', sa.Integer(), nullable=True))")
    assert migrations.upgrade(database) is True
    after = _everything(database)
    assert [row[:-1] for row in after["clients"]] == before["clients"]
    assert {name: rows for name, rows in after.items() if name not in {"clients", VERSION_TABLE}} == {
        name: rows for name, rows in before.items() if name not in {"clients", VERSION_TABLE}
    }


def test_a_table_that_is_made_anew_keeps_what_hangs_from_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, first, folder = _filled_with_a_folder_of_ones_own(database, tmp_path, monkeypatch)

    rebuilt = """with op.batch_alter_table('accounts') as accounts:
        accounts.alter_column('name', type_=sa.String(length=200), existing_type=sa.String(length=128))"""
    _write_revision(folder, "9001", first, rebuilt)
    assert migrations.upgrade(database) is True
    after = _everything(database)
    assert after["username_likenesses"] == before["username_likenesses"] != []

    _write_revision(folder, "9002", "9001", "op.execute('DELETE FROM accounts')")
    if database.dialect == "sqlite":
        with pytest.raises(RuntimeError, match="username_likenesses"):
            migrations.upgrade(database)
        assert _everything(database) == after
    with database.writing() as tx:
        tx.execute(text("DELETE FROM accounts"))
    assert _everything(database)["username_likenesses"] == []


def test_many_processes_that_migrate_at_once_do_not_collide(url: str, database: Database) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(AT_ONCE)
    processes = [context.Process(target=_migrate, args=(url, barrier)) for _ in range(AT_ONCE)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * AT_ONCE
    assert migrations.current(database) == migrations.head()
    assert differences(database) == []


def test_many_processes_that_open_a_new_file_at_once_do_not_collide(tmp_path: Path) -> None:
    """The switch to WAL is where SQLite does not wait; one opening in fifty failed, so many files are opened."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(AT_ONCE)
    processes = [context.Process(target=_open_new_files, args=(tmp_path, barrier)) for _ in range(AT_ONCE)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * AT_ONCE


def test_two_commands_that_start_together_both_succeed(url: str, tmp_path: Path) -> None:
    provider = RunningProvider(tmp_path, url)
    command = [sys.executable, "-m", "idp", "migrate", "--json"]
    running = [
        subprocess.Popen(command, env=provider.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert provider.json("migrate") == {"changed": False, "revision": migrations.head()}


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_on_postgresql_nothing_starts_over_a_schema_that_is_behind(postgres_url: str, tmp_path: Path, command: str) -> None:
    said = RunningProvider(tmp_path, postgres_url).cli(command, code=1)
    assert said.strip().count("\n") == 0
    assert "idp migrate" in said
    assert "Traceback" not in said


def test_an_embedded_database_is_migrated_by_whatever_needs_it(tmp_path: Path) -> None:
    assert RunningProvider(tmp_path / "new").json("client", "list") == []


def _migrate(url: str, barrier: Barrier) -> None:
    with opened(url) as database:
        barrier.wait(60)
        migrations.upgrade(database)
        assert migrations.current(database) == migrations.head()


def _open_new_files(folder: Path, barrier: Barrier) -> None:
    for number in range(NEW_FILES):
        with opened(f"sqlite:///{folder / str(number)}.sqlite3") as database:
            barrier.wait(60)
            try:
                with database.writing() as tx:
                    tx.execute(text("CREATE TABLE IF NOT EXISTS anything (a INTEGER)"))
            except BaseException:
                barrier.abort()
                raise


def _fill(database: Database) -> None:
    with database.engine.begin() as connection:
        for name, row in ROWS.items():
            connection.execute(Base.metadata.tables[name].insert(), row)


def _everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.engine.connect() as connection:
        names = sorted(inspect(connection).get_table_names())
        return {name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))] for name in names}


def _filled_with_a_folder_of_ones_own(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, list[tuple[object, ...]]], str | None, Path]:
    """An up-to-date database with rows: what is in it, its revision, and a folder to which later ones may be added."""
    migrations.upgrade(database)
    _fill(database)
    folder = tmp_path / "migrations"
    shutil.copytree(resources.folder("migrations"), folder)
    first = migrations.head()
    monkeypatch.setattr(resources, "folder", lambda _name: folder)
    return _everything(database), first, folder


def _write_revision(folder: Path, revision: str, after: str | None, body: str) -> None:
    """A revision that comes after the newest real one."""
    content = f"""from alembic import op
import sqlalchemy as sa

revision = {revision!r}
down_revision = {after!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {body}
"""
    (folder / "versions" / f"{revision}.py").write_text(content)
    shutil.rmtree(folder / "versions" / "__pycache__", ignore_errors=True)
