"""What happened, once, in one place: a structured log line and a counter with the same name.

An event's name is `room.what` (`session.ended`, `token.issued`, `delivery.delivered`). Its fields are identifiers and
figures, never a token, a secret or a password (tests/house/test_no_secret_in_a_log.py).

Nothing here raises: whoever tells what happened must not fail because the disk of the log is full. A line that could not be
written is counted, and the count is told as soon as the log can be written again.
"""

import logging
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from types import TracebackType
from typing import Literal, TypeAlias

import structlog

from idp.runtime import traces
from idp.runtime.figures import Counter
from idp.runtime.log_lines import console_line, json_line
from idp.runtime.sink import Sink

_EVENTS = Counter("idp_events", "What happened, by the event's name in the log", ["event"])
_LOST = Counter("idp_log_lines_lost", "Log lines that could not be written")
_counter = cache(_EVENTS.labels)  # the names are few, and to look one up costs more than to count
_log = structlog.get_logger("idp")
#: Standard output until `configure`: whoever builds the application without the command has said nothing of a log.
_sink = Sink(lambda: sys.stdout)
_LONGEST_COMPLAINT = 200
#: What no error's text may quote, asked for when there is an error: see `hide`.
_hidden: list[Callable[[], Collection[str]]] = []
Field: TypeAlias = str | float | bool | None


def record(event: str, **fields: Field) -> None:
    """Log `event` with `fields` and count it."""
    _say("info", event, (fields,))


def record_each(event: str, every: Sequence[Mapping[str, Field]]) -> None:
    """Log `event` with the fields of each, as when `record` is called for each: many cost less together."""
    if every:
        _say("info", event, every)


def warn(event: str, **fields: Field) -> None:
    """Log something an operator should look at, and count it."""
    _say("warning", event, (fields,))


def fail(event: str, error: BaseException, *, hidden: Collection[str] = (), **fields: Field) -> None:
    """Log an error nobody foresaw, with its traceback: only here, never in an answer.

    `hidden` is what the error's text may not quote, beside the values of `hide`.
    """
    of_error: dict[str, object] = {"exc_info": error}
    _say("error", event, (fields,), **of_error, **({"hidden": hidden} if hidden else {}))


def hide(values: Callable[[], Collection[str]]) -> None:
    """From now on no error's text quotes `values`, whoever logs it, libraries too: what the request at hand brought."""
    _hidden[:] = [values]


def _say(level: str, event: str, every: Sequence[Mapping[str, Field]], **more: object) -> None:
    """Count, and log a line for each. Whatever fails in it, the caller goes on."""
    more |= _counted(lambda: _counter(event).inc(len(every)))
    before = _sink.lost
    try:
        say: Callable[..., object] = getattr(_log.bind(), level)  # bound once, for it reads the whole configuration
        for fields in every:
            say(event, **more, **fields)
    except Exception as error:  # noqa: BLE001 - a field that cannot be shown is no reason to leave work undone
        _sink.lose(error)
        _sink.write(f'{{"event": "{event}", "level": "{level}", "unshown": "{type(error).__name__}"}}')
    if before and _sink.lost == before and (count := _sink.settle()):
        warn("log.lines_lost", count=count, error=_sink.problem, **_counted(lambda: _LOST.inc(count)))


def _counted(count: Callable[[], object]) -> dict[str, str]:
    """Count something: what to say in the line where that cannot be, since the disk of the figures may be full as well."""
    try:
        count()
    except Exception as error:  # noqa: BLE001 - whatever it was, what happened is written down all the same
        return {"uncounted": type(error).__name__}
    return {}


def configure(log_format: Literal["console", "json"], level: str) -> None:
    """Send every log line of this process to standard error, as lines for people or as JSON for programs."""
    _sink.stream = lambda: sys.stderr
    _configure(log_format, level)


def _configure(log_format: str, level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _traced,
            json_line if log_format == "json" else partial(console_line, colours=_sink.is_terminal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _sink,
        cache_logger_on_first_use=False,
    )


def _traced(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The error of a line as our own traceback: what structlog would make of it shows every variable."""
    error, hidden = fields.pop("exc_info", None), fields.pop("hidden", ())
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        fields["exception"] = traces.of(error, {*hidden, *(value for values in _hidden for value in values())})
    return fields


# -- what is said past us -----------------------------------------------------------------------------------------------


def catch_all() -> None:
    """Have whatever this process would print of errors by itself go through the log. For programs, once `configure`d.

    Python's own hooks print an error's whole text, the event loop prints the tasks' results, and neither knows our format.
    """
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    logging.raiseExceptions = False  # else a handler that fails prints the arguments of what was to be logged
    logging.getLogger().handlers[:] = [_Others(logging.WARNING)]


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, Exception):
        fail("process.failed", error.with_traceback(trace))
    else:
        sys.stderr.write(f"{kind.__name__}\n")  # Ctrl-C: whoever pressed it knows where


def _uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        name = None if failed.thread is None else failed.thread.name
        fail("process.thread_failed", failed.exc_value, thread=name)


def _unraisable(failed: "sys.UnraisableHookArgs") -> None:
    if failed.exc_value is not None:
        fail("process.unraisable", failed.exc_value, within=type(failed.object).__name__)


class _Others(logging.Handler):
    """What libraries log: their template's first line, since the rest holds values, and the traceback as ours are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        said = (str(record.msg).splitlines() or [""])[0][:_LONGEST_COMPLAINT]
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            warn("process.complaint", by=record.name, said=said)
        else:
            fail("process.complaint", error, by=record.name, said=said)


_configure("console", "debug")
