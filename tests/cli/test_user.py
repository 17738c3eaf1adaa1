"""`idp user`: people."""

from tests.cli.running import DONE, USAGE, run
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
