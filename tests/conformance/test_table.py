"""The table of docs/conformance.md cannot drift: it names every module of the plans, and each module has its test."""

import ast
import json
import re
from importlib.metadata import version
from pathlib import Path

from tests.conformance import plans
from tests.house.code import ROOT

HERE = Path(__file__).parent
_ROW = re.compile(r"^\| `(oidcc-[^`]+)` \| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str, str]]:
    """Module, plans, behaviour, test."""
    return [(row[0], row[1].strip(), row[2].strip(), row[3]) for row in _ROW.findall(_document())]


def _document() -> str:
    return (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")


def our_tests() -> dict[str, str]:
    """Every test function of this folder, by name; the file that it stands in."""
    return {
        node.name: path.name
        for path in sorted(HERE.glob("test_*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_module_of_every_plan_has_one_row_and_no_other_has() -> None:
    named = [module for module, *_ in rows()]
    assert sorted(named) == plans.modules()


def test_a_row_names_the_plans_that_the_module_is_in() -> None:
    for module, in_plans, _, _ in rows():
        expected = [plan for plan, listed in plans.PLANS.items() if module in listed and not plan.startswith("Form Post ")]
        assert in_plans == ", ".join(expected), module


def test_a_row_names_the_test_of_its_module_where_it_stands() -> None:
    tests = our_tests()
    for module, _, _, where in rows():
        name = plans.test_name(module)
        assert where == f"{tests[name]}::{name}", module


def test_no_test_bears_the_name_of_a_module_that_is_in_no_plan() -> None:
    named = {plans.test_name(module) for module in plans.modules()}
    assert {name for name in our_tests() if name.startswith("test_oidcc_")} == named


CLIENTS = ("test_openid_client.py", "test_idpyoidc.py")


def listed_by_client() -> dict[str, set[str]]:
    """What the table of independent clients says that each file holds."""
    section = _document().split("## Independent clients")[1].split("\n## ")[0]
    columns = [line.split("|")[2:4] for line in section.splitlines() if line.startswith("|")][2:]
    return {name: set(re.findall("`(test_[^`]+)`", " ".join(row[at] for row in columns))) for at, name in enumerate(CLIENTS)}


def test_every_test_of_an_independent_client_stands_in_the_table_and_no_other_does() -> None:
    for name, listed in listed_by_client().items():
        body = ast.parse((HERE / name).read_text(encoding="utf-8")).body
        assert listed == {node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}, (
            name
        )


def test_the_table_names_the_versions_that_are_run() -> None:
    package = json.loads((HERE / "openid_client" / "package.json").read_text(encoding="utf-8"))
    assert f"openid-client) {package['dependencies']['openid-client']} " in _document()
    assert f"idpy-oidc) {version('idpyoidc')} " in _document()


def test_every_line_of_the_tables_is_such_a_row() -> None:
    lines = [line for line in _document().splitlines() if line.startswith("| `oidcc-")]
    assert len(lines) == len(rows())
