"""SQLite: its file, its connections, and its writer's lock."""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect
from sqlalchemy.pool import ConnectionPoolEntry

from idp.files import flush_folder
from idp.runtime.limits import Limits

#: How soon, in seconds, the writer's lock of SQLite is asked for again: about as long as a writer holds it.
_BUSY_PAUSE = 0.001
_SWITCHES, _SWITCH_PAUSE = 100, 0.05


def engine_for(url: URL, limits: Limits, pool_size: int) -> Engine:
    """An engine for a file. Parameters are hidden in errors: they hold what must not be in a log."""
    engine = create_engine(url, pool_size=pool_size, connect_args={"timeout": limits.lock}, hide_parameters=True)

    def connect(_dialect: Dialect, _record: ConnectionPoolEntry, _args: tuple[Any, ...], _named: dict[str, Any]) -> None:
        _make_for_its_owner(url.database)

    def begin(connection: Connection) -> None:
        _begin(connection, limits.lock)

    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        _prepare(connection, limits.lock)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _make_for_its_owner(path: str | None) -> None:
    """SQLite would make the file by the umask, readable for all. What it puts beside it (WAL) has the modes of the file."""
    if path and path != ":memory:" and not os.path.exists(path):  # noqa: PTH110 - once for each connection
        with suppress(OSError):  # SQLite says what is wrong, in words that are known
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            flush_folder(Path(path).parent)


def _prepare(connection: DBAPIConnection, lock_seconds: float) -> None:
    """WAL so that readers and the writer do not wait for each other; FULL so that a commit survives a power cut."""
    if not isinstance(connection, sqlite3.Connection):
        message = "the SQLite driver is not the standard library's"
        raise TypeError(message)
    connection.isolation_level = None  # transactions begin where `_begin` says, not where the driver guesses
    for pragma in (f"busy_timeout={round(lock_seconds * 1000)}", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    for left in reversed(range(_SWITCHES)):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # Another process is switching the new file just now; SQLite does not wait for it.
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} or not left:
                raise
            time.sleep(_SWITCH_PAUSE)
        else:
            return


def _begin(connection: Connection, lock_seconds: float) -> None:
    """A writer takes its lock at once: a reader that turns writer may fail at the worst moment instead of waiting.

    So a reader cannot write at all.
    """
    options = connection.get_execution_options()
    reads, cursor = options.get("idp_reading", False), connection.connection.cursor()
    if connection.info.get("idp_reads", False) is not reads:
        cursor.execute(f"PRAGMA query_only={'ON' if reads else 'OFF'}")
        connection.info["idp_reads"] = reads
    if not options.get("idp_writing", False):
        connection.exec_driver_sql("BEGIN")
        return
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        if not _has_begun(cursor, lock_seconds):
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # says what is wrong
    finally:
        cursor.execute(f"PRAGMA busy_timeout={round(lock_seconds * 1000)}")


def _has_begun(cursor: DBAPICursor, lock_seconds: float) -> bool:
    """Whether the writer's lock came in time.

    SQLite's own waiting sleeps longer and longer, up to 0.1 s, so that whoever comes later takes the lock first.
    """
    until = time.monotonic() + lock_seconds
    while time.monotonic() < until:
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                return False
            time.sleep(_BUSY_PAUSE)
        else:
            return True
    return False
