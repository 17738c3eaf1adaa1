"""The built wheel stands alone: installed in an empty environment, outside the checkout, it serves a sign-in page.

With what the extra `verifier` brings, and nothing else, it verifies tokens and follows a provider.
"""

import email
import json
import os
import re
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.signals.follower import receiver_of
from tests.support import http
from tests.support.browsing import Person
from tests.support.relying_party import RelyingParty
from tests.support.serving import RunningProvider, free_port

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(CHECKOUT)],
        check=True,
        capture_output=True,
    )
    return next(out.glob("idp-*.whl"))


def test_the_wheel_carries_templates_and_migrations_and_no_bytecode(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "idp/templates/login.html",
        "idp/migrations/env.py",
        "idp/static/idp.css",
        "idp/accounts/common_passwords.txt",
    } <= names
    assert any(name.startswith("idp/migrations/versions/0001") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert not [name for name in names if name.startswith(("tests/", "examples/"))]


def installed(wheel: Path, home: Path, requirements: str) -> Path:
    """The `bin` folder of a new environment that has the wheel, and of packages what one file of `requirements/` pins."""
    venv.create(home, with_pip=False)
    install = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--system-certs"]
    install += ["--python", str(home / "bin" / "python")]
    subprocess.run([*install, "--require-hashes", "-r", str(CHECKOUT / "requirements" / requirements)], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    return home / "bin"


def environment() -> dict[str, str]:
    """That of this process, without what would lead back into the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("IDP_", "PYTHON", "VIRTUAL_ENV"))}


def test_the_installed_wheel_serves_a_sign_in_page(wheel: Path, tmp_path: Path) -> None:
    programs = installed(wheel, tmp_path / "environment", "runtime.txt")
    port = free_port()
    settings = {
        "IDP_BIND": f"127.0.0.1:{port}",
        "IDP_ISSUER": f"http://localhost:{port}",
        "IDP_DATA_DIR": str(tmp_path / "var"),
        "IDP_WORKERS": "1",
    }
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [programs / "idp", "serve"], cwd=elsewhere, env=environment() | settings, stdout=output, stderr=output
        )
    try:
        page = _get(f"http://localhost:{port}/login", server, log)
        assert page.status_code == 200
        assert 'id="login-page"' in page.text
        assert http.get(f"http://localhost:{port}/static/idp.css").status_code == 200
        assert len(http.get(f"http://localhost:{port}/jwks").json()["keys"]) == 2
        server.terminate()
        assert server.wait(timeout=15) == 0
    finally:
        server.kill()
        server.wait()


def _get(url: str, server: subprocess.Popen[bytes], log: Path) -> httpx.Response:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            return http.get(url, timeout=2)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


# -- the extra `verifier` ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verifier_programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, tmp_path_factory.mktemp("verifier") / "environment", "verifier.txt")


def run(programs: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=programs.parent, env=environment(), input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


VERIFYING = """
import importlib.util, json, sys
from idp.verifier import EndedTokenError, Poll, Verifier
told = json.loads(sys.stdin.readline())
with Verifier(told["issuer"], told["audience"], follow=Poll(*told["client"])) as verifier:
    assert verifier.wait(20), verifier.state
    print(verifier.verify(told["token"])["sid"], flush=True)
    ended = __import__("threading").Event()
    verifier.on_ended(lambda ending: ended.set())
    sys.stdin.readline()
    assert ended.wait(20), verifier.state
    try:
        verifier.verify(told["token"])
    except EndedTokenError as error:
        print(error, flush=True)
for name in ("flask", "werkzeug", "sqlalchemy", "authlib", "click", "pydantic", "structlog"):
    assert name not in sys.modules, name
    assert importlib.util.find_spec(name) is None, name
print(sorted(name for name in sys.modules if name.startswith("idp.") and name.count(".") == 1))
"""


def test_with_the_verifier_extra_alone_a_token_verifies_and_its_end_is_heard(verifier_programs: Path, tmp_path: Path) -> None:
    provider = RunningProvider(tmp_path)
    person = Person(provider.issuer)
    try:
        provider.start()
        provider.add_user()
        app = RelyingParty.register(provider, resources=["https://api.example"])
        api = receiver_of(provider)
        tokens = app.sign_in(person)
        told = {"issuer": provider.issuer, "audience": "https://api.example", "client": api.auth}
        with subprocess.Popen(
            [verifier_programs / "python", "-c", VERIFYING],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdin.write(json.dumps(told | {"token": tokens["access_token"]}) + "\n")
            process.stdin.flush()
            sid = process.stdout.readline().strip()
            assert sid, process.stderr.read()
            provider.cli("session", "end", sid)
            printed, wrong = process.communicate("ended\n", timeout=60)
        assert process.returncode == 0, wrong
        assert "ended (sid)" in printed
        assert "['idp.protocol', 'idp.verifier']" in printed
    finally:
        person.http.close()
        provider.close()


def test_without_the_server_extra_the_command_says_in_one_sentence_what_to_install(verifier_programs: Path) -> None:
    for command in ([str(verifier_programs / "idp")], [str(verifier_programs / "python"), "-m", "idp"]):
        for arguments in ([], ["serve"], ["--help"]):
            done = run(verifier_programs, *command, *arguments)
            assert done.returncode == 2, done
            assert 'pip install "idp[server]"' in done.stderr
            assert done.stderr.count("\n") == 1
            assert done.stdout == ""


def test_the_extras_bring_what_is_imported_and_the_base_only_what_everybody_needs(wheel: Path) -> None:
    name = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("METADATA"))
    metadata = email.message_from_bytes(zipfile.ZipFile(wheel).read(name))
    needs: dict[str, set[str]] = {}
    for line in metadata.get_all("Requires-Dist", []):
        what, _, marker = line.partition(";")
        extra = marker.partition("extra == ")[2].strip(" '\"")
        needs.setdefault(extra, set()).add(re.split(r"[<>=!~ ]", what.strip())[0])
    assert needs[""] == {"cryptography", "joserfc"}
    assert needs["verifier"] == {"httpx"}
    assert {"flask", "sqlalchemy", "authlib", "granian"} <= needs["server"]
    assert needs["server"] | {"python-pkcs11"} == needs["pkcs11"]
