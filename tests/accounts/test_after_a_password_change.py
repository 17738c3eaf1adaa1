"""After another password: whoever copied something of the person's has nothing of it any more, and strangers hinder nobody."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.test import TestResponse

from idp.accounts.errors import SignInRefusedError, SignInThrottledError
from tests.accounts.site import PASSWORD, Browser, Site

ANOTHER = "an entirely different battery"
STRICT = {"accounts_throttle_account_failures": 3, "accounts_throttle_address_failures": 8}


def change(browser: Browser, old: str = PASSWORD, new: str = ANOTHER) -> TestResponse:
    fields = {"password": old, "new_password": new, "new_password_again": new}
    return browser.submit("/account/password", "/account/password", **fields)


def copied(site: Site, browser: Browser) -> Browser:
    """Another browser, with a copy of every cookie of this one."""
    thief = site.browser()
    for name in ("idp_session", "idp_device"):
        value = browser.cookie(name)
        assert value is not None
        thief.http.set_cookie(name, value)
    return thief


def is_in(browser: Browser) -> bool:
    return browser.http.get("/account").status_code == 200


def attempt(site: Site, password: str, device: str | None, address: str = "198.51.100.1") -> str:
    try:
        site.accounts.sign_in("alice", password, address, device)
    except SignInRefusedError:
        return "refused"
    except SignInThrottledError:
        return "throttled"
    return "in"


# -- the session's cookie ---------------------------------------------------------------------------------------------


def test_a_copied_cookie_is_dead_at_once_and_the_session_goes_on(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    (before,) = site.live(alice)
    thief = copied(site, browser)
    assert is_in(thief)
    assert change(browser).location == "/account?changed=password"
    assert not is_in(thief)
    assert is_in(browser)
    (after,) = site.live(alice)
    assert (after.sid, after.auth_time) == (before.sid, before.auth_time)  # apps know the session by its sid


def test_a_copied_cookie_is_one_of_the_others_that_are_signed_out(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    (before,) = site.live(alice)
    thief = copied(site, browser)
    assert browser.submit("/account", "/account/sign-out-others").location == "/account"
    assert not is_in(thief)
    assert is_in(browser)
    assert [session.sid for session in site.live(alice)] == [before.sid]


def test_a_form_that_was_copied_with_the_cookie_is_worthless_too(site: Site) -> None:
    site.add()
    browser = site.browser()
    browser.sign_in()
    token = browser.form("/account")
    change(browser)
    assert browser.http.post("/account/sign-out-everywhere", data={"csrf_token": token}).status_code == 400
    assert is_in(browser)


def test_who_is_told_that_the_password_is_wrong_keeps_the_cookie(site: Site) -> None:
    site.add()
    browser = site.browser()
    browser.sign_in()
    twin = copied(site, browser)
    assert "current password is wrong" in change(browser, old="wrong").text
    assert is_in(twin)


def test_signing_in_again_gives_another_cookie_to_the_same_session(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    sid = site.live(alice)[0].sid
    thief = copied(site, browser)
    request_id = site.pending.add()
    assert browser.sign_in(path=f"/login?request={request_id}", request=request_id).status_code == 303
    assert not is_in(thief)
    assert [session.sid for session in site.live(alice)] == [sid]


def test_a_session_that_ended_meanwhile_is_not_gone_on_with(site: Site) -> None:
    alice, browser = site.add(), site.browser()
    browser.sign_in()
    token = browser.form("/account/password")
    verify = site.accounts._passwords.verify

    def end_then_verify(stored: str | None, password: str) -> bool:
        with site.database.writing() as tx:
            site.logout.end_session(tx, site.live(alice)[0].sid, "test")
        return verify(stored, password)

    site.accounts._passwords.verify = end_then_verify  # type: ignore[method-assign]
    fields = {"csrf_token": token, "password": PASSWORD, "new_password": ANOTHER, "new_password_again": ANOTHER}
    assert browser.http.post("/account/password", data=fields).location == "/login"
    site.accounts._passwords.verify = verify  # type: ignore[method-assign]
    assert attempt(site, PASSWORD, None) == "in"  # nothing was changed


def test_of_two_changes_at_once_one_counts_and_neither_fails(site: Site) -> None:
    """Both have proved the old password: on PostgreSQL each once held the account's row and waited for the other's."""
    alice = site.add()
    for _ in range(10):
        with site.database.reading() as tx:
            shown = site.accounts.get(tx, alice.subject)
        assert shown is not None
        sids = [site.session_of(alice) for _ in range(2)]
        hashes = [site.accounts.hash_password("alice", f"{ANOTHER} {each}") for each in range(2)]
        together = threading.Barrier(2)

        def set_password(which: int, together=together, shown=shown, hashes=hashes, sids=sids) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
            together.wait()
            try:
                with site.database.writing() as tx:
                    site.accounts.change_password(tx, shown, hashes[which], keep=sids[which])
            except SignInRefusedError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(set_password, range(2))) == [False, True]


# -- device cookies and counters --------------------------------------------------------------------------------------


def known_browsers(site: Site) -> list[str]:
    """Device cookies of Alice's browsers, each of which has guesses of its own."""
    account = site.accounts.sign_in("alice", PASSWORD, "203.0.113.5", None)
    return [site.accounts.remember_device(None, account) for _ in range(2)]


def lock_for_strangers(site: Site) -> None:
    assert [attempt(site, "wrong", None, f"198.51.100.{n}") for n in range(4)] == ["refused"] * 3 + ["throttled"]


