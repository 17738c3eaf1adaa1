"""The table of docs/conformance.md cannot drift: it names every module of the plans, and each module has its test."""

import ast
import re
from pathlib import Path

from tests.conformance import plans
from tests.house.code import ROOT

HERE = Path(__file__).parent
_ROW = re.compile(r"^\| `(oidcc-[^`]+)` \| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", re.M)


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


def test_every_line_of_the_tables_is_such_a_row() -> None:
    lines = [line for line in _document().splitlines() if line.startswith("| `oidcc-")]
    assert len(lines) == len(rows())
