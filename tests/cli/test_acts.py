"""What operators do stands in the log: which verb, done to what, by whom. Every verb that changes something, and no other."""

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from idp.cli import cli
from idp.runtime.console import is_act
from tests.cli.running import DONE, REFUSED, Said, run
from tests.clients.registering import METADATA
from tests.house.test_documentation import commands
from tests.support.serving import RunningProvider

PASSWORD = "correct horse battery staple"
USER = pwd.getpwuid(os.getuid()).pw_name


def acts(said: Said) -> list[dict[str, object]]:
    """The lines of the log that tell of an act."""
    lines = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "operator.acted"]


def user(idp: RunningProvider) -> str:
    assert run(idp, "user", "add", "alice", "--password-stdin", stdin=PASSWORD).code == DONE
    return "alice"


def disabled(idp: RunningProvider) -> str:
    assert run(idp, "user", "disable", user(idp)).code == DONE
    return "alice"


def locked(idp: RunningProvider) -> str:
    from idp.accounts.errors import SignInRefusedError

    with pytest.raises(SignInRefusedError):
        idp.services.accounts.sign_in(user(idp), "wrong", "192.0.2.1", None)
    return "alice"


def client(idp: RunningProvider) -> str:
    return str(idp.add_client(METADATA)["client_id"])


def initial_token(idp: RunningProvider) -> str:
    return str(run(idp, "client", "token", "--json").json["token_id"])


def session(idp: RunningProvider) -> str:
    from idp.sessions.rules import SignIn

    user(idp)
    services = idp.services
    with services.database.writing() as tx:
        account = services.accounts.find(tx, "alice")
        assert account is not None
        return services.sessions.start(tx, SignIn(account.subject, "pwd", "127.0.0.1", "test")).session.sid


def key(idp: RunningProvider) -> str:
    return next(str(each["kid"]) for each in run(idp, "key", "list", "--json").json if each["state"] == "signing")


def delivery(idp: RunningProvider) -> str:
    from idp.delivery.rules import NewDelivery

    services = idp.services
    new = NewDelivery("backchannel_logout", "c", "s", "once", "https://app.example/logout", {"aud": "c"}, 4e9)
    with services.database.writing() as tx:
        services.deliveries.enqueue(tx, [new])
        (found,) = services.deliveries.listed(tx, None, 1)
    return found.delivery_id


def nothing(_idp: RunningProvider) -> str:
    return ""


#: Every act: what must be there before, the arguments after it, and what comes by standard input. `{}` is what must be there.
ACTS: dict[str, tuple[Callable[[RunningProvider], str], list[str], str]] = {
    "migrate": (nothing, [], ""),
    "user add": (nothing, ["bob", "--password-stdin", "--email", "bob@private.example"], PASSWORD),
    "user set": (user, ["{}", "--email", "alice@private.example"], ""),
    "user set-password": (user, ["{}", "--password-stdin"], "another correct horse battery"),
    "user unlock": (locked, ["{}"], ""),
    "user disable": (user, ["{}"], ""),
    "user enable": (disabled, ["{}"], ""),
    "user remove": (user, ["{}"], ""),
    "user sign-out": (user, ["{}"], ""),
    "client add": (nothing, ["--file", "-"], json.dumps(METADATA)),
    "client set": (client, ["{}", "--file", "-"], json.dumps(METADATA)),
    "client rotate-secret": (client, ["{}"], ""),
    "client remove": (client, ["{}"], ""),
    "client token": (nothing, [], ""),
    "client reseal": (nothing, [], ""),
    "key rotate": (key, [], ""),
    "key reseal": (nothing, [], ""),
    "key revoke": (key, ["{}", "--reason", "leaked"], ""),
    "session end": (session, ["{}"], ""),
    "delivery retry": (delivery, ["{}"], ""),
}
VERBS = {path.removeprefix("idp "): command for path, command in commands()}


