"""`python -m tests.migrations.check_models`: do the migrations lead to the very tables that the models describe?

One line for each database; exit status 1, with the differences, where a migration is missing.
"""

import sys

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from idp.runtime import migrations
from idp.runtime.database import Database
from idp.tables import metadata
from tests.migrations.databases import opened, postgresql, sqlite

VERSION_TABLE = "alembic_version"


def differences(database: Database) -> list[str]:
    """What a new migration would have to change, in Alembic's words; the schema is brought to the newest revision first."""
    migrations.upgrade(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = [repr(difference) for difference in compare_metadata(context, metadata)]
        tables = set(inspect(connection).get_table_names()) - {VERSION_TABLE}
    missing = sorted(set(metadata.tables) ^ tables)
    return found or [f"these tables are on one side only: {', '.join(missing)}" for _ in missing[:1]]


def main() -> None:
    """Check both databases, and say so."""
    failed = False
    for name, make in (("sqlite", sqlite), ("postgresql", postgresql)):
        with make() as url, opened(url) as database:
            found = differences(database)
        if found:
            failed = True
            print(f"{name}: a migration is missing; revision {migrations.head()} differs from the models:")
            for difference in found:
                print(f"  {difference}")
        else:
            print(f"{name}: the models are what revision {migrations.head()} makes.")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
