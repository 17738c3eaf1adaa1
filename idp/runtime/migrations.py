"""Bringing the schema up to date: by one process at a time, in one transaction.

Alembic is imported only where something is to be done: every command asks whether the schema is the one needed.
"""

import re
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from idp import resources
from idp.config import OperatorError
from idp.runtime.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

#: Any number, the same everywhere: whoever holds this PostgreSQL lock migrates, the others wait and find nothing to do.
_ADVISORY_LOCK = 7_306_110_001
#: Where Alembic writes down what it did.
_TABLE = "alembic_version"
_REVISION = re.compile(r"""^(down_)?revision\b[^=\n]*= *["']([^"']+)["']""", re.MULTILINE)


def configuration() -> "Config":
    """Alembic's configuration, found wherever this installation lies."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(resources.folder("migrations")).replace("%", "%%"))
    return config


class SchemaNewerError(OperatorError):
    """The database was used by an idp that is newer than this one."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database is newer than this version of idp, which does not know its revision {revision[:40]}: start the"
            " version that was used on it, or restore the backup from before."
        )


class MigrationRefusedError(OperatorError):
    """The database did not let the schema be brought up to date. Nothing was changed."""


def _revisions() -> tuple[set[str], set[str]]:
    """Every revision that this installation carries, and those that another follows."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for script in (resources.folder("migrations") / "versions").glob("*.py"):
        for is_followed, revision in _REVISION.findall(script.read_text(encoding="utf-8")):
            (followed if is_followed else revisions).add(revision)
    return revisions, followed


def head() -> str | None:
    """The newest revision that this installation carries: the one that no other follows."""
    revisions, followed = _revisions()
    newest = sorted(revisions - followed)
    if len(newest) > 1:
        message = f"the migrations have several heads: {', '.join(newest)}"
        raise RuntimeError(message)
    return next(iter(newest), None)


def current(database: Database) -> str | None:
    """The revision of the database; None when it is empty. Raises SchemaNewerError for one that is not known here."""
    with database.reading() as tx:
        if not inspect(tx.connection).has_table(_TABLE):
            return None
        there = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if there is not None and there not in _revisions()[0]:
        raise SchemaNewerError(str(there))
    return there


def upgrade(database: Database) -> bool:
    """Bring the schema to the newest revision; False when it was there already. Safe to run by several at once.

    Raises SchemaNewerError and MigrationRefusedError.
    """
    if current(database) == head():
        return False
    try:
        _upgrade(database)
    except SQLAlchemyError as error:
        state = getattr(getattr(error, "orig", None), "sqlstate", None) or type(error).__name__
        message = (
            f"The schema cannot be brought to revision {head()} ({state}), and nothing was changed: see that the database holds"
            " tables of idp alone, and that they are its user's."
        )
        raise MigrationRefusedError(message) from error
    return True


def _upgrade(database: Database) -> None:
    from alembic import command  # noqa: PLC0415

    with database.writing(rebuilding=True) as tx:
        tx.connection.begin()  # Alembic commits what it had to begin
        tx.take_time()
        if database.dialect == "postgresql":
            tx.execute(text("SET LOCAL lock_timeout = 0"))  # a migration by another process takes as long as it takes
            tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        config = configuration()
        config.attributes["connection"] = tx.connection
        command.upgrade(config, "head")
        if database.dialect == "sqlite" and (broken := tx.execute(text("PRAGMA foreign_key_check")).first()) is not None:
            message = f"The migration would leave rows of {broken[0]} that belong to nothing; nothing was changed."
            raise RuntimeError(message)
