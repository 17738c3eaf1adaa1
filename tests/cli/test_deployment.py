"""`idp migrate`, `idp doctor`, and settings that cannot hold: one sentence and exit code 1, whatever the command."""

import json
import resource
import socket
import sqlite3
from pathlib import Path

import pytest

from idp.runtime import migrations
from idp.sessions.rules import SignIn
from tests.cli.running import DONE, REFUSED, Said, run, spawn
from tests.support.serving import RunningProvider, free_port

OTHER_SECRET = "another secret that is long enough to be taken"
DOWN = f"postgresql://idp:hunter2@127.0.0.1:{free_port()}/idp"
FILE_IN_THE_WAY = "/dev/null/var"

WRONG_SETTINGS = {
    "issuer": ({"ISSUER": "http://example.org"}, "IDP_ISSUER"),
    "issuer with a slash": ({"ISSUER": "https://id.example.org/"}, "IDP_ISSUER"),
    "unknown": ({"FOO": "1"}, "IDP_FOO"),
    "bind": ({"BIND": "localhost"}, "IDP_BIND"),
    "number": ({"WORKERS": "many"}, "IDP_WORKERS"),
    "network": ({"OUTBOUND_ALLOW": "10.0.0.0/99"}, "IDP_OUTBOUND_ALLOW"),
    "short secret": ({"SECRET_KEY": "hunter2"}, "IDP_SECRET_KEY"),
    "file": ({"CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
    "data dir": ({"DATA_DIR": FILE_IN_THE_WAY}, FILE_IN_THE_WAY),
    "another database": ({"DATABASE_URL": "mysql://idp:hunter2@localhost/idp", "SECRET_KEY": OTHER_SECRET}, "IDP_DATABASE_URL"),
    "no database url": ({"DATABASE_URL": "hunter2", "SECRET_KEY": OTHER_SECRET}, "IDP_DATABASE_URL"),
    "postgres without secret": ({"DATABASE_URL": DOWN}, "IDP_SECRET_KEY"),
    "certificates": ({"OUTBOUND_CA_FILE": "/nowhere.pem"}, "IDP_OUTBOUND_CA_FILE"),
    "key schedule": ({"KEYS_ROTATION_PERIOD": "60"}, "IDP_KEYS_ROTATION_PERIOD"),
    "timeouts": ({"SESSIONS_IDLE_TIMEOUT": "99999"}, "idle_timeout"),
}


def refused(said: Said) -> str:
    """The one sentence, which repeats no secret."""
    assert "hunter2" not in said.err
    return said.refusal


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", WRONG_SETTINGS)
def test_a_wrong_setting_is_one_sentence_that_names_it(embedded: RunningProvider, wrong: str) -> None:
    settings, named = WRONG_SETTINGS[wrong]
    assert named in refused(run(embedded, "user", "list", **settings))


@pytest.mark.parametrize("wrong", ["issuer", "unknown", "data dir", "certificates"])
def test_a_wrong_setting_stops_the_start(embedded: RunningProvider, wrong: str) -> None:
    settings, named = WRONG_SETTINGS[wrong]
    assert named in refused(spawn(embedded, "serve", **settings))


@pytest.mark.parametrize("wrong", WRONG_SETTINGS)
def test_the_doctor_finds_a_wrong_setting_and_prints_its_table(embedded: RunningProvider, wrong: str) -> None:
    settings, named = WRONG_SETTINGS[wrong]
    said = run(embedded, "doctor", "--json", **settings)
    assert said.code == REFUSED, said
    assert said.err == ""
    assert "hunter2" not in said.out
    findings = [finding for finding in json.loads(said.out) if finding["state"] == "wrong"]
    assert named in " ".join(finding["finding"] + finding["mend"] for finding in findings)


def test_a_file_of_settings_with_an_unknown_name_is_refused(embedded: RunningProvider, tmp_path: Path) -> None:
    file = tmp_path / "idp.toml"
    file.write_text("[sessions]\nidle_timeuot = 5\n")
    assert "idle_timeuot" in refused(run(embedded, "user", "list", CONFIG=str(file)))


def test_another_secret_on_an_existing_database_is_refused_by_name(idp: RunningProvider) -> None:
    run(idp, "key", "list")
    for command, how in ((["serve"], spawn), (["key", "list"], run)):
        said = refused(how(idp, *command, SECRET_KEY=OTHER_SECRET))
        assert "IDP_SECRET_KEY" in said
        assert OTHER_SECRET not in said
    doctor = run(idp, "doctor", "--json", SECRET_KEY=OTHER_SECRET)
    assert doctor.code == REFUSED
    assert json.loads(doctor.out)[-1]["what"] == "keys"
    both = f"{OTHER_SECRET},{idp.environment().get('IDP_SECRET_KEY', _kept_secret(idp))}"
    assert run(idp, "key", "list", SECRET_KEY=both).code == DONE


def _kept_secret(idp: RunningProvider) -> str:
    file = idp.data_dir / "secret_key"
    return file.read_text() if file.exists() else ""


def test_a_database_that_is_down_is_one_sentence(embedded: RunningProvider) -> None:
    for command, how in ((["serve"], spawn), (["worker"], spawn), (["migrate"], run), (["user", "list"], run)):
        said = refused(how(embedded, *command, DATABASE_URL=DOWN, SECRET_KEY=OTHER_SECRET))
        assert "database" in said
    doctor = run(embedded, "doctor", DATABASE_URL=DOWN, SECRET_KEY=OTHER_SECRET)
    assert doctor.code == REFUSED
    assert "hunter2" not in doctor.out + doctor.err
    assert "IDP_DATABASE_URL" in doctor.out


def test_a_file_that_is_no_database_is_one_sentence(embedded: RunningProvider) -> None:
    (embedded.data_dir / "idp.sqlite3").write_bytes(b"this is no database" * 100)
    for command, how in ((["serve"], spawn), (["migrate"], run), (["user", "list"], run)):
        assert "database" in refused(how(embedded, *command))


def test_a_port_that_is_taken_is_one_sentence(embedded: RunningProvider) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = spawn(embedded, "serve", BIND=address)
    assert said.code == REFUSED
    assert address in said.err
    assert "Traceback" not in said.err
    assert "panic" not in said.err


# -- migrate and doctor -----------------------------------------------------------------------------------------------


def test_migrating_says_what_it_did_and_does_it_once(embedded: RunningProvider) -> None:
    assert run(embedded, "migrate", "--json").json == {"changed": True, "revision": migrations.head()}
    again = run(embedded, "migrate")
    assert again.code == DONE
    assert str(migrations.head()) in again.out


def test_the_doctor_finds_nothing_wrong_where_nothing_is(idp: RunningProvider) -> None:
    run(idp, "key", "list")
    findings = run(idp, "doctor", "--json").json
    assert {finding["state"] for finding in findings} == {"good", "note"}
    assert [finding["what"] for finding in findings if finding["state"] == "note"] == ["issuer"]  # plain http
    assert "mend" in run(idp, "doctor").out


def test_the_doctor_changes_nothing_where_nothing_is_yet(embedded: RunningProvider) -> None:
    embedded.data_dir.rmdir()
    assert run(embedded, "doctor").code == DONE
    assert not embedded.data_dir.exists()


def test_the_doctor_names_a_schema_that_is_behind_and_the_mend(postgres_url: str, tmp_path: Path) -> None:
    said = run(RunningProvider(tmp_path, postgres_url), "doctor", "--json")
    assert said.code == REFUSED
    assert json.loads(said.out)[-1]["mend"] == "run `idp migrate`"


def test_the_doctor_finds_a_secret_that_others_can_read(embedded: RunningProvider) -> None:
    run(embedded, "key", "list")
    (embedded.data_dir / "secret_key").chmod(0o644)
    said = run(embedded, "doctor")
    assert said.code == REFUSED
    assert "chmod 600" in said.out


def test_the_doctor_says_how_many_open_files_are_too_few_and_how_many_are_needed(embedded: RunningProvider) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    findings = run(embedded, "doctor", "--json", SIGNALS_FOLLOWERS=str(hard), DELIVERY_CONCURRENCY="1").json
    (finding,) = [finding for finding in findings if finding["what"] == "open files"]
    assert finding["state"] == "note"
    assert str(hard) in finding["finding"]
    assert str(10_000 + hard + 1 + 500) in finding["mend"]


# -- what commands leave behind ---------------------------------------------------------------------------------------


def test_the_data_directory_is_for_its_owner_alone(embedded: RunningProvider) -> None:
    embedded.data_dir.rmdir()
    run(embedded, "key", "list")
    assert embedded.data_dir.stat().st_mode & 0o077 == 0
    assert (embedded.data_dir / "secret_key").stat().st_mode & 0o077 == 0
    with sqlite3.connect(embedded.data_dir / "idp.sqlite3") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# -- proxies ----------------------------------------------------------------------------------------------------------


def test_the_doctor_and_the_start_notice_that_the_proxy_is_not_named(embedded: RunningProvider) -> None:
    https = {"ISSUER": "https://op.example"}
    named = https | {"TRUSTED_PROXIES": "10.0.0.1"}
    assert "IDP_TRUSTED_PROXIES" in run(embedded, "doctor", **https).out
    assert "IDP_TRUSTED_PROXIES" not in run(embedded, "doctor", **named).out
    assert "IDP_TRUSTED_PROXIES" not in run(embedded, "doctor").out


def test_the_doctor_notices_that_all_people_have_one_address(idp: RunningProvider) -> None:
    provider = idp.services
    named = {"ISSUER": "https://op.example", "TRUSTED_PROXIES": "10.0.0.1"}

    def finding() -> dict[str, str]:
        return next(each for each in run(idp, "doctor", "--json", **named).json if each["what"] == "addresses")

    def sign_in(name: str, address: str) -> None:
        with provider.database.writing() as tx:
            account = provider.accounts.add(tx, provider.accounts.prepare(name, "correct horse battery staple"))
            provider.sessions.start(tx, SignIn(account.subject, "pwd", address, "a browser"))

    sign_in("carol", "172.17.0.1")
    assert finding()["state"] == "good"
    sign_in("dave", "172.17.0.1")
    assert finding()["state"] == "note"
    assert "172.17.0.1" in finding()["mend"]
    sign_in("erin", "203.0.113.9")
    assert finding()["state"] == "good"
