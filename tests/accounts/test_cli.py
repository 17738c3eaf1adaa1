"""`idp user`."""
# ruff: noqa: RUF001 - look-alikes are what is tested

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from idp.accounts.cli import group
from tests.accounts.site import PASSWORD, Site


def run(site: Site, *arguments: str, stdin: str | bytes = "") -> Result:
    with capture_logs():  # as `idp` sends them to standard error
        return CliRunner().invoke(group, arguments, obj=site, input=stdin)


def test_a_person_is_added_and_shown_without_the_password(site: Site) -> None:
    added = run(
        site,
        "add",
        "Alice",
        "--password-stdin",
        "--email",
        "a@example.org",
        "--name",
        "Alice Miller",
        "--json",
        stdin=f"{PASSWORD}\n",
    )
    assert added.exit_code == 0, added.output
    record = json.loads(added.output)
    assert record["username"] == "Alice"
    assert record["email"] == "a@example.org"
    assert record["email_verified"] is False
    assert "password" not in added.output
    assert "argon2" not in added.output
    assert site.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None).subject == record["subject"]
    shown = json.loads(run(site, "show", "alice", "--json").output)
    state = {"locked": False, "locked_until_at": None, "factors": ["password"]}
    assert shown == record | state | {"sessions": [], "session_count": 0}
    assert "Alice Miller" in run(site, "show", "ALICE").output


def test_everybody_is_listed(site: Site) -> None:
    assert run(site, "list").output == "None.\n"
    assert json.loads(run(site, "list", "--json").output) == []
    for name in ("bob", "alice"):
        site.add(name)
    assert [record["username"] for record in json.loads(run(site, "list", "--json").output)] == ["alice", "bob"]
    assert "argon2" not in run(site, "list", "--json").output
    assert "alice" in run(site, "list").output


def test_claims_are_read_from_a_file_and_changed_by_another(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "claims.json"
    file.write_text('{"nickname": "Al", "address": {"country": "FR"}, "phone_number": "+33 1 99 00 12 34"}')
    added = run(site, "add", "alice", "--password-stdin", "--claims-file", str(file), "--json", stdin=f"{PASSWORD}\n")
    assert added.exit_code == 0, added.output
    assert json.loads(added.output)["phone_number"] == "+33199001234"
    changed = run(
        site, "set", "alice", "--claims-file", "-", "--json", stdin='{"nickname": null, "phone_number_verified": true}'
    )
    assert changed.exit_code == 0, changed.output
    shown = json.loads(changed.output)
    assert "nickname" not in shown
    assert shown["phone_number_verified"] is True
    assert shown["address"] == {"country": "FR"}


@pytest.mark.parametrize(
    "sent", ["{", "[]", '{"admin": true}', '{"birthdate": "soon"}', "[" * 10_000, '{"name": "' + "x" * 70_000]
)
def test_claims_that_cannot_be_are_refused_in_a_sentence_and_change_nothing(site: Site, sent: str) -> None:
    site.add()
    refused = run(site, "set", "alice", "--claims-file", "-", stdin=sent)
    assert refused.exit_code == 1
    assert refused.output.startswith("Refused: ")
    assert run(site, "set", "nobody", "--claims-file", "-", stdin="{}").exit_code == 1


def test_a_password_is_never_an_argument(site: Site) -> None:
    assert run(site, "add", "alice", "--password", PASSWORD).exit_code == 2
    assert run(site, "add", "alice", PASSWORD).exit_code == 2
    assert run(site, "add", "alice", stdin=PASSWORD).exit_code == 2


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("two words", PASSWORD, "letters, digits"),
        ("аlice", PASSWORD, "one script"),
        ("bob", PASSWORD, "is taken"),
        ("b0b", PASSWORD, "looks like"),
        ("alice", "password123", "guessed first"),
        ("alice", "short", "at least 8"),
        ("alice", "", "standard input"),
        ("alice", b"not utf-8 \xff\xff", ""),
    ],
)
def test_what_cannot_be_is_refused_with_one_sentence(site: Site, name: str, password: str | bytes, why: str) -> None:
    site.add("bob")
    refused = run(site, "add", name, "--password-stdin", stdin=password)
    assert refused.exit_code == 1
    assert why in refused.output
    assert not isinstance(refused.exception, Exception) or isinstance(refused.exception, SystemExit)
    with site.database.reading() as tx:
        assert site.accounts.find(tx, "alice") is None


def test_a_person_is_disabled_once_and_enabled_again(site: Site) -> None:
    alice = site.add()
    site.session_of(alice)
    assert json.loads(run(site, "disable", "alice", "--json").output)["sessions_ended"] == 1
    again = run(site, "disable", "alice", "--json")
    assert again.exit_code == 1
    assert "disabled already" in json.loads(again.output)["error"]
    assert run(site, "enable", "alice").exit_code == 0
    assert run(site, "enable", "alice").exit_code == 1
    assert site.accounts.sign_in("alice", PASSWORD, "192.0.2.1", None).subject == alice.subject


def test_a_person_is_signed_out_everywhere(site: Site) -> None:
    alice = site.add()
    site.session_of(alice)
    site.session_of(alice)
    assert json.loads(run(site, "sign-out", "alice", "--json").output)["sessions_ended"] == 2
    assert site.logout.calls == [("account_sessions", alice.subject, "ended_by_operator")]


def test_a_password_is_replaced(site: Site) -> None:
    alice = site.add()
    assert run(site, "set-password", "alice", "--password-stdin", stdin="another good password\n").exit_code == 0
    assert site.accounts.sign_in("alice", "another good password", "192.0.2.1", None).subject == alice.subject
    assert run(site, "set-password", "alice", "--password-stdin", stdin="alicealice1\nx").exit_code == 0
    assert run(site, "set-password", "alice", "--password-stdin", stdin="12345678").exit_code == 1


@pytest.mark.parametrize("command", ["show", "disable", "enable", "sign-out"])
def test_nobody_of_that_name_is_refused(site: Site, command: str) -> None:
    for name in ("nobody", "nul\u202e", "a" * 1000):
        refused = run(site, command, name, "--json")
        assert refused.exit_code == 1
        assert "There is no user" in json.loads(refused.output)["error"]
