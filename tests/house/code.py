"""The code of `idp/` as syntax trees, for rules that are code themselves."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "idp"


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of `idp/` by its path in the repository."""
    found = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
    assert found
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in found}


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of names; what is no name in it is left out."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def imported(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a module really is: `{"time": "time", "now": "datetime.datetime"}`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                alias.asname or alias.name.partition(".")[0]: alias.asname and alias.name or alias.name.partition(".")[0]
                for alias in node.names
            }
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def mentions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every dotted name that is used, as what was imported, with its line."""
    known = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = dotted(node).partition(".")
            yield node.lineno, known.get(first, first) + dot + rest
