"""The `idp` command: each room's commands under one roof. Exit codes: 0 done, 1 refused, 2 wrong usage."""

import sys
from functools import cached_property
from importlib import import_module

import click
from sqlalchemy.exc import SQLAlchemyError

from idp import __version__
from idp.config import OperatorError, Settings
from idp.runtime import audit
from idp.runtime.console import emit, json_option

#: Each noun's commands, and those that `logout` hangs under it because they end something.
_NOUNS: dict[str, tuple[str, ...]] = {
    "user": ("idp.accounts.cli:group",),
    "client": ("idp.clients.cli:group", "idp.logout.cli:remove_client", "idp.logout.cli:check_client"),
    "key": ("idp.keys.cli:group", "idp.logout.cli:revoke_key"),
    "session": ("idp.sessions.cli:group", "idp.logout.cli:end_session"),
    "delivery": ("idp.delivery.cli:group",),
    "signals": ("idp.signals.cli:group",),
    "demo": ("idp.demo.cli:command",),
}


class Rooms(click.Group):
    """Finds a room's commands when they are asked for: nobody waits for rooms that are not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, by name."""
        return sorted({*super().list_commands(ctx), *_NOUNS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command; its room is imported now."""
        if cmd_name not in _NOUNS:
            return super().get_command(ctx, cmd_name)
        found, *hung = [_load(address) for address in _NOUNS[cmd_name]]
        if isinstance(found, click.Group):
            for command in hung:
                found.add_command(command)
        return found


def _load(address: str) -> click.Command:
    module, _, name = address.partition(":")
    command = getattr(import_module(module), name)
    if not isinstance(command, click.Command):
        message = f"{address} is no command"
        raise TypeError(message)
    return command


class Deployment:
    """The deployment that a command works on: settings read and services built when a command first asks for them."""

    @cached_property
    def settings(self) -> Settings:
        """The settings, read now. Raises SettingsError."""
        settings = Settings.load()
        audit.configure(settings.log_format, "warning")
        return settings

    @cached_property
    def provider(self):  # type: ignore[no-untyped-def]  # noqa: ANN201 - imported late
        """Every service, over a database whose schema is the one needed."""
        from idp import app, serving  # noqa: PLC0415 - `idp --help` should not wait for the whole provider

        serving.prepare(self.settings)
        return app.build(self.settings)

    def __getattr__(self, name: str) -> object:
        """A room's commands ask for services by the names they have in `app.Provider`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.provider, name)


@click.group(cls=Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="idp")
@click.pass_context
def cli(context: click.Context) -> None:
    """An OpenID Provider whose sessions can really be ended."""
    context.obj = Deployment()


@cli.command()
@click.pass_obj
def serve(deployment: Deployment) -> None:
    """Serve the provider, with its delivery worker and key schedule inside."""
    from idp import serving  # noqa: PLC0415

    settings = deployment.settings
    audit.configure(settings.log_format, settings.log_level)
    serving.serve(settings)


@cli.command()
@click.pass_obj
def worker(deployment: Deployment) -> None:
    """Deliver logout tokens without serving requests, beside several instances."""
    from idp import serving  # noqa: PLC0415

    settings = deployment.settings
    audit.configure(settings.log_format, settings.log_level)
    serving.work(settings)


@cli.command()
@json_option
@click.pass_obj
def migrate(deployment: Deployment, *, as_json: bool) -> None:
    """Bring the database's schema up to date. Safe to run by several instances at once."""
    from idp.runtime import migrations  # noqa: PLC0415
    from idp.runtime.database import Database  # noqa: PLC0415

    settings = deployment.settings
    if settings.embedded and not settings.database_url:
        settings.make_data_dir()
    database = Database(settings.database)
    changed = migrations.upgrade(database)
    emit({"changed": changed, "revision": migrations.head()}, as_json=as_json)


@cli.command()
@json_option
@click.pass_obj
def doctor(_deployment: Deployment, *, as_json: bool) -> None:
    """Say what is wrong with this deployment, and the mend."""
    from idp import doctor as examination  # noqa: PLC0415

    findings = examination.examine()
    emit([finding.shown() for finding in findings], as_json=as_json, columns=("state", "what", "finding", "mend"))
    if any(finding.state == "wrong" for finding in findings):
        sys.exit(1)


def main() -> None:
    """The entry point: whatever an operator can mend is one sentence, never a stack trace."""
    try:
        cli(standalone_mode=True)
    except OperatorError as error:
        click.echo(f"idp: {error}", err=True)
        sys.exit(1)
    except SQLAlchemyError as error:
        click.echo(f"idp: the database refused ({type(error).__name__}): run `idp doctor` to see why.", err=True)
        sys.exit(1)
