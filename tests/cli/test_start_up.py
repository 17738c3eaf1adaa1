"""What keeps a deployment from starting is one sentence, whatever the command: never a trace, and no part of a password."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.cli.running import REFUSED, Said, run, spawn
from tests.support.serving import RunningProvider, free_port
from tests.support.silence import Network

SECRET = "another secret that is long enough to be taken"
#: Every way into a deployment: the processes, what looks after the schema, and a command of each room.
COMMANDS = (
    ["serve"],
    ["worker"],
    ["migrate"],
    ["user", "list"],
    ["client", "remove", "x"],
    ["key", "list"],
    ["session", "list"],
    ["delivery", "list"],
    ["signals", "list"],
)
#: Nobody listens there.
CLOSED = 1
#: Pieces of a password, none of which may be seen anywhere.
PIECES = ("zebra", "quagga", "okapi")
UNESCAPED = (
    "zebra@quagga",
    "zebra@quagga/okapi",
    "zebra/quagga@okapi",
    "@zebra@quagga",
    "zebra@",
    "zebra:quagga@okapi",
    "zebra?quagga",
    "zebra#quagga",
    "zebra/quagga",
    "zebra%quagga",
    "zebra quagga",
    "[zebra",
    "zebra]quagga",
    "zebra\\quagga",
    "zebra?sslmode=quagga",
    "zebra@quagga?okapi=1",
)
MALFORMED = (
    "postgresql://idp:zebra",
    "postgresql://idp:zebra/quagga",
    "postgresql:zebra@127.0.0.1",
    "postgresql+psycopg2://idp:zebra@127.0.0.1/quagga",
    "postgresql+asyncpg://idp:zebra@127.0.0.1/quagga",
    "mysql://idp:zebra@127.0.0.1/quagga",
    "sqlite://zebra/quagga",
    "zebra",
)


def check(said: Said, *named: str) -> None:
    """One sentence, with what the operator has to know."""
    refusal = said.refusal
    assert refusal.startswith("idp: ")
    assert not [piece for piece in PIECES if piece in refusal], refusal
    assert "nobody foresaw" not in refusal, refusal
    assert any(name in refusal for name in named), refusal


def check_doctor(provider: RunningProvider, *named: str, **settings: str) -> None:
    said = run(provider, "doctor", "--json", **settings)
    assert said.code == REFUSED, said
    assert said.err == ""
    assert not [piece for piece in PIECES if piece in said.out], said.out
    wrong = " ".join(each["finding"] + ": " + each["mend"] for each in json.loads(said.out) if each["state"] == "wrong")
    assert any(name in wrong for name in named), said.out


# -- the address of the database --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [f"postgresql://idp:{each}@127.0.0.1:{CLOSED}/idp" for each in UNESCAPED] + list(MALFORMED))
def test_a_password_that_was_not_escaped_is_shown_in_no_part(embedded: RunningProvider, url: str) -> None:
    settings = {"DATABASE_URL": url, "SECRET_KEY": SECRET}
    for command in (["migrate"], ["user", "list"], ["serve"], ["worker"]):
        check(run(embedded, *command, **settings), "IDP_DATABASE_URL")
    check_doctor(embedded, "IDP_DATABASE_URL", **settings)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_nor_by_a_process_in_its_log(embedded: RunningProvider, log_format: str) -> None:
    url = "postgresql://idp:zebra@quagga/okapi@127.0.0.1/idp"
    check(spawn(embedded, "serve", DATABASE_URL=url, SECRET_KEY=SECRET, LOG_FORMAT=log_format), "IDP_DATABASE_URL")


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(postgres_url: str) -> Iterator[object]:
    engine = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def every_command(provider: RunningProvider, url: str, *named: str, commands=COMMANDS) -> None:
    settings = {"DATABASE_URL": url, "SECRET_KEY": SECRET, "DATABASE_CONNECT_TIMEOUT": "2"}
    for command in commands:
        check(run(provider, *command, **settings), *named)
    check_doctor(provider, *named, **settings)


def test_a_database_that_does_not_exist(embedded: RunningProvider, postgres_url: str) -> None:
    url = make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False)
    every_command(embedded, url, "does not exist")


def test_a_user_who_is_not_let_in(embedded: RunningProvider, postgres_url: str) -> None:
    url = make_url(postgres_url).set(username="nobody_here", password="zebra").render_as_string(hide_password=False)
    every_command(embedded, url, "refuses the user or the password")


def test_a_host_without_an_address(embedded: RunningProvider) -> None:
    every_command(embedded, "postgresql://idp:zebra@nowhere.invalid/idp", "has no address")


def test_a_server_that_is_down(embedded: RunningProvider) -> None:
    every_command(embedded, f"postgresql://idp:zebra@127.0.0.1:{CLOSED}/idp", "cannot be reached")


def test_a_server_that_is_silent(embedded: RunningProvider, postgres_url: str) -> None:
    network = Network(postgres_url)
    network.lose()
    every_command(embedded, network.url, "cannot be reached", commands=COMMANDS[:4])
    network.close()


@pytest.mark.parametrize("parameters", ["foo=zebra", "sslmode=zebra", "port=zebra", "connect_timeout=zebra"])
def test_a_parameter_that_is_none(embedded: RunningProvider, parameters: str) -> None:
    every_command(embedded, f"postgresql://idp@127.0.0.1/idp?{parameters}", "parameter", commands=COMMANDS[:4])


def test_a_port_that_is_none(embedded: RunningProvider) -> None:
    every_command(embedded, "postgresql://idp:zebra@127.0.0.1:99999999/idp", "parameter", commands=COMMANDS[:4])


def test_a_user_who_may_make_no_tables(embedded: RunningProvider, postgres_url: str, admin) -> None:
    admin.execute(text("CREATE ROLE guest LOGIN"))
    try:
        url = make_url(postgres_url).set(username="guest").render_as_string(hide_password=False)
        every_command(embedded, url, "may not do", "idp migrate", commands=COMMANDS[2:3])
    finally:
        admin.execute(text("DROP ROLE guest"))


def test_a_schema_that_is_behind(embedded: RunningProvider, postgres_url: str) -> None:
    every_command(embedded, postgres_url, "idp migrate", commands=[each for each in COMMANDS if each != ["migrate"]])


def test_a_database_that_takes_no_writes_cannot_be_migrated(embedded: RunningProvider, postgres_url: str, admin) -> None:
    admin.execute(text(f"ALTER DATABASE {make_url(postgres_url).database} SET default_transaction_read_only = on"))
    every_command(embedded, postgres_url, "takes no writes", "idp migrate", commands=COMMANDS[2:3])


def test_a_database_that_is_newer(embedded: RunningProvider, postgres_url: str, admin) -> None:
    admin.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
    admin.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    every_command(embedded, postgres_url, "newer than this version of idp")


def test_a_database_of_something_else(embedded: RunningProvider, postgres_url: str, admin) -> None:
    admin.execute(text("CREATE TABLE accounts (number INTEGER)"))
    every_command(embedded, postgres_url, "tables of idp alone", "idp migrate", commands=COMMANDS[2:3])


# -- SQLite -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_newer(embedded: RunningProvider) -> None:
    with sqlite3.connect(embedded.data_dir / "idp.sqlite3") as file:
        file.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        file.execute("INSERT INTO alembic_version VALUES ('9999')")
    file.close()
    for command in COMMANDS:
        check(run(embedded, *command), "newer than this version of idp")
    check(spawn(embedded, "serve"), "newer than this version of idp")
    check_doctor(embedded, "newer than this version of idp")


def test_a_file_of_something_else(embedded: RunningProvider) -> None:
    with sqlite3.connect(embedded.data_dir / "idp.sqlite3") as file:
        file.execute("CREATE TABLE accounts (number INTEGER)")
    file.close()
    for command in COMMANDS:
        check(run(embedded, *command), "tables of idp alone")


@pytest.mark.parametrize("path", ["/nowhere/idp.sqlite3", "/proc", "/dev/null/idp.sqlite3"])
def test_a_file_that_cannot_be(embedded: RunningProvider, path: str) -> None:
    for command in COMMANDS:
        check(run(embedded, *command, DATABASE_URL=f"sqlite:///{path}"), "cannot be opened")


@pytest.mark.parametrize("made", ["folder", "loop"])
def test_a_kept_secret_that_cannot_be_read(embedded: RunningProvider, made: str) -> None:
    place = embedded.data_dir / "secret_key"
    place.mkdir() if made == "folder" else place.symlink_to(place)
    for command in (["serve"], ["worker"], ["user", "list"], ["key", "list"]):
        check(run(embedded, *command), "secret_key")


# -- the rest of the machine ------------------------------------------------------------------------------------------


def test_no_folder_for_temporary_files(embedded: RunningProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container whose root is read-only."""
    run(embedded, "key", "list")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    said = run(embedded, "serve")
    assert said.code == REFUSED
    assert "TMPDIR" in said.err.splitlines()[-1]
    assert "Traceback" not in said.err
    check(run(embedded, "demo", "--port", str(free_port())), "TMPDIR")
    check_doctor(embedded, "TMPDIR")


