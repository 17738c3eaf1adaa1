"""The database: connections, the unit of work, and the base of every room's tables.

The edge opens a transaction (`with database.writing() as tx`), services use it and never commit. Statements are
SQLAlchemy Core on a plain connection, prepared once at import: through the ORM a token transaction costs five times
as much (docs/adr/0002). Rooms read rows into the frozen dataclasses of their `rules.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from math import inf
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
    event,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from idp.runtime import audit, secrets, sqlite
from idp.runtime.availability import Availability, is_told
from idp.runtime.clock import Clock, Instant, system_clock
from idp.runtime.limits import Limits
from idp.runtime.outage import DatabaseUnavailableError, is_refused_write, needs_a_new_connection, outage_of

_NAME_BYTES = 16
POOL_SIZE = 20
_NO_TIME_OUT = text("SET LOCAL statement_timeout = 0")


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
    _wakes: list[Callable[[], None]] = field(default_factory=list)
    _afterwards: list[Callable[[], None]] = field(default_factory=list)
    _name: str = ""
    _database: "Database | None" = None

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

    def take_time(self) -> None:
        """Let no statement from here on be cut for taking long: what maintains, and what ends very much at once.

        It waits for locks as everybody does, and one that nobody works on any more is given up all the same.
        """
        if self.connection.dialect.name == "postgresql":
            self.execute(_NO_TIME_OUT)
            self.connection.connection.driver_connection.patience = inf  # type: ignore[union-attr]

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call `action` once, after the commit; never when the transaction is rolled back.

        What fails in it is logged, and is nobody's failure: what was committed has happened.
        """
        if action not in self._afterwards:
            self._afterwards.append(action)

    def wake_after_commit(self, wake: Callable[[], None]) -> None:
        """Call `wake` once, after the commit and before every other action: somebody waits for what was written."""
        if wake not in self._wakes:
            self._wakes.append(wake)

    def write_afterwards(self, action: Callable[["Transaction"], None]) -> None:
        """Call `action` after the commit with a transaction of its own, so that no lock is held for it here."""
        database = self._database
        if database is None:
            message = "a transaction that no database opened has no other one after it"
            raise LookupError(message)

        def write() -> None:
            with database.writing() as own:
                action(own)

        self.after_commit(write)


class Database:
    """Opens transactions. A reading one may not write; a writing one begins with the writer's lock on SQLite.

    Both raise DatabaseUnavailableError where the database does not do its work.
    """

    def __init__(
        self, url: str, clock: Clock = system_clock, limits: Limits | None = None, *, pool_size: int = POOL_SIZE
    ) -> None:
        self.url = url
        self.clock = clock
        self.availability = Availability()
        try:
            self.engine = _engine(url, limits or Limits(), pool_size)
        except ArgumentError as error:
            self._fail(error)
            raise
        event.listen(self.engine, "checkout", self._is_from_now)
        self._driver_error = _driver_error_of(self.engine)
        self._writer = self.engine.execution_options(idp_writing=True)
        # See what `sqlite.py` and `postgres.py` do where a transaction begins.
        self._reader = self.engine.execution_options(idp_reading=True)
        self._glances: list[Glance] = []

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that cannot write. What was asked for after the commit happens when it is closed."""
        self.availability.check(writing=False)
        try:
            with self._reader.connect() as connection:
                tx = self._transaction(connection)
                yield tx
        except (SQLAlchemyError, self._driver_error) as error:
            if not is_refused_write(error):  # that is a fault of ours, and no outage
                self._fail(error)
            raise
        self.availability.worked(writing=False)
        _run(tx)

    def _is_from_now(self, _connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Whatever was connected before an outage was over goes, all of it: what the pool holds may see what was."""
        if record.info.setdefault("recoveries", self.availability.recoveries) != self.availability.recoveries:
            raise InvalidatePoolError

    def _fail(self, error: Exception) -> None:
        """Raise DatabaseUnavailableError if the database is the reason of the error."""
        outage = outage_of(error)
        if outage is not None:
            self.availability.failed(outage)
            raise DatabaseUnavailableError(outage) from error

    def _transaction(self, connection: Connection) -> Transaction:
        now = self.clock()
        shift = 0.0 if self.clock is system_clock else now - system_clock()
        return Transaction(connection, now, shift, _database=self)

    def glance(self, statement: Select[Any]) -> "Glance":
        """For one question that is asked many times a second."""
        glance = Glance(self.engine, statement, self.availability)
        self._glances.append(glance)
        return glance

    @contextmanager
    def writing(self, *, rebuilding: bool = False) -> Iterator[Transaction]:
        """A transaction that is committed at the end, and rolled back when an error leaves it.

        Save for an error that carries `keep_changes = True`: what was refused must be remembered then (a replayed
        code ends its tokens *and* is refused), so the changes are committed before the error goes on.

        `rebuilding` is for migrations: SQLite changes a table by dropping it, and what hangs from it must not go with it.
        """
        self.availability.check(writing=True)
        try:
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
        except (SQLAlchemyError, self._driver_error) as error:
            self._fail(error)
            raise
        self.availability.worked(writing=True)
        _run(tx)

    @contextmanager
    def trying(self) -> Iterator[Transaction]:
        """A writing transaction that is rolled back in any case: to see what would be changed. Nothing happens after it."""
        with self._writer.connect() as connection:
            try:
                yield self._transaction(connection)
            finally:
                connection.rollback()

    def dispose(self) -> None:
        """Close every connection."""
        for glance in self._glances:
            glance.close()
        self.engine.dispose()


