"""An empty database for each test: a file, or a schema of its own on PostgreSQL."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from idp.config import Settings

DIALECTS = ("sqlite", "postgresql")


@contextmanager
def fresh_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The address of an empty database of the dialect that the test is run on."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'idp.sqlite3'}"
        return
    given = Settings.model_validate({"database_url": request.getfixturevalue("postgres_url"), "secret_key": "-" * 32}).database
    schema = f"accounts_{secrets.token_hex(6)}"
    engine = create_engine(given)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield (make_url(given).update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False))
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()
