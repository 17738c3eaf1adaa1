"""The database: connections, the unit of work, and the base of every room's tables.

The edge opens a transaction (`with database.writing() as tx`), services use it and never commit. Statements are
SQLAlchemy Core on a plain connection, prepared once at import: through the ORM a token transaction costs five times
as much (docs/adr/0002). Rooms read rows into the frozen dataclasses of their `rules.py`.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    Double,
    Engine,
    Executable,
    MetaData,
    Select,
    Table,
    create_engine,
    event,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from idp.runtime import secrets
from idp.runtime.clock import Clock, Instant, system_clock

_NAME_BYTES = 16
BUSY_TIMEOUT_MS = 10_000
#: How soon, in seconds, the writer's lock of SQLite is asked for again: about as long as a writer holds it.
_BUSY_PAUSE = 0.001
POOL_SIZE = 20


class Base(DeclarativeBase):
    """The base of every room's tables. `float` columns are instants, kept as doubles on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double()}


_T = TypeVar("_T")


def table_of(model: type[Base]) -> Table:
    """The Core table of a model."""
    table = model.__table__
    if not isinstance(table, Table):
        message = f"{model.__name__} is not mapped to a table"
        raise TypeError(message)
    return table


def columns_for(model: type[Base], value: type[object]) -> list[Column[Any]]:
    """The columns of `model` in the order of the fields of the dataclass `value`, for `returning()`."""
    columns = table_of(model).c
    return [columns[item.name] for item in fields(value)]  # type: ignore[arg-type]


def select_of(model: type[Base], value: type[object]) -> Select[Any]:
    """`SELECT` what the dataclass `value` needs from the table of `model`."""
    return select(*columns_for(model, value))