@pytest.mark.parametrize("by", ["the person", "an operator"])
def test_another_password_forgets_the_devices_of_the_account_in_all_browsers(site: Site, by: str) -> None:
    strict = site.restarted(**STRICT)
    alice, browser = strict.add(), strict.browser()
    browser.sign_in()
    devices = [*known_browsers(strict), browser.cookie("idp_device")]
    if by == "the person":
        change(browser)
    else:
        set_by_an_operator(strict, alice.subject, ANOTHER)
    lock_for_strangers(strict)
    assert [attempt(strict, ANOTHER, device) for device in devices] == ["throttled"] * 3


def set_by_an_operator(site: Site, subject: str, password: str) -> None:
    hashed = site.accounts.hash_password("alice", password)
    with site.database.writing() as tx:
        assert site.accounts.set_password(tx, subject, hashed) is not None


def test_this_browser_is_known_by_a_new_cookie(site: Site) -> None:
    strict = site.restarted(**STRICT)
    strict.add()
    browser = strict.browser()
    browser.sign_in()
    change(browser)
    lock_for_strangers(strict)
    assert attempt(strict, ANOTHER, browser.cookie("idp_device")) == "in"


def test_disabling_an_account_forgets_its_devices_too(site: Site) -> None:
    strict = site.restarted(**STRICT)
    alice = strict.add()
    devices = known_browsers(strict)
    strict.disable(alice)
    with strict.database.writing() as tx:
        strict.accounts.enable(tx, alice.subject)
    lock_for_strangers(strict)
    assert {attempt(strict, PASSWORD, device) for device in devices} == {"throttled"}


def test_whoever_gets_a_name_that_was_somebodys_inherits_no_device(site: Site) -> None:
    strict = site.restarted(**STRICT)
    alice = strict.add()
    devices = known_browsers(strict)
    with strict.database.writing() as tx:
        strict.accounts.remove(tx, alice.subject)
    strict.add()
    lock_for_strangers(strict)
    assert {attempt(strict, PASSWORD, device) for device in devices} == {"throttled"}


def test_a_hash_that_is_made_anew_forgets_no_device(site: Site) -> None:
    site.add()
    devices = known_browsers(site)
    strict = site.restarted(**STRICT, accounts_argon2_time_cost=2)
    assert attempt(strict, PASSWORD, None) == "in"
    lock_for_strangers(strict)
    assert {attempt(strict, PASSWORD, device) for device in devices} == {"in"}


def test_what_was_guessed_at_the_old_password_does_not_keep_anybody_from_the_new_one(site: Site) -> None:
    strict = site.restarted(**STRICT)
    alice = strict.add()
    lock_for_strangers(strict)
    set_by_an_operator(strict, alice.subject, ANOTHER)
    assert attempt(strict, ANOTHER, None) == "in"


def test_a_device_cookie_does_not_skip_the_limit_of_an_address(site: Site) -> None:
    strict = site.restarted(accounts_throttle_account_failures=3, accounts_throttle_address_failures=5)
    strict.add()
    devices = known_browsers(strict)
    outcomes = [attempt(strict, "wrong", device) for device in devices for _ in range(3)]
    assert outcomes == ["refused"] * 5 + ["throttled"]
    assert attempt(strict, PASSWORD, devices[0], "203.0.113.5") == "throttled"  # its own bucket is full
    assert attempt(strict, PASSWORD, devices[1], "203.0.113.5") == "in"


# -- strangers who guess ----------------------------------------------------------------------------------------------


def test_a_stranger_who_guesses_keeps_nobody_from_changing_their_password(site: Site) -> None:
    strict = site.restarted(**STRICT)
    strict.add()
    browser = strict.browser()
    browser.sign_in(address="198.51.100.1")
    for address in ("198.51.100.1", "198.51.100.2"):
        for _ in range(20):
            attempt(strict, "wrong", None, address)
    assert attempt(strict, PASSWORD, None) == "throttled"
    assert change(browser).location == "/account?changed=password"


def test_who_guesses_in_a_session_keeps_nobody_from_signing_in_or_from_another_session(site: Site) -> None:
    strict = site.restarted(**STRICT)
    strict.add()
    mine, elsewhere = strict.browser(), strict.browser()
    mine.sign_in()
    elsewhere.sign_in()
    answers = [change(elsewhere, old="wrong").status_code for _ in range(5)]
    assert answers == [200] * 3 + [429] * 2
    assert attempt(strict, PASSWORD, None) == "in"
    assert change(mine).status_code == 303


def test_guesses_in_a_session_are_counted_in_parallel_too(site: Site) -> None:
    strict = site.restarted(**STRICT)
    alice = strict.add()
    sid = strict.session_of(alice)

    def guess(_: int) -> str:
        try:
            strict.accounts.confirm_password(alice.subject, sid, "wrong")
        except SignInRefusedError:
            return "refused"
        except SignInThrottledError:
            return "throttled"
        return "in"

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(guess, range(12)))
    assert sorted(outcomes) == ["refused"] * 3 + ["throttled"] * 9


def test_a_right_password_in_a_session_is_not_counted(site: Site) -> None:
    strict = site.restarted(**STRICT)
    alice = strict.add()
    sid = strict.session_of(alice)
    for _ in range(5):
        assert strict.accounts.confirm_password(alice.subject, sid, PASSWORD).subject == alice.subject
