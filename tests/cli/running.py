"""Running the `idp` command as an operator does: what it said on both streams, and how it ended.

`run` runs it in this process, which is quick; `spawn` as a process of its own, which is what an operator has.
"""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import structlog

from idp.cli import main
from idp.runtime.database import Database
from tests.support import preloaded
from tests.support.serving import RunningProvider

DONE, REFUSED, USAGE = 0, 1, 2


class _Stdin(io.BytesIO):
    name = "<stdin>"


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which holds one JSON document and nothing else."""
        assert self.code == DONE, self
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """Why it was refused: one sentence on standard error, nothing on standard output, never a stack trace."""
        assert self.code == REFUSED, self
        assert self.out == "", self
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self
        assert "Traceback" not in lines[0]
        return lines[0]


def spawn(provider: RunningProvider, *arguments: str, stdin: str = "", **settings: str) -> Said:
    """`idp ARGUMENTS` as a process; `settings` are names without the prefix, in capitals."""
    code, out, err = preloaded.run(arguments, _environment(provider, settings), stdin.encode())
    return Said(code, out.decode(), err.decode())


def run(provider: RunningProvider, *arguments: str, stdin: str = "", **settings: str) -> Said:
    """`idp ARGUMENTS` in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    given = io.TextIOWrapper(_Stdin(stdin.encode()), "utf-8")
    code = DONE
    with (
        mock.patch.dict(os.environ, _environment(provider, settings), clear=True),
        mock.patch.multiple(sys, argv=["idp", *arguments], stdin=given, stdout=out, stderr=err),
        _closed_databases(),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or DONE)
    structlog.reset_defaults()
    return Said(code, _text(out), _text(err))


def _environment(provider: RunningProvider, settings: dict[str, str]) -> dict[str, str]:
    return provider.environment() | {f"IDP_{name}": value for name, value in settings.items()}


@contextmanager
def _closed_databases() -> Iterator[None]:
    """A process takes its connections with it when it ends; here somebody must close them."""
    opened: list[Database] = []
    make = Database.__init__

    def remember(database: Database, *arguments: Any, **named: Any) -> None:
        make(database, *arguments, **named)
        opened.append(database)

    with mock.patch.object(Database, "__init__", remember):
        try:
            yield
        finally:
            for database in opened:
                database.dispose()


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()
