"""What a demo says: a line for people, or a JSON object for programs, for each thing that happens."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.text import Text

from idp.demo.options import PROVIDER, DemoOptions
from idp.demo.registration import PASSWORD, USERNAME
from idp.demo.stage import Event
from idp.runtime.clock import system_clock
from idp.runtime.console import as_json_text
from idp.runtime.printing import replaced

_SENTENCES = {
    "session.started": "a session begins",
    "session.renewed": "the session is renewed",
    "sign_in.refused": "a sign-in is refused: {reason}",
    "sign_in.throttled": "too many sign-ins are tried",
    "token.issued": "tokens issued to {client}",
    "session.ended": "the session ended ({reason})",
    "delivery.delivered": "logout token delivered to {client} in {ms} ms",
    "delivery.retried": "logout token not delivered to {client} ({error}), again in {again_in} s",
    "delivery.died": "logout token for {client} given up ({error})",
    "request.failed": "a request failed at {path}",
    "signed_in": "{name} signed in",
    "session_ended": "session ended by the {by}",
    "socket_opened": "socket opened",
    "socket_closed": "socket closed",
    "feed_followed": "follows the provider's feed of endings",
    "feed_lost": "does not hear the provider: its sockets close",
}
_COLOURS = {PROVIDER: "cyan", "notes": "yellow", "arena": "magenta"}
_WHAT = {
    PROVIDER: "issues the tokens, ends the sessions",
    "notes": "a web app",
    "arena": "a game that holds a websocket open",
}


def sentence(event: Event, names: Mapping[str, str]) -> str | None:
    """What to say of an event, None for nothing; a field that it lacks is a question mark. `names` are by `client_id`."""
    template = _SENTENCES.get(str(event["event"]))
    if template is None:
        return None
    fields = _Fields(event)
    fields["client"] = names.get(str(event.get("client_id")), "a client")
    if event["event"] == "socket_closed" and event.get("ms") is not None:
        template += " in {ms} ms"  # after it was heard of
    # Names and errors come from outside: no escape sequence may reach the terminal.
    return replaced(template.format_map(fields))


def _in_lines(text: str) -> str:
    """Each line made harmless: the last words of a process may be anybody's."""
    return "\n".join(replaced(line) for line in text.splitlines())


class _Fields(dict[str, object]):
    def __missing__(self, _name: str) -> str:
        return "?"


class Screen:
    """Lines for people."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, soft_wrap=True)
        self._names: Mapping[str, str] = {}

    def ready(self, options: DemoOptions, names: Mapping[str, str], seconds: float) -> None:
        """The addresses, the ready-made person, and what to try. `names` are the apps' by `client_id`."""
        self._names = names
        self._out.print(f"\n[bold]idp demo[/] [dim]ready after {seconds:.1f} s[/]\n")
        for name, what in _WHAT.items():
            self._out.print(f"  [{_COLOURS[name]}]{name:<9}[/] [bold]{options.address(name)}[/]  [dim]{what}[/]")
        self._out.print(f"\n  Sign in as [bold]{USERNAME}[/] with the password [bold]{PASSWORD}[/]")
        self._out.print("  Open both apps, then press [bold]Sign out everywhere[/] in one of them. Ctrl-C stops it all.\n")

    def show(self, name: str, event: Event) -> None:
        """One line, for what has a sentence."""
        said = sentence(event, self._names)
        if said is not None:
            clock = (datetime.fromtimestamp(system_clock(), UTC).astimezone().strftime("  %H:%M:%S  "), "dim")
            self._out.print(Text.assemble(clock, (f"{name:<9} ", _COLOURS[name]), said))

    def failed(self, why: str) -> None:
        """Why it ended, on standard error."""
        click.echo(f"idp demo: {_in_lines(why)}", err=True)


class JsonScreen:
    """The same for programs: `{"from": ..., "event": ..., ...}` a line, first an event `ready` of the demo's own."""

    def ready(self, options: DemoOptions, names: Mapping[str, str], seconds: float) -> None:
        """The addresses, the ready-made person, the apps' names by `client_id`, the seconds that the start took."""
        addresses = {name: options.address(name) for name in _WHAT}
        person = {"username": USERNAME, "password": PASSWORD}
        self.show("demo", {"event": "ready", "addresses": addresses, **person, "clients": names, "seconds": round(seconds, 2)})

    def show(self, name: str, event: Event) -> None:
        """One line, for whatever was said."""
        click.echo(as_json_text({"from": name, **event}))
        sys.stdout.flush()

    def failed(self, why: str) -> None:
        """Why it ended, on standard error."""
        click.echo(as_json_text({"error": why}), err=True)
