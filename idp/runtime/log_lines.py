"""A log line's text: for people, or as JSON for programs. Neither can be broken, coloured or forged by a value."""

import json
from collections.abc import MutableMapping
from typing import Any

from idp.runtime.printing import escaped, json_escaped, quoted

_EVENT_WIDTH, _LEVEL_WIDTH = 30, 9
_RESET, _BRIGHT, _DIM, _KEY, _VALUE = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[35m"
_LEVELS = {"debug": "\x1b[32m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


def console_line(_logger: object, _method: str, fields: MutableMapping[str, Any], *, colours: bool) -> str:
    """The instant, the level, the event, its fields by name; below it the traceback, where there is one."""
    trace = fields.pop("exception", None)
    instant, level = str(fields.pop("timestamp", "")), str(fields.pop("level", ""))
    event = escaped(str(fields.pop("event", "")))

    def in_colour(text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if colours else text

    shown = [f"{in_colour(escaped(name), _KEY)}={in_colour(quoted(value), _VALUE)}" for name, value in sorted(fields.items())]
    parts = [
        in_colour(escaped(instant), _DIM),
        f"[{in_colour(f'{escaped(level):<{_LEVEL_WIDTH}}', _LEVELS.get(level, _BRIGHT))}]",
        in_colour(f"{event:<{_EVENT_WIDTH}}", _BRIGHT),
        *shown,
    ]
    line = " ".join(parts).rstrip()
    return line if trace is None else f"{line}\n{trace}"


def json_line(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> str:
    """One JSON object."""
    return json_escaped(json.dumps(fields, default=repr))
