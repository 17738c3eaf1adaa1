"""No token, code, secret, password or cookie is handed to the log: neither as a field's name nor as a variable."""

import ast
import re
from collections.abc import Iterator

import pytest

from idp.runtime.database import Database
from tests.house.code import dotted, imported, modules

#: Names of things that must not be read in a log. `token_id`, `kid` and `code_lifetime` are no secrets.
_SECRET = re.compile(
    r"(?i)(^|[._])(token|tokens|text|secret|secrets|password|code|codes|cookie|cookies|verifier|code_verifier|state|nonce|hint|id_token_hint"
    r"|access_token|refresh_token|id_token|logout_token|client_secret|secret_hash|password_hash|cookie_hash|authorization|headers|form|parameters|given|payload|claims|body)$"
)
_LOGGING = {"idp.runtime.audit.record", "idp.runtime.audit.warn", "idp.runtime.audit.fail"}


def secrets_logged(tree: ast.Module) -> Iterator[str]:
    known = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, _, rest = dotted(node.func).partition(".")
        if f"{known.get(first, first)}.{rest}".rstrip(".") not in _LOGGING:
            continue
        for word in node.keywords:
            if word.arg is not None and _SECRET.search(word.arg):
                yield f"line {node.lineno}: the field {word.arg}"
        for part in [part for value in (*node.args, *(word.value for word in node.keywords)) for part in ast.walk(value)]:
            name = dotted(part) if isinstance(part, ast.Name | ast.Attribute) else ""
            if name and _SECRET.search(name):
                yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize(
    "source",
    [
        "from idp.runtime import audit\naudit.record('x', token=t)",
        "from idp.runtime import audit\naudit.record('x', note=given.password)",
        "from idp.runtime import audit\naudit.warn('x', note=f'{code}')",
        "from idp.runtime import audit\naudit.fail('x', error, note=str(request.headers))",
        "from idp.runtime.audit import record\nrecord('x', a=session.cookie)",
    ],
)
def test_the_rule_catches_what_it_is_for(source: str) -> None:
    assert list(secrets_logged(ast.parse(source)))


def test_no_call_of_the_log_is_handed_a_secret() -> None:
    found = [f"{path}, {what}" for path, tree in modules().items() for what in secrets_logged(tree)]
    assert found == []


def test_every_event_is_called_room_dot_what() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and dotted(node.func) in {"audit.record", "audit.warn", "audit.fail"}:
                event = node.args[0]
                assert isinstance(event, ast.Constant), f"{path}:{node.lineno}: an event has a constant name"
                assert re.fullmatch(r"[a-z_]+\.[a-z_]+", str(event.value)), f"{path}:{node.lineno}: {event.value}"


def test_the_log_is_written_to_in_one_place_only() -> None:
    """One place of the provider, and one of the verifier, which knows nothing of the provider."""
    for path, tree in modules().items():
        if path not in {"idp/runtime/audit.py", "idp/verifier/log.py"}:
            others = [name for name in imported(tree).values() if name.partition(".")[0] in {"structlog", "logging"}]
            assert others == [] or path == "idp/serving.py", f"{path} imports {others}: only idp/runtime/audit.py logs"


def test_an_error_of_the_database_shows_no_parameters_in_the_log() -> None:
    """SQLAlchemy puts a failed statement's parameters in the message of its errors, and `audit.fail` writes that down."""
    database = Database("sqlite://")
    try:
        with pytest.raises(Exception, match="no such table") as failed, database.reading() as tx:
            tx.connection.exec_driver_sql("SELECT * FROM nowhere WHERE cookie = ?", ("s3cret-value",))
        assert "s3cret-value" not in str(failed.value)
    finally:
        database.dispose()
