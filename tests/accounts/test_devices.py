"""Browsers: their names, and the cookie by which one is known again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts import devices

KEYS = (b"a" * 32,)
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Safari/604.1",
            "Chrome on iPhone",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("Firefox", "Firefox"),
        ("something on Linux", "A browser on Linux"),
        ("curl/8.9", "An unknown device"),
        ("", "An unknown device"),
    ],
)
def test_a_browser_is_called_by_name(user_agent: str, words: str) -> None:
    assert devices.in_words(user_agent) == words


def test_a_browser_is_known_to_the_account_that_signed_in_and_to_no_other() -> None:
    cookie = devices.remember(KEYS, None, "alice", NOW)
    assert devices.recognise(KEYS, cookie, "alice", NOW) is not None
    assert devices.recognise(KEYS, cookie, "bob", NOW) is None
    assert "alice" not in cookie


def test_people_who_share_a_browser_are_all_known_and_the_oldest_is_forgotten_first() -> None:
    people = ["alice", "bob", "carol", "dave", "erin"]
    cookie = None
    for moment, name in enumerate([*people, "erin", "erin"]):
        cookie = devices.remember(KEYS, cookie, name, NOW + moment)
    known = [name for name in people if devices.recognise(KEYS, cookie, name, NOW) is not None]
    assert known == ["bob", "carol", "dave", "erin"]


def test_each_sign_in_gives_the_browser_a_new_name() -> None:
    first = devices.remember(KEYS, None, "alice", NOW)
    second = devices.remember(KEYS, first, "alice", NOW)
    assert devices.recognise(KEYS, first, "alice", NOW) != devices.recognise(KEYS, second, "alice", NOW)
    assert len(second) == len(first)


def test_a_browser_is_forgotten_after_its_time() -> None:
    cookie = devices.remember(KEYS, None, "alice", NOW)
    assert devices.recognise(KEYS, cookie, "alice", NOW + devices.LIFETIME - 1) is not None
    assert devices.recognise(KEYS, cookie, "alice", NOW + devices.LIFETIME) is None


def test_a_cookie_outlives_a_change_of_the_secret_and_is_renewed_under_the_new_one() -> None:
    old = devices.remember(KEYS, None, "alice", NOW)
    rotated = (b"b" * 32, *KEYS)
    assert devices.recognise(rotated, old, "alice", NOW) is not None
    new = devices.remember(rotated, old, "alice", NOW)
    assert devices.recognise((b"b" * 32,), new, "alice", NOW) is not None
    assert devices.recognise(KEYS, new, "alice", NOW) is None


@given(st.text(max_size=300))
def test_a_forged_cookie_names_nobody(cookie: str) -> None:
    assert devices.recognise(KEYS, cookie, "alice", NOW) is None
    assert devices.recognise(KEYS, devices.remember(KEYS, cookie, "alice", NOW), "alice", NOW) is not None


def test_a_cookie_with_another_time_in_it_names_nobody() -> None:
    nonce, issued, mac = devices.remember(KEYS, None, "alice", NOW).split(".")
    assert devices.recognise(KEYS, f"{nonce}.{int(issued) + 1}.{mac}", "alice", NOW) is None
    assert devices.recognise(KEYS, f"{nonce}.{issued}.{mac}", "alice", NOW) is not None
