"""What holds for every command: the contract's list is there, each speaks JSON, none takes a secret as an argument."""

import re
from collections.abc import Iterator

import click
import pytest

from idp.cli import cli
from idp.runtime import secrets
from tests.cli.running import DONE, REFUSED, USAGE, run, spawn
from tests.support.serving import RunningProvider

CONTRACT = """
serve
worker
migrate
doctor
user add
user list
user show
user disable
user sign-out
client add
client list
client show
client remove
key list
key rotate
session list
session show
session end
delivery list
delivery show
delivery retry
""".split("\n")[1:-1]
LASTING = {"serve", "worker", "demo"}
_SECRET = re.compile(r"password|secret|token|private", re.IGNORECASE)


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contracts_commands_are_there(name: str) -> None:
    assert name in dict(commands())


@pytest.mark.parametrize(("name", "command"), [pytest.param(*found, id=found[0]) for found in commands()])
def test_each_command_says_what_it_does_speaks_json_and_takes_no_secret_as_an_argument(
    name: str, command: click.Command
) -> None:
    assert command.help, name
    options = {option for parameter in command.params for option in parameter.opts}
    if name not in LASTING:
        assert "--json" in options
    for parameter in command.params:
        taken = not getattr(parameter, "is_flag", False) and _SECRET.search(" ".join([*parameter.opts, parameter.name or ""]))
        assert not taken, f"{name}: {parameter.opts} takes a secret where history and process lists show it"


def test_help_and_wrong_usage(embedded: RunningProvider) -> None:
    for arguments in (["--help"], ["user", "-h"], ["--version"]):
        assert run(embedded, *arguments).code == DONE
    for arguments in (["frobnicate"], ["user"], ["user", "add"], ["--frobnicate"]):
        said = run(embedded, *arguments)
        assert said.code == USAGE
        assert said.out == ""
        assert "Traceback" not in said.err


def test_with_json_a_refusal_is_json_too(embedded: RunningProvider) -> None:
    said = run(embedded, "session", "end", "nothing", "--json")
    assert said.code == REFUSED
    assert said.out == ""
    assert said.err.startswith('{"error": "There is no live session')


def test_a_process_of_its_own_says_the_same(embedded: RunningProvider) -> None:
    for arguments in (["client", "list", "--json"], ["session", "end", "nothing"], ["--version"], ["user", "list"]):
        assert spawn(embedded, *arguments) == run(embedded, *arguments)


def test_no_identifier_can_be_taken_for_an_option() -> None:
    """`idp session end -N8e...` would be wrong usage: one identifier in 64, if nothing is done about it."""
    assert not [name for name in (secrets.token(24) for _ in range(2000)) if name.startswith("-")]