def test_every_verb_that_changes_something_is_walked_here() -> None:
    assert set(ACTS) == {verb for verb, command in VERBS.items() if is_act(command)}


def test_what_only_reads_is_known_as_such() -> None:
    assert {verb for verb, command in VERBS.items() if not is_act(command)} == {
        "serve",
        "worker",
        "doctor",
        "demo",
        "user list",
        "user show",
        "client list",
        "client show",
        "client check",
        "key list",
        "session list",
        "session show",
        "delivery list",
        "delivery show",
        "delivery parties",
        "signals list",
    }


@pytest.mark.parametrize("verb", ACTS)
def test_an_act_stands_in_the_log_with_who_did_it(idp: RunningProvider, verb: str) -> None:
    before, arguments, stdin = ACTS[verb]
    there = before(idp)
    words = [each.replace("{}", there) for each in arguments]
    said = run(idp, *verb.split(), *words, "--json", stdin=stdin, OPERATOR="Erin of the night shift")
    assert said.code == DONE, said
    (line,) = acts(said)
    assert (line["verb"], line["outcome"]) == (verb, "done")
    assert (line["operator"], line["os_user"]) == ("Erin of the night shift", USER)
    if there and "{}" in arguments:
        assert str(line["concerns"]).split()[0] == there
    for private in (PASSWORD, "private.example", "another correct horse", "leaked"):
        assert private not in said.err
    answer = json.loads(said.out)
    for name in ("client_secret", "initial_access_token"):
        if name in answer:
            assert answer[name] not in said.err


def test_who_it_was_is_whoever_called_sudo_unless_a_name_is_given(
    idp: RunningProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    user(idp)
    assert acts(run(idp, "user", "sign-out", "alice"))[0]["operator"] == USER
    monkeypatch.setenv("SUDO_USER", "frank")
    assert acts(run(idp, "user", "sign-out", "alice"))[0]["operator"] == "frank"
    assert acts(run(idp, "user", "sign-out", "alice", OPERATOR="grace"))[0]["operator"] == "grace"
    assert "IDP_OPERATOR" in run(idp, "user", "list", OPERATOR="two\nlines").refusal


def test_what_is_refused_or_only_asked_changed_nothing_and_is_no_act(idp: RunningProvider, tmp_path: Path) -> None:
    client_id = client(idp)
    file = tmp_path / "client.json"
    file.write_text(json.dumps(METADATA | {"client_name": "Another"}))
    for arguments in (
        ["user", "disable", "nobody"],
        ["client", "set", client_id, "--file", str(file), "--dry-run"],
        ["client", "token", "--list"],
        ["user", "list"],
        ["doctor"],
        ["user", "disable"],
    ):
        assert acts(run(idp, *arguments)) == [], arguments


def test_an_act_that_breaks_off_is_written_down_as_well(idp: RunningProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    from idp.logout.service import LogoutService

    user(idp)

    def broken(*_: object, **__: object) -> int:
        raise RuntimeError("half-way")

    monkeypatch.setattr(LogoutService, "end_account_sessions", broken)
    lines: list[str] = []
    from idp.runtime import audit

    monkeypatch.setattr(audit, "record", lambda event, **fields: lines.append(f"{event} {fields['outcome']} {fields['error']}"))
    assert run(idp, "user", "sign-out", "alice").code == REFUSED
    assert lines == ["operator.acted failed RuntimeError"]


def test_the_log_is_written_in_the_form_that_was_chosen(idp: RunningProvider) -> None:
    said = run(idp, "user", "add", "bob", "--password-stdin", stdin=PASSWORD, LOG_FORMAT="console")
    assert "operator.acted" in said.err
    assert "verb='user add'" in said.err


def test_every_command_is_reached_through_the_one_place_that_writes_acts() -> None:
    for verb, command in VERBS.items():
        assert is_act(command) == (type(command.callback).__name__ == "_Act"), verb
    assert cli.name == "cli"
