"""The `idp` command: each room's commands under one roof. Exit codes: 0 done, 1 refused, 2 wrong usage.

A command imports what it needs when it runs, and no room is imported whose command it is not: an operator's script
calls `idp` often, and the interpreter's start is most of what it then waits for (tests/cli/test_start.py).
"""

import sys
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, NamedTuple

import click

from idp.runtime.console import HELP, act_of, emit, is_act, json_option, reads
from idp.runtime.printing import replaced

if TYPE_CHECKING:
    from idp.config import Settings
    from idp.keys.service import KeyService
    from idp.provider import Provider


class Noun(NamedTuple):
    """What a noun is, for the list of all, and where its commands are: the room's, and those of `logout` that end it."""

    summary: str
    addresses: tuple[str, ...]


_NOUNS = {
    "user": Noun("People who sign in here.", ("idp.accounts.cli:group",)),
    "client": Noun(
        "Relying parties.",
        ("idp.clients.cli:group", "idp.logout.cli:set_client", "idp.logout.cli:remove_client", "idp.logout.cli:check_client"),
    ),
    "key": Noun("Signing keys.", ("idp.keys.cli:group", "idp.logout.cli:revoke_key")),
    "session": Noun("Browser sessions at this provider.", ("idp.sessions.cli:group", "idp.logout.cli:end_session")),
    "delivery": Noun("What is sent to relying parties, and what became of it.", ("idp.delivery.cli:group",)),
    "signals": Noun("Security events, for those who verify tokens locally.", ("idp.signals.cli:group",)),
    "demo": Noun(
        "Start the provider and two apps, and show what happens between them. Ctrl-C leaves nothing behind.",
        ("idp.demo.cli:command",),
    ),
}


class Rooms(click.Group):
    """Finds a room's commands when they are asked for: nobody waits for rooms that are not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, by name."""
        return sorted({*super().list_commands(ctx), *_NOUNS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command; its room is imported now."""
        if cmd_name not in _NOUNS:
            own = super().get_command(ctx, cmd_name)
            return None if own is None else _written_down(own)
        found, *hung = [_load(address) for address in _NOUNS[cmd_name].addresses]
        if isinstance(found, click.Group):
            for command in hung:
                found.add_command(command)
            for command in found.commands.values():
                _written_down(command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of all commands. What a room's are for stands here, so that none is imported for it."""
        named = {name: click.Command(name, help=noun.summary) for name, noun in _NOUNS.items()}
        commands = {name: named.get(name) or self.commands[name] for name in self.list_commands(ctx)}
        limit = formatter.width - 6 - max(map(len, commands))
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit)) for name, command in commands.items()])


def _load(address: str) -> click.Command:
    module, _, name = address.partition(":")
    command = getattr(import_module(module), name)
    if not isinstance(command, click.Command):
        message = f"{address} is no command"
        raise TypeError(message)
    return command


def _written_down(command: click.Command) -> click.Command:
    """A command that changes something, so that the log says who did it: here, so that no room can forget it."""
    act = command.callback
    if act is None or not is_act(command) or isinstance(act, _Act):
        return command
    command.callback = _Act(act)
    return command


class _Act:
    """What a command runs, and afterwards the line in the log. What was refused changed nothing, and has none."""

    def __init__(self, run: Callable[..., object]) -> None:
        self._run = run

    def __call__(self, *arguments: object, **options: object) -> object:
        from idp.config import OperatorError

        context = click.get_current_context()
        try:
            done = self._run(*arguments, **options)
        except (click.ClickException, click.exceptions.Exit, OperatorError):
            raise
        except BaseException as error:
            self._write(context, "failed", type(error).__name__)  # some of it may have been done
            raise
        self._write(context, "done")
        return done

    @staticmethod
    def _write(context: click.Context, outcome: str, error: str | None = None) -> None:
        from idp.config import os_user
        from idp.runtime import audit

        if not isinstance(context.find_root().command, Rooms):  # it was not called as `idp`, but by a program, as a test is
            return
        act, settings = act_of(context), vars(context.obj).get("settings")
        if act is None or settings is None:  # nothing was done, not even the settings were read
            return
        audit.configure(settings.log_format, "info")  # whatever else is kept quiet
        who = {"operator": settings.operator, "os_user": os_user()}
        audit.record("operator.acted", **act, outcome=outcome, **who, **({} if error is None else {"error": error}))