class Glance:
    """A question of yes or no, asked of the driver alone on a connection of its own: SQLAlchemy's part costs four times more.

    No transaction: each asking sees what was committed before it. For one thread at a time.
    """

    def __init__(self, engine: Engine, statement: Select[Any], availability: Availability) -> None:
        self._engine = engine
        self._availability = availability
        self._compiled = statement.compile(dialect=engine.dialect)
        self._text = str(self._compiled)
        self._connection: DBAPIConnection | None = None
        self._recoveries = availability.recoveries

    def __call__(self, **values: object) -> bool:
        """Ask. Raises DatabaseUnavailableError, and what else the driver raises; then the next one has a new connection."""
        self._availability.check(writing=False)
        try:
            found = self._asked(values)
        except (SQLAlchemyError, _driver_error_of(self._engine)) as error:
            outage = outage_of(error)
            if outage is None:
                raise
            self._availability.failed(outage)
            raise DatabaseUnavailableError(outage) from error
        self._availability.worked(writing=False)
        return found

    def _asked(self, values: Mapping[str, object]) -> bool:
        names = self._compiled.positiontup
        parameters = values if names is None else tuple(values[name] for name in names)
        if self._recoveries != self._availability.recoveries:
            self.close()
            self._recoveries = self._availability.recoveries
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
    """Each by itself. An error here would make a 500 of what is committed: a code is spent then, and its retry a replay."""
    for action in (*tx._wakes, *tx._afterwards):  # noqa: SLF001 - the unit of work and its database are one idea
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the answer says what was committed, whatever comes after it
            if not is_told(error):
                audit.fail("database.after_commit_failed", error)


def _driver_error_of(engine: Engine) -> type[Exception]:
    """What everything is that the driver raises."""
    error: type[Exception] = engine.dialect.loaded_dbapi.Error
    return error


def _engine(url: str, limits: Limits, pool_size: int) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        engine = sqlite.engine_for(address, limits, pool_size)
    else:
        from idp.runtime import postgres  # noqa: PLC0415 - its driver costs every command 0.1 s

        engine = postgres.engine_for(address, limits, pool_size)
    event.listen(engine, "handle_error", _take_new_connections)
    return engine


def _take_new_connections(context: ExceptionContext) -> None:
    """What the pool holds may see for ever what was: a standby that is none any more, a disk that was read-only."""
    outage = outage_of(context.original_exception)
    if outage is not None and needs_a_new_connection(outage):
        context.is_disconnect = True
