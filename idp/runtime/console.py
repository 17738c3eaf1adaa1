"""How every `idp` command speaks: a table for people, JSON for programs, one sentence for a refusal.

Exit status: 0 done, 1 refused (`Refused`), 2 wrong usage (Click's own).
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import IO, TYPE_CHECKING, Any, BinaryIO, ParamSpec, TypeAlias, TypeVar

import click
from click.core import ParameterSource

from idp.protocol import strict_json
from idp.runtime.clock import in_words
from idp.runtime.paging import Page
from idp.runtime.printing import json_escaped, replaced

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: What JSON knows: strings, numbers, booleans, None, and lists and mappings of them.
Record: TypeAlias = Mapping[str, object]
#: One line that is drawn: pieces of text, each with its style.
Line: TypeAlias = Sequence[tuple[str, str]]

_AS_JSON = "idp.as_json"
_READS = "idp_reads"
_CONCERNS = "idp.concerns"
_MAXIMUM_SECRET = 4096
#: Wide enough that no identifier is cut when the output goes to a pipe or a file.
_PIPE_WIDTH = 400


#: How help is asked for, at every command alike.
HELP = {"help_option_names": ["-h", "--help"]}


class Refused(click.ClickException):
    """What was asked cannot be done: one sentence on standard error, as {"error": ...} with `--json`, and exit status 1."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        context = click.get_current_context(silent=True)
        self._as_json = context is not None and bool(context.meta.get(_AS_JSON))

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it on standard error."""
        stream = file or sys.stderr
        said = as_json_text({"error": self.message}) if self._as_json else f"Refused: {replaced(self.message)}"
        click.echo(said, file=stream)


def json_option(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Add `--json`, handed to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.", callback=_remember)(command)


def _remember(context: click.Context, _option: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - Click's signature
    context.meta[_AS_JSON] = value
    return value


def reads(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Mark what a command runs as changing nothing. Every other command is an operator's act, and stands in the log."""
    setattr(command, _READS, True)
    return command


def is_act(command: click.Command) -> bool:
    """Whether a command changes something."""
    return not getattr(command.callback, _READS, False)


