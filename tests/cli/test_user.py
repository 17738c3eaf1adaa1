"""`idp user`: people."""

import pytest

from tests.cli.running import DONE, REFUSED, USAGE, run
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"


def add(idp: RunningProvider, name: str = "alice", *options: str):
    return run(idp, "user", "add", name, "--password-stdin", *options, stdin=PASSWORD + "\n")


def test_a_person_is_added_shown_and_listed_and_their_password_is_never_printed(idp: RunningProvider) -> None:
    added = add(idp, "Alice", "--email", "alice@example.org", "--name", "Alice Example", "--json")
    shown, listed = run(idp, "user", "show", "alice", "--json"), run(idp, "user", "list", "--json")
    assert added.json["username"] == "Alice"
    assert added.json["email"] == "alice@example.org"
    assert shown.json["subject"] == added.json["subject"]
    assert shown.json["sessions"] == []
    assert [person["username"] for person in listed.json] == ["Alice"]
    for said in (added, shown, listed):
        assert PASSWORD not in said.out + said.err
        assert "argon2" not in said.out + said.err


def test_people_read_a_table(idp: RunningProvider) -> None:
    assert run(idp, "user", "list").out == "None.\n"
    added = add(idp)
    assert added.code == DONE
    assert "alice" in added.out
    listed = run(idp, "user", "list").out.splitlines()
    assert listed[0].split()[:2] == ["username", "subject"]
    assert listed[1].split()[0] == "alice"
    assert "UTC" in listed[1]
    assert "username" in run(idp, "user", "show", "ALICE").out


def test_a_name_that_is_taken_or_looks_like_it_is_refused(idp: RunningProvider) -> None:
    add(idp)
    for name in ("alice", "ALICE", "aliсe"):  # the last with a Cyrillic letter
        assert add(idp, name).refusal


def test_a_password_comes_from_standard_input_only(idp: RunningProvider) -> None:
    for arguments in (["bob"], ["bob", "--password", PASSWORD], ["bob", PASSWORD, "--password-stdin"]):
        said = run(idp, "user", "add", *arguments, stdin=PASSWORD)
        assert said.code == USAGE
        assert run(idp, "user", "list", "--json").json == []
    for bad in ("", "short\n"):
        assert "assword" in run(idp, "user", "add", "bob", "--password-stdin", stdin=bad).refusal


def test_signing_out_and_disabling_end_everything_and_a_second_disabling_is_refused(idp: RunningProvider) -> None:
    add(idp)
    assert run(idp, "user", "sign-out", "alice", "--json").json["sessions_ended"] == 0
    disabled = run(idp, "user", "disable", "alice", "--json").json
    assert disabled["disabled"] is True
    assert run(idp, "user", "disable", "alice").refusal
    assert run(idp, "user", "show", "alice", "--json").json["disabled_at"] is not None


def test_somebody_unknown_is_refused_with_where_to_look(idp: RunningProvider) -> None:
    for command in (["show"], ["disable"], ["sign-out"]):
        assert "idp user list" in run(idp, "user", *command, "nobody").refusal


def test_an_email_address_and_a_name_are_changed_and_the_new_address_is_not_verified(idp: RunningProvider) -> None:
    add(idp, "alice", "--email", "alice@example.org", "--email-verified", "--name", "Alice")
    before = run(idp, "user", "show", "alice", "--json").json
    same = run(idp, "user", "set", "alice", "--name", "Alice Example", "--email", "alice@example.org", "--json").json
    assert (same["name"], same["email"], same["email_verified"]) == ("Alice Example", "alice@example.org", True)
    other = run(idp, "user", "set", "alice", "--email", "a@example.org", "--json").json
    assert (other["email"], other["email_verified"], other["name"]) == ("a@example.org", False, "Alice Example")
    verified = run(idp, "user", "set", "alice", "--email-verified", "--json").json
    assert (verified["email"], verified["email_verified"]) == ("a@example.org", True)
    both = run(idp, "user", "set", "alice", "--email", "b@example.org", "--email-verified", "--json").json
    assert (both["email"], both["email_verified"]) == ("b@example.org", True)
    gone = run(idp, "user", "set", "alice", "--email", "", "--name", "", "--json").json
    assert (gone["email"], gone["email_verified"], gone["name"]) == (None, False, None)
    assert before["subject"] == gone["subject"]
    assert "email address" in run(idp, "user", "set", "alice", "--email-verified").refusal
    assert "email" in run(idp, "user", "set", "alice", "--email", "no address").refusal
    assert "idp user list" in run(idp, "user", "set", "nobody", "--name", "x").refusal
    assert run(idp, "user", "set", "alice").code == USAGE


