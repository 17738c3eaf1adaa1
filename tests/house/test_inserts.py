"""Every insert that may meet itself says what becomes of it then (issue: two Allows at once, and a unique violation)."""

import ast
import importlib
from collections.abc import Iterator

import pytest
from sqlalchemy.sql.dml import Insert

from tests.house.code import ROOT, dotted, imported, modules

#: Tables whose rows are named at random, with 128 bits or more, by whoever inserts them: no two inserts are of one row.
NAMED_AT_RANDOM = {
    "authorization_codes": "code_hash",
    "authorization_requests": "request_id",
    "clients": "client_id",
    "family_closings": "closing_id",
    "health_checks": "check_id",
    "registration_tokens": "token_id",
    "session_closings": "closing_id",
    "sessions": "sid",
    "signal_streams": "stream_id",
    "signals": "signal_id",
    "token_families": "family_id",
}


def statements() -> Iterator[tuple[str, Insert]]:
    """Every insert that a module prepares, by the module and the name that it has there."""
    for path in modules():
        if "insert" not in (ROOT / path).read_text(encoding="utf-8") or path.startswith("idp/verifier/"):
            continue
        module = importlib.import_module(path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
        for name, value in vars(module).items():
            found = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else [value]
            yield from ((f"{path}: {name}", each) for each in found if isinstance(each, Insert))


def test_every_insert_has_its_conflict_clause_or_a_random_name() -> None:
    seen = set()
    for where, statement in statements():
        table = statement.table.name  # type: ignore[attr-defined]
        has_clause = getattr(statement, "_post_values_clause", None) is not None
        assert has_clause or table in NAMED_AT_RANDOM, f"{where}: two that insert the same row into {table} at once"
        seen.add(table)
    assert seen > set(NAMED_AT_RANDOM)
    assert {"consents", "ended_tokens", "pairwise_subjects", "session_clients", "client_origins", "signing_keys"} <= seen


@pytest.mark.parametrize("table", NAMED_AT_RANDOM)
def test_what_is_named_at_random_has_no_other_name_that_is_not(table: str) -> None:
    """A second unique column would be a second way to meet oneself; those that there are, are random or given in turn."""
    from sqlalchemy import UniqueConstraint

    from idp.tables import metadata

    others = {
        column.name
        for constraint in [*metadata.tables[table].constraints, *(i for i in metadata.tables[table].indexes if i.unique)]
        if isinstance(constraint, UniqueConstraint) or getattr(constraint, "unique", False)
        for column in constraint.columns
    }
    assert others <= {"cookie_hash", "token_hash", "seq", "status_index"}, others


def test_inserts_are_prepared_at_the_modules_level_where_the_rule_above_sees_them() -> None:
    for path, tree in modules().items():
        known = imported(tree)
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    first, _, rest = dotted(node.func).partition(".")
                    whole = f"{known.get(first, first)}.{rest}".rstrip(".")
                    is_insert = whole.startswith("sqlalchemy.") and whole.endswith(("insert", "insert.values"))
                    assert not is_insert, f"{path}:{node.lineno} prepares an insert inside a function"
