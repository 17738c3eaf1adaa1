"""The README's own app, run as it is written, beside the provider that the README starts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import pytest
from httpx import Client

from tests.documentation.blocks import blocks
from tests.house.code import ROOT
from tests.support import http
from tests.support.browsing import Page, Person
from tests.support.serving import RunningProvider, free_port
from tests.verifier.conftest import until

PASSWORD = "a long password"


def commands() -> str:
    """The commands of the chapter, without the text between them."""
    chapter = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own app in two minutes")[2].partition("\n## ")[0]
    )
    return "\n".join(line[4:] for line in chapter.splitlines() if line.startswith("    "))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_app_signs_in_and_hears_of_the_end(tmp_path: Path, host: str) -> None:
    port = free_port()
    provider = RunningProvider(tmp_path / "var")
    provider.data_dir.mkdir()
    metadata = re.search(r"<<'JSON'\n(.*?)\nJSON", commands(), re.DOTALL)
    assert metadata is not None
    (code,) = blocks("README.md")
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text(code.replace("http://localhost:8000", provider.issuer))
    shutil.copy(ROOT / "examples" / "receiver.py", folder)
    app = None
    try:
        provider.start()
        provider.cli("user", "add", "alice", "--password-stdin", "--email", "alice@example.org", stdin=PASSWORD + "\n")
        client = provider.json("client", "add", "--file", "-", stdin=metadata[1].replace(":5000", f":{port}"))
        identity = {"CLIENT_ID": client["client_id"], "CLIENT_SECRET": client["client_secret"]}
        with (folder / "app.log").open("wb") as log:
            words = [sys.executable, "-m", "flask", "run", "-p", str(port)]
            app = subprocess.Popen(words, cwd=folder, env=os.environ | identity, stdout=log, stderr=log)
        until(lambda: "Running on" in (folder / "app.log").read_text(), seconds=60)
        place = f"http://{host}:{port}"
        with http.client(follow_redirects=True, timeout=20) as browser:
            _sign_in(browser, place)
            assert "You are signed in." in browser.get(place + "/").text
            checks = provider.json("client", "check", client["client_id"])
            assert {check["verdict"] for check in checks} == {"good"}, checks
            person = Person(provider.issuer)
            person.http.cookies.update(browser.cookies)
            person.submit(person.open("logout"), "logout-confirm")
            until(lambda: "Sign in" in browser.get(place + "/").text, seconds=20)
    finally:
        if app is not None:
            app.terminate()
            app.wait(timeout=20)
        provider.close()


def _sign_in(browser: Client, place: str) -> None:
    page = Page.of(browser.get(place + "/login"))
    assert page.main == "login-page", page.response.text
    fields = page.forms[0].fields | {"username": "alice", "password": PASSWORD}
    page = Page.of(browser.post(urljoin(page.url, page.forms[0].action), data=fields))
    if page.main is not None and page.forms:
        form = page.forms[0]
        name, value = form.buttons["consent-allow"]
        page = Page.of(browser.post(urljoin(page.url, form.action), data=form.fields | {name: value}))
    for target in re.findall(r'http-equiv="refresh" content="[^"]*url=([^"]+)"', page.response.text, re.IGNORECASE):
        browser.get(target.replace("&amp;", "&"))


def test_what_the_app_needs_is_named() -> None:
    """Authlib's Flask client imports requests, and names it nowhere."""
    line = next(line for line in commands().splitlines() if "pip install" in line)
    for package in ("flask", "authlib", "requests", "joserfc", "httpx2"):
        assert package in line.split()


def test_both_spellings_of_this_machine_are_registered_and_the_demo_s_port_is_spoken_of() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for uri in ("http://localhost:5000/callback", "http://127.0.0.1:5000/callback"):
        assert uri in commands()
    assert "Stop the demo first" in text
    assert "IDP_BIND" in text