@pytest.mark.parametrize("content", ["", "this is no certificate\n"])
def test_certificates_that_are_none(embedded: RunningProvider, tmp_path: Path, content: str) -> None:
    """Found by the first of the server's processes, and not by one after another of its workers."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(content)
    for command in (["serve"], ["worker"], ["user", "list"]):
        check(run(embedded, *command, OUTBOUND_CA_FILE=str(bundle)), "IDP_OUTBOUND_CA_FILE")


@pytest.mark.parametrize("bind", ["nowhere.invalid:8123", f"{'a' * 70}:8123", "192.0.2.1:8123"])
def test_an_address_that_nobody_can_listen_on(embedded: RunningProvider, bind: str) -> None:
    said = run(embedded, "serve", BIND=bind)
    assert said.code == REFUSED
    assert "IDP_BIND" in said.err.splitlines()[-1]
    assert "Traceback" not in said.err


def test_what_is_no_text(embedded: RunningProvider) -> None:
    check(run(embedded, "serve", PROVIDER_NAME="\udcff"), "IDP_PROVIDER_NAME")


def test_what_nobody_foresaw_is_one_line_with_its_place_and_without_its_text(
    embedded: RunningProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("zebra")

    monkeypatch.setattr("idp.runtime.migrations.current", fail)
    refusal = run(embedded, "user", "list").refusal
    assert "RuntimeError" in refusal
    assert "test_start_up.py" in refusal
    assert "zebra" not in refusal
