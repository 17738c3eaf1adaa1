"""What happened, once, in one place: a structured log line and a counter with the same name.

An event's name is `room.what` (`session.ended`, `token.issued`, `delivery.delivered`). Its fields are identifiers and
figures, never a token, a secret or a password (tests/house/test_no_secret_in_a_log.py).
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, TypeAlias

import structlog
from prometheus_client import Counter

_EVENTS = Counter("idp_events", "What happened, by the event's name in the log", ["event"])
_counter = cache(_EVENTS.labels)  # the names are few, and to look one up costs more than to count
_log = structlog.get_logger("idp")
Field: TypeAlias = str | float | bool | None


def record(event: str, **fields: Field) -> None:
    """Log `event` with `fields` and count it."""
    _counter(event).inc()
    _log.info(event, **fields)


def record_each(event: str, every: Sequence[Mapping[str, Field]]) -> None:
    """Log `event` with the fields of each, as when `record` is called for each: many cost less together."""
    if every:
        _counter(event).inc(len(every))
        log = _log.bind()  # once, for it reads the whole configuration
        for fields in every:
            log.info(event, **fields)


def warn(event: str, **fields: Field) -> None:
    """Log something an operator should look at, and count it."""
    _counter(event).inc()
    _log.warning(event, **fields)


def fail(event: str, error: BaseException, **fields: Field) -> None:
    """Log an error nobody foresaw, with its traceback: only here, never in an answer."""
    _counter(event).inc()
    _log.error(event, exc_info=error, **fields)


def configure(log_format: Literal["console", "json"], level: str) -> None:
    """Send every log line of this process to standard error, as lines for people or as JSON for programs."""
    rendering: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