class Deployment:
    """The deployment that a command works on: settings read and services built when a command first asks for them."""

    @cached_property
    def settings(self) -> "Settings":
        """The settings, read now. Raises SettingsError."""
        from idp.config import Settings
        from idp.runtime import audit

        settings = Settings.load()
        audit.configure(settings.log_format, "warning")
        return settings

    @cached_property
    def provider(self) -> "Provider":
        """The services, over a database whose schema is the one needed."""
        from idp.provider import Provider

        provider = Provider(self.settings)
        provider.prepare()
        return provider

    @cached_property
    def keys(self) -> "KeyService":
        """The signing keys, as the schedule wants them now."""
        keys = self.provider.keys
        try:
            keys.open()
            keys.keep_up()
        finally:
            keys.close()  # it is opened again where it is needed
        return keys

    def __getattr__(self, name: str) -> object:
        """A room's commands ask for services by the names they have in `provider.Provider`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.provider, name)


def _version(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from idp import __version__

        click.echo(f"idp, version {__version__}")
        context.exit()


@click.group(cls=Rooms, context_settings=HELP)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
@click.pass_context
def cli(context: click.Context) -> None:
    """An OpenID Provider whose sessions can really be ended."""
    context.obj = Deployment()


@cli.command()
@click.pass_obj
@reads
def serve(deployment: Deployment) -> None:
    """Serve the provider, with its delivery worker and key schedule inside."""
    from idp.runtime.temporary import folder_of_figures

    with folder_of_figures() as folder:
        from idp import serving
        from idp.runtime import audit

        settings = deployment.settings
        audit.configure(settings.log_format, settings.log_level)
        serving.serve(settings, folder)


@cli.command()
@click.pass_obj
@reads
def worker(deployment: Deployment) -> None:
    """Deliver logout tokens without serving requests, beside several instances."""
    from idp import serving
    from idp.runtime import audit

    settings = deployment.settings
    audit.configure(settings.log_format, settings.log_level)
    serving.work(settings)


@cli.command()
@json_option
@click.pass_obj
def migrate(deployment: Deployment, *, as_json: bool) -> None:
    """Bring the database's schema up to date. Safe to run by several instances at once."""
    from idp.runtime import migrations
    from idp.runtime.database import Database
    from idp.runtime.limits import Limits

    settings = deployment.settings
    if settings.embedded and not settings.database_url:
        settings.make_data_dir()
    database = Database(settings.database, limits=Limits.of(settings))
    changed = migrations.upgrade(database)
    emit({"changed": changed, "revision": migrations.head()}, as_json=as_json)


@cli.command()
@json_option
@click.pass_obj
@reads
def doctor(_deployment: Deployment, *, as_json: bool) -> None:
    """Say what is wrong with this deployment, and the mend."""
    from idp import doctor as examination

    findings = examination.examine()
    emit([finding.shown() for finding in findings], as_json=as_json, columns=("state", "what", "finding", "mend"))
    if any(finding.state == "wrong" for finding in findings):
        sys.exit(1)


def main() -> None:
    """The entry point: whatever an operator can mend is one sentence, never a stack trace."""
    try:
        cli(standalone_mode=True)
    except Exception as error:  # noqa: BLE001 - a trace shows what stands in an error's text, and that may be a secret
        click.echo(f"idp: {replaced(_sentence(error))}", err=True)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    """What an operator can mend, as a sentence. Of anything else its kind and its place: its own text may hold secrets."""
    from sqlalchemy.exc import SQLAlchemyError

    from idp.config import OperatorError

    if isinstance(error, OperatorError):
        return str(error)
    if isinstance(error, SQLAlchemyError):
        return f"the database refused ({type(error).__name__}): run `idp doctor` to see why."
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return f"the system refused ({named}{error.strerror}): see that who runs idp may do this, and that there is room."
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-3:]]
    kind = type(error).__name__
    return f"nobody foresaw this ({kind} at {', '.join(places)}): run `idp doctor`, and report this line if that is good."
