"""The button that shows what was typed, in a real browser; without scripts there is none, and signing in works the same."""

from pathlib import Path

from playwright.sync_api import Browser

from tests.support.serving import RunningProvider


def test_a_password_can_be_shown_and_is_sent_as_one(browser: Browser, tmp_path: Path) -> None:
    running = RunningProvider(tmp_path).start()
    try:
        password = running.add_user()
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(f"{running.issuer}/login")
        button = page.get_by_role("button", name="Show password")
        page.fill("#username", "alice")
        page.fill("#password", password)
        assert page.get_attribute("#password", "type") == "password"
        button.click()
        assert page.get_attribute("#password", "type") == "text"
        assert page.inner_text("#show-password") == "Hide"
        page.click("#show-password")
        assert page.get_attribute("#password", "type") == "password"
        page.click("#show-password")
        page.click("#login-submit")  # it is shown at this moment, and works all the same
        page.wait_for_selector("#account-page")
        page.goto(f"{running.issuer}/account/password")
        assert page.locator(".show-password").count() == 3
        assert problems == []
    finally:
        running.close()
