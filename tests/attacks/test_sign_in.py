"""Attacks on signing in: docs/threats.md 25, 26, 28-31, 34, 46, 47, 49."""
# ruff: noqa: RUF001 - look-alikes are what is tested

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from argon2.low_level import verify_secret
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from idp.accounts.errors import PasswordRefusedError, SignInRefusedError, SignInThrottledError, UsernameRefusedError
from tests.accounts.site import PASSWORD, Browser, Site
from tests.support.databases import DIALECTS, fresh

STRICT: dict[str, Any] = {"accounts_throttle_account_failures": 3, "accounts_throttle_address_failures": 8}


@pytest.fixture(params=DIALECTS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site with Alice, where three failures are enough."""
    built = Site.build(fresh(request, tmp_path), **STRICT)
    built.add()
    yield built
    built.close()


def attempt(site: Site, username: str, password: str, address: str = "198.51.100.1", device: str | None = None) -> str:
    """What became of a sign-in."""
    try:
        site.accounts.sign_in(username, password, address, device)
    except SignInRefusedError:
        return "refused"
    except SignInThrottledError:
        return "throttled"
    return "in"


def bare(answer: TestResponse) -> str:
    """The page without what differs at each answer: the token, and the name that was typed."""
    return re.sub(r'(name="csrf_token" |name="username" .*?)value="[^"]*"', r"\1", answer.text)


# -- 25, 26, 34: the browser ------------------------------------------------------------------------------------------


def test_a_cookie_that_was_planted_before_the_sign_in_is_worth_nothing_after_it(site: Site) -> None:
    thief, victim = site.browser(), site.browser()
    thief.http.get("/login")
    planted = thief.cookie("idp_session")
    assert planted is not None
    victim.http.set_cookie("idp_session", planted)
    assert victim.sign_in().status_code == 303
    assert victim.cookie("idp_session") != planted
    assert victim.http.get("/account").status_code == 200
    assert thief.http.get("/account").location == "/login"


def test_the_cookie_of_a_session_is_new_at_every_sign_in_and_the_old_one_dead(site: Site) -> None:
    thief, victim = site.browser(), site.browser()
    victim.sign_in()
    thief.http.set_cookie("idp_session", victim.cookie("idp_session") or "")
    assert thief.http.get("/account").status_code == 200
    request_id = site.pending.add()
    victim.sign_in(path=f"/login?request={request_id}", request=request_id)
    assert thief.http.get("/account").location == "/login"
    assert victim.http.get("/account").status_code == 200


def test_a_form_token_from_before_the_sign_in_does_not_work_after_it(site: Site) -> None:
    browser = site.browser()
    token = browser.form("/login")
    browser.sign_in()
    assert browser.http.post("/account/sign-out-everywhere", data={"csrf_token": token}).status_code == 400
    assert site.logout.calls == []


def test_nobody_is_signed_in_by_a_form_on_another_site(site: Site) -> None:
    """Login CSRF: the thief's own token, or none, in the victim's browser."""
    thief, victim = site.browser(), site.browser()
    for token in (thief.form("/login"), "", "nonsense", "é\x00"):
        answer = victim.http.post("/login", data={"csrf_token": token, "username": "alice", "password": PASSWORD})
        assert answer.status_code == 400
    assert victim.http.get("/account").location == "/login"


@pytest.mark.parametrize("path", ["/account/sign-out", "/account/sign-out-everywhere", "/login/select"])
def test_nobody_is_signed_out_by_a_form_on_another_site(site: Site, path: str) -> None:
    browser = site.browser()
    browser.sign_in()
    assert browser.http.post(path, data={"sid": "x", "choice": "continue"}).status_code == 400
    assert browser.http.get(path).status_code in {303, 405}
    assert site.logout.calls == []


@pytest.mark.parametrize(
    "cookie", ["remember_token=x|é", "remember_token=1|" + "0" * 128, "idp_session=nonsense", "idp_device=~~.~"]
)
def test_a_forged_cookie_signs_nobody_in(site: Site, cookie: str) -> None:
    http = site.browser().http
    answer = http.get("/account", headers={"Cookie": cookie})
    assert (answer.status_code, answer.location) == (303, "/login")


def test_pages_with_something_personal_are_never_stored(site: Site) -> None:
    browser = site.browser()
    browser.sign_in()
    for path in ("/account", "/", "/login?request=x"):
        assert browser.http.get(path).headers["Cache-Control"] == "no-store"


# -- 28: enumeration --------------------------------------------------------------------------------------------------


def test_unknown_disabled_and_wrong_are_answered_alike(site: Site) -> None:
    site.disable(site.add("bob"))
    answers = [
        Browser(site.browser().http).sign_in(username, password)
        for username, password in [
            ("alice", "wrong"),
            ("nobody", "wrong"),
            ("bob", "wrong"),
            ("bob", PASSWORD),
            ("no name", "wrong"),
            ("x" * 5000, "y"),
        ]
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({bare(answer) for answer in answers}) == 1
    assert len({tuple(sorted(name for name, _ in answer.headers)) for answer in answers}) == 1


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("alice", "wrong"),
        ("nobody", "wrong"),
        ("bob", PASSWORD),
        ("bob", "wrong"),
        ("no name", "x"),
        ("alice", "x" * 100_000),
        ("alice", "nul\x00"),
        ("alice", ""),
        ("", ""),
        ("alice\ud800", "\ud800"),
    ],
)
def test_every_refusal_costs_one_computation_and_the_same_statements(site: Site, username: str, password: str) -> None:
    """Counted, not timed: a clock on a busy machine proves nothing."""
    site.disable(site.add("bob"))
    with (
        patch("argon2._password_hasher.verify_secret", side_effect=_counted) as verified,
        patch("argon2._password_hasher.hash_secret") as hashed,
    ):
        assert attempt(site, username, password) == "refused"
    assert verified.call_count == 1
    assert hashed.call_count == 0
    stored = verified.call_args.args[0].decode()
    assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")


def _counted(*arguments: object) -> bool:
    return verify_secret(*arguments)  # type: ignore[arg-type]


def test_an_unknown_name_is_throttled_like_a_known_one(site: Site) -> None:
    for name in ("alice", "nobody"):
        assert [attempt(site, name, "wrong", f"198.51.100.{i}") for i in range(5)] == ["refused"] * 3 + ["throttled"] * 2


# -- 29: guessing -----------------------------------------------------------------------------------------------------


def test_guessing_at_one_account_from_many_addresses_is_throttled(site: Site) -> None:
    outcomes = [attempt(site, "ALICE" if i % 2 else "alice", f"guess {i}", f"198.51.100.{i}") for i in range(20)]
    assert outcomes == ["refused"] * 3 + ["throttled"] * 17
    assert attempt(site, "alice", PASSWORD) == "throttled"


def test_spraying_many_accounts_from_one_network_is_throttled(site: Site) -> None:
    v4 = [attempt(site, f"name{i}", "Summer2026!") for i in range(12)]
    assert v4 == ["refused"] * 8 + ["throttled"] * 4
    v6 = [attempt(site, f"other{i}", "Summer2026!", f"2001:db8:0:1::{i:x}") for i in range(12)]
    assert v6 == ["refused"] * 8 + ["throttled"] * 4
    assert attempt(site, "alice", PASSWORD, "203.0.113.9") == "in"


def test_a_thief_with_an_account_of_their_own_does_not_empty_the_buckets(site: Site) -> None:
    site.add("mallory")
    outcomes = []
    for i in range(10):
        outcomes.append(attempt(site, f"name{i}", "guess"))
        attempt(site, "mallory", PASSWORD)
    assert outcomes == ["refused"] * 8 + ["throttled"] * 2


def test_counters_survive_a_restart(site: Site) -> None:
    assert [attempt(site, "alice", "wrong") for _ in range(3)] == ["refused"] * 3
    again = site.restarted(**STRICT)
    assert attempt(again, "alice", PASSWORD) == "throttled"


def test_twenty_parallel_guesses_are_not_more_than_three(site: Site) -> None:
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda i: attempt(site, "alice", f"guess {i}", f"198.51.100.{i}"), range(20)))
    assert outcomes.count("refused") == 3
    assert outcomes.count("throttled") == 17


def test_parallel_guesses_of_which_one_is_right_are_not_more_either(site: Site) -> None:
    with (
        patch("argon2._password_hasher.verify_secret", side_effect=_counted) as verified,
        ThreadPoolExecutor(20) as pool,
    ):
        list(pool.map(lambda i: attempt(site, "alice", f"guess {i}", f"198.51.100.{i}"), range(20)))
    assert verified.call_count == 3


def test_a_victim_is_not_locked_out_of_their_own_browser(site: Site) -> None:
    home = site.browser()
    assert home.sign_in(address="203.0.113.5").status_code == 303
    home.submit("/account", "/account/sign-out-everywhere")
    for i in range(20):
        attempt(site, "alice", f"guess {i}", "203.0.113.5")
    assert attempt(site, "alice", PASSWORD, "203.0.113.5") == "throttled"
    assert home.sign_in(address="203.0.113.5").status_code == 303


def test_a_victim_is_not_locked_out_for_good_anywhere(site: Site) -> None:
    for i in range(20):
        attempt(site, "alice", f"guess {i}")
    site.clock.move(site.settings.accounts_throttle_window)
    assert attempt(site, "alice", PASSWORD) == "in"


def test_the_victims_browser_is_throttled_too_and_its_cookie_opens_no_other_account(site: Site) -> None:
    site.add("bob")
    alice = site.accounts.sign_in("alice", PASSWORD, "203.0.113.5", None)
    device = site.accounts.remember_device(None, alice)
    assert [attempt(site, "alice", "wrong", device=device) for _ in range(5)] == ["refused"] * 3 + ["throttled"] * 2
    assert attempt(site, "alice", PASSWORD) == "in"
    assert [attempt(site, "bob", "wrong", f"198.51.100.{i}", device) for i in range(5)] == ["refused"] * 3 + ["throttled"] * 2


def test_a_device_cookie_of_another_deployment_is_a_strangers(site: Site) -> None:
    other = site.restarted(**STRICT, secret_key="another secret of the tests that is long enough")
    alice = other.accounts.sign_in("alice", PASSWORD, "203.0.113.5", None)
    forged = other.accounts.remember_device(None, alice)
    for i in range(3):
        assert attempt(site, "alice", "wrong", f"198.51.100.{i}", forged) == "refused"
    assert attempt(site, "alice", PASSWORD, "203.0.113.7", forged) == "throttled"


# -- 30, 31: passwords and names --------------------------------------------------------------------------------------


def test_a_long_password_is_not_cut(site: Site) -> None:
    long = "correct horse " * 60
    site.add("carol", long)
    assert attempt(site, "carol", long[:-1]) == "refused"
    assert attempt(site, "carol", f"{long[:-1]}x") == "refused"
    assert attempt(site, "carol", long) == "in"


def test_a_nul_is_refused_wherever_it_comes(site: Site) -> None:
    with pytest.raises(PasswordRefusedError):
        site.add("carol", f"{PASSWORD}\x00")
    assert attempt(site, "alice", f"{PASSWORD}\x00") == "refused"
    assert attempt(site, "alice", f"{PASSWORD}\x00rest") == "refused"
    assert attempt(site, "alice\x00", PASSWORD) == "refused"


def test_a_password_composed_by_another_keyboard_is_the_same(site: Site) -> None:
    site.add("carol", "cafe\u0301 cre\u0300me")
    assert attempt(site, "carol", "caf\u00e9 cr\u00e8me") == "in"


@pytest.mark.parametrize(
    "name",
    [
        "аlice",
        "аӏісе",
        "aIice",
        "a1ice",
        "ALICE",
        "ａｌｉｃｅ",
        "alice\u200b",
        "alice\u202e",
        "ali\u034fce",
        "alıce",
        "alice."[:-1],
    ],
)
def test_no_second_account_prints_like_the_first(site: Site, name: str) -> None:
    with pytest.raises(UsernameRefusedError):
        site.add(name)


# -- malformed input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"username=alice%00&password=x",
        b"username=%ff%fe&password=%80",
        b"username=\xff\xfe&password=\x80",
        b"username=" + b"a" * 1_000_000 + b"&password=x",
        b"username=alice&password=" + b"%F0%9F%A6%8A" * 80_000,
        b"username=alice&username=bob&password=x&password=y",
        b"&&&===&%&password",
        b"",
        b"request=%00",
        b"request[]=1&username[]=alice",
    ],
)
def test_a_damaged_form_gets_a_page_and_never_a_500(site: Site, body: bytes) -> None:
    browser = site.browser()
    token = browser.form("/login").encode()
    for kind in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json",
    ):
        for start in (b"csrf_token=" + token + b"&", b""):
            answer = browser.http.post("/login", data=start + body, content_type=kind)
            assert answer.status_code in {200, 400, 413}, answer.status
    assert browser.http.get("/account").location == "/login"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    username=st.text(max_size=80),
    password=st.text(max_size=80),
    address=st.text(max_size=30),
    device=st.none() | st.text(max_size=90),
)
def test_whatever_is_typed_is_refused_and_nothing_breaks(
    site: Site, username: str, password: str, address: str, device: str | None
) -> None:
    assert attempt(site, username, password, address, device) in {"refused", "throttled"}


@pytest.mark.parametrize(
    "path",
    [
        "/login?request=%00",
        "/login?request=%ff",
        "/login?" + "a=1&" * 70,
        "/login/select?request=%ff",
        "/account?x=%00",
    ],
)
def test_a_damaged_address_gets_a_page_and_never_a_500(site: Site, path: str) -> None:
    assert site.browser().http.get(path).status_code in {200, 303, 400}


def test_a_header_of_any_bytes_is_no_trouble(site: Site) -> None:
    browser = site.browser()
    browser.http.environ_base["HTTP_USER_AGENT"] = "Firefox \x00\x1b[2J\u00ff" + "x" * 5000
    assert browser.sign_in(address="not an address").status_code == 303
    assert browser.http.get("/account").status_code == 200


# -- 46, 47: what is left behind --------------------------------------------------------------------------------------


def test_what_was_typed_is_in_no_log_and_in_no_table(site: Site) -> None:
    """People type their password into the username field."""
    with capture_logs() as logs:
        assert attempt(site, "MySecretPassword", "another secret") == "refused"
        for _ in range(5):
            attempt(site, "mysecretpassword", "another secret")
        assert attempt(site, "alice", "wrong", "203.0.113.77") == "refused"
    assert [entry["event"] for entry in logs] == ["sign_in.refused"] * 3 + ["sign_in.throttled"] * 3 + ["sign_in.refused"]
    assert [entry.get("reason") for entry in logs[-1:]] == ["wrong_password"]
    assert logs[0]["account"] == logs[1]["account"]
    with site.database.reading() as tx:
        rows = tx.execute(text("SELECT bucket, failures, expires_at FROM sign_in_throttles")).all()
    assert len(rows) >= 3
    for trace in (repr(logs), repr(rows)):
        assert "secret" not in trace.casefold()
        assert PASSWORD not in trace
    assert "203.0.113.77" not in repr(rows)
