"""The notes app: its receiver ends the session that the provider names, and its forms cannot be forged."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from examples.notes.app import create_app
from examples.receiver import Receiver
from examples.sessions import Session, Sessions
from examples.settings import Settings

BASE = "http://localhost:8001"


@pytest.fixture
def browser(settings: Settings, sessions: Sessions, receiver: Receiver, alice: Session) -> FlaskClient:
    client = create_app(settings, sessions=sessions, receiver=receiver).test_client()
    client.environ_base["HTTP_HOST"] = "localhost:8001"
    client.set_cookie("notes_session", alice.key)
    return client


def signed_in(browser: FlaskClient) -> bool:
    return bool(browser.get("/me", base_url=BASE).get_json()["signed_in"])


def test_the_page_says_who_is_signed_in(browser: FlaskClient) -> None:
    page = browser.get("/", base_url=BASE)
    assert 'id="signed-in-as">Alice<' in page.text
    assert 'data-state="in"' in page.text
    assert page.headers["Cache-Control"] == "no-store"


def test_a_logout_token_ends_the_session_of_its_sid_only(
    browser: FlaskClient, sign_now: Callable[..., str], sessions: Sessions, alice: Session, bob: Session
) -> None:
    answer = browser.post("/backchannel-logout", base_url=BASE, data={"logout_token": sign_now()})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert not signed_in(browser)
    assert (sessions.find(alice.key), sessions.find(bob.key)) == (None, bob)
    assert 'data-state="out"' in browser.get("/", base_url=BASE).text


@pytest.mark.parametrize("data", [{"logout_token": "a.b.c"}, {}, {"logout_token": "x" * 70_000}])
def test_a_bad_logout_token_is_refused_and_ends_nothing(browser: FlaskClient, data: dict[str, str]) -> None:
    answer = browser.post("/backchannel-logout", base_url=BASE, data=data)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (400, "no-store")
    assert set(answer.get_json()) == {"error", "error_description"}
    assert signed_in(browser)


@pytest.mark.parametrize("path", ["/sign-out", "/notes"])
@pytest.mark.parametrize("token", [None, "", "guessed", "\N{GRINNING FACE}"])
def test_a_form_that_another_page_sent_changes_nothing(browser: FlaskClient, path: str, token: str | None) -> None:
    data = {"text": "forged"} | ({} if token is None else {"csrf_token": token})
    assert browser.post(path, base_url=BASE, data=data).status_code == 400
    assert signed_in(browser)
    assert "forged" not in browser.get("/", base_url=BASE).text


def test_signing_out_is_no_link(browser: FlaskClient) -> None:
    assert browser.get("/sign-out", base_url=BASE).status_code == 405


def test_a_note_is_kept_and_shown_as_text(browser: FlaskClient, alice: Session) -> None:
    browser.post("/notes", base_url=BASE, data={"csrf_token": alice.csrf_token, "text": "<b>milk</b>"})
    assert "&lt;b&gt;milk&lt;/b&gt;" in browser.get("/", base_url=BASE).text


def test_a_return_from_sign_out_that_nobody_began_is_not_believed(browser: FlaskClient) -> None:
    assert browser.get("/signed-out?state=guessed", base_url=BASE).status_code == 400


def test_an_answer_to_a_sign_in_that_nobody_began_is_not_believed(browser: FlaskClient) -> None:
    assert browser.get("/callback?code=stolen&state=guessed", base_url=BASE).status_code == 400


def test_another_host_name_is_led_to_our_own(browser: FlaskClient) -> None:
    answer = browser.get("/", base_url="http://rebound.example:8001")
    assert (answer.status_code, answer.headers["Location"]) == (302, BASE)
