"""PostgreSQL: connections on which no wait is without an end, whatever the network does.

A server whose packets are lost refuses nothing: without limits of our own a statement waits until TCP gives up, a quarter of
an hour later. There are four of them, since each sees what the others do not. The server ends a statement, or its wait
for a lock, and answers. TCP gives up a connection on which nothing is acknowledged. What acknowledges and hands nothing on
(a proxy, a firewall, a server that hangs) is found by `WatchedConnection`, which asks on a second connection.
"""

import time
from collections.abc import Generator
from contextlib import closing
from math import inf
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.errors import OperationalError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.pool import ConnectionPoolEntry

from idp.runtime.limits import Limits
from idp.runtime.outage import outage_of

_Found = TypeVar("_Found")
#: The server ends a statement by itself before we give it up.
_MARGIN = 1.0
#: So long after the answer of a finished statement was due it is waited for, before the connection is taken for dead.
_OVERDUE = 1.0
#: So many probes without an answer end a connection (TCP keep-alive).
_PROBES = 3
_OVERFLOW = 10
_STATE = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
#: What is learned of the server when there is no way to it (`outage`).
_NOT_THERE = {"silent", "connection"}


class _Ready(Protocol):
    """What psycopg hands into a generator: what the socket is ready for, false when nothing has come for a moment."""

    def __bool__(self) -> bool: ...


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that gives a statement up which nobody works on.

    `patience` is for how many seconds a statement may take at all; `inf` for what must not be cut while the server works.
    """

    limits = Limits()
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    patience: float = inf
    may_look = True

    def wait(self, gen: Generator[Any, Any, _Found], *args: Any, **kwargs: Any) -> _Found:
        """See `psycopg.Connection.wait`, through which every statement goes."""
        return super().wait(self._watched(gen), *args, **kwargs)

    def _watched(self, gen: Generator[Any, Any, _Found]) -> Generator[Any, _Ready, _Found]:
        try:
            wanted = next(gen)
            began: float | None = None
            look_at = idle_since = inf
            while True:
                ready = yield wanted
                if not ready:
                    now = time.monotonic()
                    if began is None:
                        began, look_at = now, now + self.limits.connect
                    if now - began >= self.patience:
                        self._give_up("it took too long")
                    if now >= look_at and self.may_look:
                        is_worked_on = self._is_worked_on()
                        idle_since = inf if is_worked_on is not False else min(idle_since, now)
                        if now - idle_since >= _OVERDUE:
                            self._give_up("nobody works on it")
                        look_at = time.monotonic() + (self.limits.connect if idle_since == inf else _OVERDUE)
                wanted = gen.send(ready)
        except StopIteration as end:
            found: _Found = end.value
            return found

    def _is_worked_on(self) -> bool | None:
        """Whether the server is busy with our statement, as it says on another connection; None where it does not know us.

        Raises OperationalError when it cannot be reached there either. Refused for want of a free place, it is there.
        """
        args, named = self.arguments
        try:
            with closing(WatchedConnection.connect(*args, **named | {"connect_timeout": self.limits.connect})) as other:
                other.may_look, other.patience = False, self.limits.connect
                row = other.execute(_STATE, (self.info.backend_pid,)).fetchone()
        except psycopg.Error as error:
            outage = outage_of(error)
            if outage is not None and outage.cause in _NOT_THERE:
                self._give_up("nor does a new connection")
            return None
        return None if row is None else bool(row[0])

    def _give_up(self, why: str) -> None:
        self.close()
        message = f"no answer from the server: {why}"
        raise OperationalError(message)


def engine_for(url: URL, limits: Limits, pool_size: int) -> Engine:
    """An engine. Parameters are hidden in errors: they hold what must not be in a log."""
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=_OVERFLOW,
        pool_timeout=limits.connect,
        pool_pre_ping=True,
        hide_parameters=True,
    )
    defaults = _parameters(limits)

    def connect(
        _dialect: Dialect, _record: ConnectionPoolEntry, args: tuple[Any, ...], named: dict[str, Any]
    ) -> WatchedConnection:
        named = defaults | named  # what stands in the address comes first
        connection = WatchedConnection.connect(*args, **named)
        connection.limits, connection.arguments, connection.patience = limits, (args, named), limits.connect
        _settle(connection, limits)
        return connection

    def taken(connection: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: object) -> None:
        connection.patience = limits.statement + _MARGIN

    def returned(connection: DBAPIConnection | None, _record: ConnectionPoolEntry) -> None:
        if connection is not None:  # it is asked whether it lives before it is used again
            connection.patience = limits.connect

    def begins(connection: Connection) -> None:
        # Not SQLAlchemy's `postgresql_readonly`: that one ends in READ WRITE for whoever comes next, which overrules what the
        # server says of itself, and which a standby refuses.
        raw = connection.connection.driver_connection
        wanted = True if connection.get_execution_options().get("idp_reading", False) else None
        if isinstance(raw, psycopg.Connection) and raw.read_only is not wanted:
            raw.read_only = wanted

    event.listen(engine, "begin", begins)
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", returned)
    return engine


def _parameters(limits: Limits) -> dict[str, Any]:
    """What libpq is told, where the address does not say otherwise (PostgreSQL, 34.1.2)."""
    return {
        "application_name": "idp",
        "connect_timeout": limits.connect,
        "keepalives": 1,
        "keepalives_idle": limits.keepalive,
        "keepalives_interval": max(1, limits.keepalive // _PROBES),
        "keepalives_count": _PROBES,
        "tcp_user_timeout": limits.tcp_user * 1000,
    }


def _settle(connection: psycopg.Connection[Any], limits: Limits) -> None:
    """Tell the server the limits that it keeps. Not at the connection's start: a pooler between us would refuse them there.

    It looks after us, too: what a host that vanished had locked must be free again soon.
    """
    told = {
        "statement_timeout": limits.statement * 1000,
        "lock_timeout": round(limits.lock * 1000),
        "tcp_keepalives_idle": limits.keepalive,
        "tcp_keepalives_interval": max(1, limits.keepalive // _PROBES),
        "tcp_keepalives_count": _PROBES,
    }
    connection.autocommit = True
    columns = ", ".join("set_config(%s, %s, false)" for _ in told)
    connection.execute(f"SELECT {columns}", [str(part) for pair in told.items() for part in pair])
    connection.autocommit = False
