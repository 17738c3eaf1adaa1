"""The command, and what a demo is from beginning to end."""

import sys
import time
from pathlib import Path

import click

from idp.config import SettingsError
from idp.demo import start
from idp.demo.options import APPS, DemoError, DemoOptions
from idp.demo.screen import JsonScreen, Screen
from idp.demo.stage import Stage
from idp.runtime.console import json_option, reads

_PORT = click.IntRange(1, 65535)


@click.command(name="demo")
@click.option("--port", type=_PORT, default=8000, show_default=True, help="Where the provider listens.")
@click.option("--notes-port", type=_PORT, default=APPS["notes"], show_default=True, help="Where the web app listens.")
@click.option("--arena-port", type=_PORT, default=APPS["arena"], show_default=True, help="Where the game listens.")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the state in this folder, and find it again."
)
@json_option
@reads
def command(port: int, notes_port: int, arena_port: int, data_dir: Path | None, *, as_json: bool) -> None:
    """Start the provider and two apps, and show what happens between them. Ctrl-C leaves nothing behind."""
    options = DemoOptions(port, notes_port, arena_port, data_dir, as_json)
    if len(set(options.ports.values())) < len(options.ports):
        message = "the provider and the two apps need three different ports"
        raise click.UsageError(message)
    sys.exit(run(options))


def run(options: DemoOptions) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP: 0. Where something cannot start, or dies: 1, having said why."""
    screen = JsonScreen() if options.as_json else Screen()
    began = time.monotonic()
    try:
        start.check_ports(options)
        with Stage() as stage:
            names = start.everything(stage, options)
            screen.ready(options, names, time.monotonic() - began)
            for name, event in stage.events():
                screen.show(name, event)
    except (DemoError, SettingsError) as error:
        screen.failed(str(error))
        return 1
    return 0
