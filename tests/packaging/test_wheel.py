"""The built wheel stands alone: installed in an empty environment, outside the checkout, it serves a sign-in page."""

import os
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.support.serving import free_port

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


def test_the_installed_wheel_serves_a_sign_in_page(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--system-certs", "--python", str(python)]
    subprocess.run([*install, "--require-hashes", "-r", str(CHECKOUT / "requirements" / "runtime.txt")], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("IDP_", "PYTHON", "VIRTUAL_ENV"))}
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
            [home / "bin" / "idp", "serve"], cwd=elsewhere, env=clean | settings, stdout=output, stderr=output
        )
    try:
        page = _get(f"http://localhost:{port}/login", server, log)
        assert page.status_code == 200
        assert 'id="login-page"' in page.text
        assert httpx.get(f"http://localhost:{port}/static/idp.css").status_code == 200
        assert len(httpx.get(f"http://localhost:{port}/jwks").json()["keys"]) == 2
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
            return httpx.get(url, timeout=2)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())
