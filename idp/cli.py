"""The `idp` command: each room's commands under one roof. Exit codes: 0 done, 1 refused, 2 wrong usage."""

import sys
from functools import cached_property

import click
from sqlalchemy.exc import SQLAlchemyError

from idp import __version__
from idp.accounts.cli import group as user
from idp.clients.cli import group as client
from idp.config import Settings, SettingsError
from idp.delivery.cli import group as delivery
from idp.keys.cli import group as key
from idp.keys.sealing import UnsealError
from idp.logout.cli import end_session, remove_client
from idp.runtime import audit
from idp.runtime.console import Refused, emit, json_option
from idp.sessions.cli import group as session

session.add_command(end_session)
client.add_command(remove_client)


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.database)
    changed = migrations.upgrade(database)
    emit({"changed": changed, "revision": migrations.head()}, as_json=as_json)


@cli.command()
@json_option
@click.pass_obj
def doctor(deployment: Deployment, *, as_json: bool) -> None:
    """Say what is wrong with this deployment, and the mend."""
    from idp import doctor as examination  # noqa: PLC0415

    findings = examination.examine()
    emit([finding.shown() for finding in findings], as_json=as_json, columns=("state", "what", "finding", "mend"))
    if any(finding.state == "wrong" for finding in findings):
        sys.exit(1)


for group in (user, client, key, session, delivery):
    cli.add_command(group)


def main() -> None:
    """The entry point: whatever an operator can mend is one sentence, never a stack trace."""
    from idp.serving import SchemaBehindError  # noqa: PLC0415

    try:
        cli(standalone_mode=True)
    except (SettingsError, UnsealError, SchemaBehindError) as error:
        click.echo(f"idp: {error}", err=True)
        sys.exit(1)
    except SQLAlchemyError as error:
        click.echo(f"idp: the database refused ({type(error).__name__}): run `idp doctor` to see why.", err=True)
        sys.exit(1)


__all__ = ["Refused", "cli", "main"]
