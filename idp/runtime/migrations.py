"""Bringing the schema up to date: by one process at a time, in one transaction.

Alembic is imported only where something is to be done: every command asks whether the schema is the one needed.
"""

import re
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from idp import resources
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


def head() -> str | None:
    """The newest revision that this installation carries: the one that no other follows."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for script in (resources.folder("migrations") / "versions").glob("*.py"):
        for is_followed, revision in _REVISION.findall(script.read_text(encoding="utf-8")):
            (followed if is_followed else revisions).add(revision)
    newest = sorted(revisions - followed)
    if len(newest) > 1:
        message = f"the migrations have several heads: {', '.join(newest)}"
        raise RuntimeError(message)
    return next(iter(newest), None)


def current(database: Database) -> str | None:
    """The revision of the database; None when it is empty."""
    with database.reading() as tx:
        if not inspect(tx.connection).has_table(_TABLE):
            return None
        return tx.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(database: Database) -> bool:
    """Bring the schema to the newest revision; False when it was there already. Safe to run by several at once."""
    if current(database) == head():
        return False
    from alembic import command  # noqa: PLC0415

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