def test_claims_in_a_file_and_options_are_set_together_and_a_known_address_stays_verified(idp: RunningProvider) -> None:
    add(idp, "alice", "--email", "alice@example.org", "--email-verified")
    claims = '{"email": "alice@example.org", "nickname": "Al"}'
    said = run(idp, "user", "set", "alice", "--claims-file", "-", "--name", "Alice", "--json", stdin=claims).json
    assert (said["nickname"], said["name"], said["email_verified"]) == ("Al", "Alice", True)
    assert "comes twice" in run(idp, "user", "set", "alice", "--claims-file", "-", stdin='{"name": "a", "name": "b"}').refusal
    assert "object" in run(idp, "user", "set", "alice", "--claims-file", "-", stdin="[]").refusal


def test_a_person_is_renamed_and_stays_who_they_are(idp: RunningProvider) -> None:
    subject = add(idp, "alice", "--json").json["subject"]
    add(idp, "bob")
    assert run(idp, "user", "set", "alice", "--username", "Alicia", "--json").json["subject"] == subject
    assert run(idp, "user", "show", "alicia", "--json").json["username"] == "Alicia"
    assert "idp user list" in run(idp, "user", "show", "alice").refusal
    assert idp.services.accounts.sign_in("ALICIA", PASSWORD, "192.0.2.1", None).subject == subject
    for taken in ("bob", "BOB", "bоb"):  # the last with a Cyrillic letter
        assert "choose another" in run(idp, "user", "set", "alicia", "--username", taken).refusal or taken == "bоb"
    assert run(idp, "user", "set", "alicia", "--username", "ALICIA", "--json").json["username"] == "ALICIA"  # it is their own
    assert "script" in run(idp, "user", "set", "alicia", "--username", "bоb").refusal
    assert add(idp, "alice").code == DONE  # the old name is free, and so is what it prints like
    assert "looks like" in run(idp, "user", "set", "bob", "--username", "a1icia").refusal
    assert [each["username"] for each in run(idp, "user", "list", "--json").json] == ["alice", "ALICIA", "bob"]


def _fail(idp: RunningProvider, times: int, device: str | None = None) -> None:
    from idp.accounts.errors import SignInRefusedError

    for _ in range(times):
        with pytest.raises(SignInRefusedError):
            idp.services.accounts.sign_in("alice", "wrong", "192.0.2.1", device)


def test_who_is_locked_out_is_shown_until_when_and_unlocked(idp: RunningProvider) -> None:
    from idp.accounts.errors import SignInThrottledError

    add(idp)
    free = run(idp, "user", "show", "alice", "--json").json
    assert (free["locked"], free["locked_until_at"], free["factors"]) == (False, None, ["password"])
    assert "not locked" in run(idp, "user", "unlock", "alice").refusal
    _fail(idp, 9)
    assert run(idp, "user", "show", "alice", "--json").json["locked"] is False
    _fail(idp, 1)
    with pytest.raises(SignInThrottledError):
        idp.services.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None)
    shown = run(idp, "user", "show", "alice", "--json").json
    assert shown["locked"] is True
    assert shown["locked_until_at"] > shown["created_at"]
    assert "UTC" in next(line for line in run(idp, "user", "show", "alice").out.splitlines() if "locked_until" in line)
    unlocked = run(idp, "user", "unlock", "alice", "--json").json
    assert (unlocked["unlocked"], unlocked["was_locked"]) == (True, True)
    assert run(idp, "user", "show", "alice", "--json").json["locked"] is False
    assert idp.services.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None).username == "alice"


def test_unlocking_frees_the_browsers_that_a_person_has_used_as_well_and_nobody_else(idp: RunningProvider) -> None:
    from idp.accounts.errors import SignInThrottledError

    add(idp)
    add(idp, "bob")
    accounts = idp.services.accounts
    device = accounts.remember_device(None, accounts.sign_in("alice", PASSWORD, "192.0.2.1", None))
    _fail(idp, 10, device)
    with pytest.raises(SignInThrottledError):
        accounts.sign_in("alice", PASSWORD, "192.0.2.1", device)
    assert run(idp, "user", "unlock", "bob").code == REFUSED
    assert run(idp, "user", "unlock", "alice").code == DONE
    assert accounts.sign_in("alice", PASSWORD, "192.0.2.1", device).username == "alice"
