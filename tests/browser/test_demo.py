"""The demo, walked in a real browser: sign in once, both apps in; sign out, both out, the socket closed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.serving import RunningProvider, free_port


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[dict[str, object]]:
    """`idp demo` on free ports; what it said when it was ready."""
    ports = {"--port": free_port(), "--notes-port": free_port(), "--arena-port": free_port()}
    words = [word for name, port in ports.items() for word in (name, str(port))]
    environment = RunningProvider(tmp_path).environment()
    clean = {name: value for name, value in environment.items() if not name.startswith("IDP_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "idp", "demo", "--json", *words], env=clean, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_one_sign_in_opens_both_apps_and_one_sign_out_darkens_both(demo: dict[str, dict[str, str]], browser: Browser) -> None:
    context = browser.new_context()
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    notes, arena = context.new_page(), context.new_page()

    notes.goto(demo["addresses"]["notes"])
    notes.click("#sign-in")
    notes.fill("#username", str(demo["username"]))
    notes.fill("#password", str(demo["password"]))
    notes.click("#login-submit")
    notes.wait_for_selector('#status[data-state="in"]')
    arena.goto(demo["addresses"]["arena"])
    arena.click("#sign-in")
    arena.wait_for_selector('#socket-state[data-state="open"]')

    pressed = time.monotonic()
    notes.click("#sign-out-everywhere")
    arena.wait_for_selector('#socket-state[data-state="closed"]')
    arena.wait_for_selector('#status[data-state="out"]')
    notes.wait_for_selector('#status[data-state="out"]')

    print(f"both dark after {time.monotonic() - pressed:.2f} s")
    assert complaints == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_fit_and_break_no_policy(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    running = RunningProvider(tmp_path).start()
    try:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})  # type: ignore[arg-type]
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        for path, main in (
            ("/", "home-page"),
            ("/login", "login-page"),
            ("/authorize", "error-page"),
            ("/logout", "logout-done"),
        ):
            page.goto(running.origin + path)
            assert page.locator("main").get_attribute("id") == main
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        context.close()
        # Chromium itself notes the 400 of the error page.
        assert [line for line in complaints if "400" not in line] == []
    finally:
        running.stop()