@dataclass(slots=True)
class Transaction:
    """One unit of work: a connection, the one instant at which it happens, and what to do once it is committed.

    `shift` is by how many seconds a clock that was handed in is from the machine's; 0 where it is the machine's.
    """

    connection: Connection
    now: Instant
    shift: float = 0.0
    _afterwards: list[Callable[[], None]] = field(default_factory=list)
    _name: str = ""

    @property
    def name(self) -> str:
        """A random name of its own, made when it is asked for: what is written down in one go can be known by it."""
        self._name = self._name or secrets.token(_NAME_BYTES)
        return self._name

    def execute(
        self, statement: Executable, parameters: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None
    ) -> CursorResult[Any]:
        """Run one statement."""
        return self.connection.execute(statement, parameters)

    def one(self, value: Callable[..., _T], statement: Executable, parameters: Mapping[str, object]) -> _T | None:
        """The first row as a `value`, or None."""
        row = self.execute(statement, parameters).first()
        return None if row is None else value(*row)

    def all(self, value: Callable[..., _T], statement: Executable, parameters: Mapping[str, object] | None = None) -> list[_T]:
        """Every row as a `value`."""
        return [value(*row) for row in self.execute(statement, parameters).all()]

    def changed(self, statement: Executable, parameters: Mapping[str, object]) -> bool:
        """Whether an `UPDATE ... RETURNING` changed a row: the one way in which anything single-use is consumed."""
        return self.execute(statement, parameters).first() is not None

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call `action` once, after the commit; never when the transaction is rolled back."""
        if action not in self._afterwards:
            self._afterwards.append(action)


class Database:
    """Opens transactions. A reading one may not write; a writing one begins with the writer's lock on SQLite."""

    def __init__(self, url: str, clock: Clock = system_clock) -> None:
        self.url = url
        self.clock = clock
        self.engine = _engine(url)
        self._writer = self.engine.execution_options(idp_writing=True)
        self._glances: list[Glance] = []

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that only reads. What was asked for after the commit happens when it is closed."""
        with self.engine.connect() as connection:
            tx = self._transaction(connection)
            yield tx
        _run(tx)

    def _transaction(self, connection: Connection) -> Transaction:
        now = self.clock()
        return Transaction(connection, now, 0.0 if self.clock is system_clock else now - system_clock())

    def glance(self, statement: Select[Any]) -> "Glance":
        """For one question that is asked many times a second."""
        glance = Glance(self.engine, statement)
        self._glances.append(glance)
        return glance

    @contextmanager
    def writing(self, *, rebuilding: bool = False) -> Iterator[Transaction]:
        """A transaction that is committed at the end, and rolled back when an error leaves it.

        Save for an error that carries `keep_changes = True`: what was refused must be remembered then (a replayed
        code ends its tokens *and* is refused), so the changes are committed before the error goes on.

        `rebuilding` is for migrations: SQLite changes a table by dropping it, and what hangs from it must not go with it.
        """
        with self._writer.connect() as connection:
            if rebuilding and self.dialect == "sqlite":
                connection.detach()  # never back to the pool: a connection without foreign keys is for this alone
                connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
            tx = self._transaction(connection)
            try:
                yield tx
            except BaseException as error:
                if not getattr(error, "keep_changes", False):
                    connection.rollback()
                    raise
                connection.commit()
                _run(tx)
                raise
            connection.commit()
        _run(tx)

    def dispose(self) -> None:
        """Close every connection."""
        for glance in self._glances:
            glance.close()
        self.engine.dispose()


class Glance:
    """A question of yes or no, asked of the driver alone on a connection of its own: SQLAlchemy's part costs four times more.

    No transaction: each asking sees what was committed before it. For one thread at a time.
    """

    def __init__(self, engine: Engine, statement: Select[Any]) -> None:
        self._engine = engine
        self._compiled = statement.compile(dialect=engine.dialect)
        self._text = str(self._compiled)
        self._connection: DBAPIConnection | None = None

    def __call__(self, **values: object) -> bool:
        """Ask. Raises what the driver raises; the next question is asked on a new connection then."""
        names = self._compiled.positiontup
        parameters = values if names is None else tuple(values[name] for name in names)
        connection, self._connection = self._connection or self._connected(), None
        try:
            cursor = connection.cursor()
            try:
                cursor.execute(self._text, parameters)
                ((found,),) = cursor.fetchall()
            finally:
                cursor.close()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return bool(found)

    def _connected(self) -> DBAPIConnection:
        pooled = self._engine.raw_connection()
        pooled.detach()
        connection = pooled.dbapi_connection
        if connection is None:
            message = "the connection is gone"
            raise ConnectionError(message)
        if self._engine.dialect.name != "sqlite":  # there it is so already: `_prepare_sqlite`
            self._engine.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        return connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _run(tx: Transaction) -> None:
    for action in tx._afterwards:  # noqa: SLF001 - the unit of work and its database are one idea
        action()


def _engine(url: str) -> Engine:
    # Parameters are hidden in errors: they hold what must not be in a log.
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(url, pool_size=POOL_SIZE, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(url, pool_size=POOL_SIZE, max_overflow=10, pool_pre_ping=True, hide_parameters=True)


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """WAL so that readers and the writer do not wait for each other; FULL so that a commit survives a power cut."""
    if not isinstance(connection, sqlite3.Connection):
        message = "the SQLite driver is not the standard library's"
        raise TypeError(message)
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says, not where the driver guesses
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    for pause in (0.05,) * 100:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:  # another process is switching the new file just now; SQLite does not wait for it
            time.sleep(pause)
        else:
            return
    message = "the database file is locked by another program"
    raise sqlite3.OperationalError(message)


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock at once: a reader that turns writer may fail at the worst moment instead of waiting."""
    if not connection.get_execution_options().get("idp_writing", False):
        connection.exec_driver_sql("BEGIN")
    elif not _begin_writing(connection.connection.cursor()):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # says what is wrong


def _begin_writing(cursor: DBAPICursor) -> bool:
    """Whether the writer's lock came in time.

    SQLite's own waiting sleeps longer and longer, up to 0.1 s, so that whoever comes later takes the lock first.
    """
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < until:
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    return False
                time.sleep(_BUSY_PAUSE)
            else:
                return True
    finally:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    return False