def concerning(*names: str) -> None:
    """What the act of this command was done to, where its arguments do not say so. Never a secret."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_CONCERNS] = names


def only_reading() -> None:
    """The command changes nothing this time."""
    concerning(_READS)


def act_of(context: click.Context) -> Mapping[str, str] | None:
    """What a command did, for the log: its verb, what it was done to, and which options were given. None if only read.

    The values of options may be what a person is told by, or worse; the names of what was changed are enough.
    """
    concerned = tuple(context.meta.get(_CONCERNS, ()))
    if concerned == (_READS,):
        return None
    arguments = [
        str(value)
        for each in context.command.params
        if isinstance(each, click.Argument) and (value := context.params.get(each.name or "")) is not None
    ]
    options = [
        each.opts[-1].lstrip("-")
        for each in context.command.params
        if isinstance(each, click.Option)
        and each.name not in {None, "as_json"}
        and context.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE
    ]
    return {
        "verb": context.command_path.partition(" ")[2],
        "concerns": " ".join([*arguments, *concerned]),
        "options": " ".join(options),
    }


def page_options(size: int) -> Callable[[Callable[..., _R]], Callable[..., _R]]:
    """Add `--limit` and `--page`, handed to the command as one `page`: no list is ever read whole."""

    def add(command: Callable[..., _R]) -> Callable[..., _R]:
        @click.option("--limit", type=click.IntRange(1, 10_000), default=size, show_default=True, help="At most so many.")
        @click.option("--page", "number", type=click.IntRange(1, 1_000_000), default=1, help="Which so many: 1 for the first.")
        @wraps(command)
        def paged(*args: Any, limit: int, number: int, **others: Any) -> _R:
            return command(*args, page=Page(limit, number), **others)

        return paged

    return add


def emit(found: Record | Sequence[Record], *, as_json: bool, columns: Sequence[str] = (), page: Page | None = None) -> None:
    """Print one record, or a table of them, to standard output. Where it is a full `page`, standard error says so.

    `columns` names what people see, in that order; everything when empty. JSON always has everything. For people,
    a value under a name that ends in `_at` is an instant.
    """
    if page is not None and len(found) >= page.size:  # more, where two lists are shown as one
        click.echo(f"These are {page.size}, and there may be more: see --page {page.number + 1}, or --limit.", err=True)
    if as_json:
        click.echo(as_json_text(found, indent=2))
        return
    from rich.table import Table  # noqa: PLC0415 - JSON needs none

    if isinstance(found, Mapping):
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name in columns or found:
            table.add_row(name, _cell(name, found.get(name)))
    elif not found:
        click.echo("None.")
        return
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        shown = columns or list(found[0])
        for name in shown:
            table.add_column(name, overflow="fold")
        for record in found:
            table.add_row(*(_cell(name, record.get(name)) for name in shown))
    _console().print(table)


def as_json_text(value: object, indent: int | None = None) -> str:
    """`value` as JSON that harms no terminal: programs read it as it is, people may look at it."""
    return json_escaped(json.dumps(value, indent=indent, ensure_ascii=False))


def draw(lines: Sequence[Line]) -> None:
    """Print lines that are drawn, for people, each with what a terminal cannot show replaced."""
    from rich.text import Text  # noqa: PLC0415

    console = _console()
    for line in lines:
        console.print(Text.assemble(*((replaced(piece), style) for piece, style in line)))


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def warn(sentences: Iterable[str]) -> None:
    """What was done, though likely not as it was meant: on standard error, as {"warning": ...} with `--json`."""
    context = click.get_current_context(silent=True)
    as_json = context is not None and bool(context.meta.get(_AS_JSON))
    for sentence in sentences:
        click.echo(as_json_text({"warning": sentence}) if as_json else f"Warning: {replaced(sentence)}", err=True)


def name_of(file: BinaryIO) -> str:
    """What a file is called in a sentence; what is handed over by a pipe has no name that helps."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name != "<stdin>" else "Standard input"


def read_json(file: BinaryIO, what: str) -> dict[str, Any]:
    """The JSON object in a file, or in standard input. Raises Refused; `what` says what it must hold."""
    try:
        return strict_json.load_object(file.read(strict_json.MAXIMUM_SIZE + 1))
    except ValueError as error:
        message = f"{name_of(file)} is not JSON as it is needed ({error}): it must hold {what}."
        raise Refused(message) from None


class Meter:
    """Says on standard error how far something is that takes long: a line for people, or a JSON object with `--json`."""

    def __init__(self, what: str, *, as_json: bool) -> None:
        self._what = what
        self._as_json = as_json

    def __call__(self, left: int) -> None:
        """So much is left."""
        click.echo(json.dumps({"left": left}) if self._as_json else f"{self._what}: {left} left", err=True)


def read_secret_from_stdin(what: str = "Secret") -> str:
    """The first line of standard input, without its end; asked for without echo when a person types it.

    Never an argument: arguments stand in the shell's history and in the list of processes.
    """
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    try:
        line = sys.stdin.readline(_MAXIMUM_SECRET + 1)
    except UnicodeDecodeError:
        message = f"{what}: standard input is not UTF-8 text."
        raise Refused(message) from None
    secret = line.removesuffix("\n").removesuffix("\r")
    if not secret or len(secret) > _MAXIMUM_SECRET:
        message = f"{what}: give it in the first line of standard input, in 1 to {_MAXIMUM_SECRET} characters."
        raise Refused(message)
    return secret


def _cell(name: str, value: object) -> "Text":
    """Names and errors come from outside: no markup, no escape sequence, no direction override reaches the terminal."""
    from rich.text import Text  # noqa: PLC0415

    return Text(replaced(_plain(name, value)))


def _plain(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return in_words(value) if name.endswith("_at") else f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_plain(key, inner)}" for key, inner in value.items())
    if isinstance(value, Sequence):
        return ", ".join(_plain(name, inner) for inner in value)
    return str(value)
