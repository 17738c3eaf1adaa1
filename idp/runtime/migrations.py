"""Bringing the schema up to date: by one process at a time, in one transaction."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from idp import resources
from idp.runtime.database import Database

#: Any number, the same everywhere: whoever holds this PostgreSQL lock migrates, the others wait and find nothing to do.
_ADVISORY_LOCK = 7_306_110_001


def configuration() -> Config:
    """Alembic's configuration, found wherever this installation lies."""
    config = Config()
    config.set_main_option("script_location", str(resources.folder("migrations")).replace("%", "%%"))
    return config


def head() -> str | None:
    """The newest revision that this installation carries."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def current(database: Database) -> str | None:
    """The revision of the database; None when it is empty."""
    with database.reading() as tx:
        return MigrationContext.configure(tx.connection).get_current_revision()


def upgrade(database: Database) -> bool:
    """Bring the schema to the newest revision; False when it was there already. Safe to run by several at once."""
    if current(database) == head():
        return False
    with database.writing(rebuilding=True) as tx:
        tx.connection.begin()  # Alembic commits what it had to begin
        if database.dialect == "postgresql":
            tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        config = configuration()
        config.attributes["connection"] = tx.connection
        command.upgrade(config, "head")
        if database.dialect == "sqlite" and (broken := tx.execute(text("PRAGMA foreign_key_check")).first()) is not None:
            message = f"The migration would leave rows of {broken[0]} that belong to nothing; nothing was changed."
            raise RuntimeError(message)
    return True
