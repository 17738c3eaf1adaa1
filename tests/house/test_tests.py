"""Rules that the tests themselves keep."""

import ast
import re

import pytest

from tests.house.code import ROOT, mentions

#: What makes a TLS context anew each time it is called, 40 ms of CPU. `tests.support.http` has the same, with one for all.
COSTLY = {f"httpx.{name}" for name in ("get", "options", "head", "post", "put", "patch", "delete", "request", "stream")}
ALLOWED = ROOT / "tests" / "support" / "http.py"


def costly(tree: ast.Module) -> set[int]:
    """The lines at which a costly function is named, or a client made. As a type, a client costs nothing."""
    named = {line for line, name in mentions(tree) if name in COSTLY}
    made = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "httpx.Client"}
    return named | made


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_no_test_makes_a_tls_context_for_each_request(folder: str) -> None:
    paths = [path for path in (ROOT / folder).rglob("*.py") if path != ALLOWED]
    assert paths
    bad = [
        f"{path.relative_to(ROOT)}:{line}: use tests.support.http"
        for path in paths
        for line in sorted(costly(ast.parse(path.read_text(encoding="utf-8"))))
    ]
    assert not bad, "\n".join(bad)


def test_the_rule_sees_what_it_forbids() -> None:
    source = (
        "import httpx\nhttpx.get('x')\nc = httpx.Client(timeout=1)\ndef f(c: httpx.Client) -> None: pass\npool(httpx.post)\n"
    )
    assert costly(ast.parse(source)) == {2, 3, 5}


#: A clock that goes on while others have the processor; `time.thread_time` does not.
ELAPSED = re.compile(r"\b(monotonic|perf_counter)\(\) - ")


def by_the_clock(tree: ast.Module) -> set[int]:
    """The lines at which seconds that have passed are held to a number which does not grow on a busy machine."""
    return {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and isinstance(node.ops[-1], ast.Lt | ast.LtE)
        and isinstance(node.comparators[-1], ast.Constant)
        and any(ELAPSED.search(ast.unparse(each)) for each in (node.left, *node.comparators[:-1]))
    }


def test_no_bound_in_seconds_fails_on_a_busy_machine() -> None:
    bad = [
        f"{path.relative_to(ROOT)}:{line}: multiply by tests.support.pace.slowness()"
        for path in (ROOT / "tests").rglob("*.py")
        for line in sorted(by_the_clock(ast.parse(path.read_text(encoding="utf-8"))))
    ]
    assert not bad, "\n".join(bad)


def test_the_rule_of_the_clock_sees_what_it_forbids() -> None:
    source = (
        "assert time.monotonic() - began < 5\n"
        "assert 0.9 < perf_counter() - began <= 3\n"
        "assert time.monotonic() - began < 5 * slowness()\n"
        "assert time.thread_time() - began < 0.5\n"
        "assert time.monotonic() < deadline\n"
    )
    assert by_the_clock(ast.parse(source)) == {1, 2}
