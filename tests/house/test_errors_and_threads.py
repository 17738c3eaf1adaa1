"""House rules as code: no error is shared, no traceback shows variables, and no thread runs that nobody watches."""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from functools import cache

import pytest

from tests.house.code import dotted, imported, mentions, modules

BUILT_IN = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)}
#: What libraries raise is called so as well (`werkzeug.exceptions.NotFound`, `sqlalchemy.exc.NoResultFound`).
_CALLED_SO = re.compile(r"(Error|Exception|Refusal|Refused|Abort|NotFound|BadRequest|Forbidden|Unauthorized)$")
_CACHES = {"cache", "lru_cache", "cached_property"}


def classes_of_errors(trees: Iterable[ast.Module]) -> set[str]:
    """The names of every class that is an exception, of ours and built in."""
    known, trees = set(BUILT_IN), list(trees)
    grows = True
    while grows:
        found = {
            node.name
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any((name := dotted(base).rpartition(".")[2]) in known or _CALLED_SO.search(name) for base in node.bases)
        }
        grows = not found <= known
        known |= found
    return known


def makes_one(node: ast.AST | None, errors: set[str]) -> bool:
    """Whether an expression makes an exception when it is evaluated. What is in a lambda is made when that is called."""
    if node is None or isinstance(node, ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    if isinstance(node, ast.Call):
        name = dotted(node.func).rpartition(".")[2]
        if name in errors or _CALLED_SO.search(name):
            return True
    return any(makes_one(child, errors) for child in ast.iter_child_nodes(node))


def _defaults(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return [*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
    return []


def _at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement that runs when a module is imported, those of its classes and blocks, too."""
    for each in body:
        yield each
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from _at_import(getattr(each, name, ()))


def _is_cached(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        dotted(each.func if isinstance(each, ast.Call) else each).rpartition(".")[2] in _CACHES for each in node.decorator_list
    )


def shares_an_error(tree: ast.Module, errors: set[str]) -> Iterator[int]:
    """An exception that lives longer than one raising of it: each raising adds to its traceback, which keeps every frame."""
    for each in _at_import(tree.body):
        if isinstance(each, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr) and makes_one(each.value, errors):
            yield each.lineno
    kept: set[str] = set()
    for node in ast.walk(tree):
        if any(makes_one(default, errors) for default in _defaults(node)):
            yield node.lineno
        if _is_cached(node):
            yield from (
                each.lineno for each in ast.walk(node) if isinstance(each, ast.Return) and makes_one(each.value, errors)
            )
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute | ast.Subscript) and makes_one(node.value, errors):
                    kept.add(dotted(target))
                    yield node.lineno
        if isinstance(node, ast.Global | ast.Nonlocal):
            kept |= set(node.names)
        if isinstance(node, ast.For):  # `for future in waiting: future.set_exception(error)`
            yield from (
                call.lineno
                for call in ast.walk(node)
                if isinstance(call, ast.Call)
                and dotted(call.func).endswith("set_exception")
                and not any(makes_one(argument, errors) for argument in call.args)
            )
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Attribute) and dotted(node.exc) in kept:
            yield node.lineno
        # `raise _MISSING`: a name that is no class and no variable of the function is a shared one.
        if (
            isinstance(node, ast.Raise)
            and isinstance(node.exc, ast.Name)
            and node.exc.id not in errors
            and node.exc.id.isupper()
        ):
            yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        "_MISSING = StreamError(404, 'x')",
        "X: Exception = ValueError('x')",
        "class A:\n  missing = KeyError('x')",
        "class A:\n  class B:\n    each = {'a': [LookupError()]}",
        "@dataclass\nclass A:\n  error: Exception = field(default=ValueError())",
        "if True:\n  X = ValueError()",
        "try:\n  X = ValueError()\nfinally:\n  pass",
        "def f(error=ValueError('x')): pass",
        "def f(*, error=ValueError('x')): pass",
        "f = lambda error=ValueError('x'): error",
        "@cache\ndef f():\n  return ValueError('x')",
        "@functools.lru_cache(8)\ndef f(a):\n  if a:\n    return ValueError('x')",
        "class A:\n  @cached_property\n  def f(self):\n    return ValueError('x')",
        "class A:\n  def __init__(self):\n    self.busy = BusyError('x')",
        "def f(self, key):\n  self._failed[key] = OutboundError('x')",
        "def f():\n  raise _MISSING",
        "_ALL.append(ValueError('x'))",
        "X = abort_with(NotFound())",
        "class MineError(Exception): pass\nX = MineError()",
        "for future in waiting:\n  future.set_exception(error)",
    ],
)
def test_a_shared_error_is_found(source: str) -> None:
    tree = ast.parse(source)
    assert list(shares_an_error(tree, classes_of_errors([tree, ast.parse("class StreamError(Exception): pass")])))


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n  raise ValueError('x')",
        "def missing():\n  return ValueError('x')",
        "X = lambda: ValueError('x')",
        "KINDS = (ValueError, KeyError)",
        "def f():\n  error = ValueError('x')\n  raise error",
        "def f():\n  raise ValueError",
        "def f():\n  for future in waiting:\n    future.set_exception(UndoneError(name))",
    ],
)
def test_an_error_of_its_own_is_left_alone(source: str) -> None:
    tree = ast.parse(source)
    assert not list(shares_an_error(tree, classes_of_errors([tree])))


def test_no_exception_is_shared_anywhere() -> None:
    errors = classes_of_errors(modules().values())
    assert {"StreamError", "PollRefusal", "PageError", "OperatorError"} <= errors
    assert [f"{path}:{line}" for path, tree in modules().items() for line in shares_an_error(tree, errors)] == []


@cache
def imported_modules() -> list[object]:
    import importlib

    return [
        importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for path in modules()
        if not path.startswith("idp/keys/pkcs11") and "__main__" not in path and "/demo/" not in path
    ]


def test_no_module_and_no_class_holds_an_exception() -> None:
    """The same of what is there at run time, however it came there."""
    held = []
    for module in imported_modules():
        spaces = {"": vars(module)} | {name: vars(value) for name, value in vars(module).items() if isinstance(value, type)}
        for where, space in spaces.items():
            for name, value in list(space.items()):
                inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
                if any(isinstance(one, BaseException) for one in (value, *inner)):
                    held.append(f"{module.__name__}.{where}.{name}")  # type: ignore[attr-defined]
    assert held == []


# -- tracebacks -------------------------------------------------------------------------------------------------------------


def shows_variables(tree: ast.Module) -> Iterator[int]:
    """Whatever renders a traceback by another way than `idp.runtime.traces`."""
    for line, name in mentions(tree):
        if name in {"traceback", "traceback.extract_tb"}:  # files and lines, and nothing else
            continue
        if re.search(r"^(traceback|cgitb|faulthandler|rich\.traceback|structlog\.(dev|tracebacks)|better_exceptions)\b", name):
            yield line
        if re.search(r"structlog\.processors\.(format_exc_info|dict_tracebacks|ExceptionRenderer|StackInfoRenderer)", name):
            yield line
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and any(word.arg in {"show_locals", "capture_locals"} for word in node.keywords):
            yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in {"print_exception", "print_exc", "format_exc", "f_locals"}:
            yield node.lineno


def test_no_other_place_renders_a_traceback() -> None:
    assert list(shows_variables(ast.parse("import structlog\nstructlog.dev.ConsoleRenderer()")))
    assert list(shows_variables(ast.parse("import traceback\ntraceback.format_exc()")))
    assert list(shows_variables(ast.parse("from rich.traceback import install\ninstall(show_locals=True)")))
    found = [f"{path}:{line}" for path, tree in modules().items() for line in shows_variables(tree)]
    assert [each for each in found if not each.startswith("idp/runtime/traces.py")] == []


# -- threads ----------------------------------------------------------------------------------------------------------------

#: Where threads are started, and why nobody else has to see that they go on.
THREADS = {
    "idp/runtime/supervision.py": "it starts again what ends",
    "idp/runtime/inbound/threads.py": "they serve calls whose errors are caught, and the server's probe sees them",
    "idp/runtime/pool.py": "as the threads of the turns",
    "idp/runtime/inbound/rsgi.py": "it waits for the one call that it makes",
    "idp/runtime/outbound/resolver.py": "one look-up each; whoever waits is told in its `finally`",
    "idp/demo/stage.py": "it reads what a process says, and ends with that",
    "idp/verifier/sync.py": "it walks its flow again after whatever ended it",
    "idp/verifier/guard.py": "it sweeps again after whatever failed",
    "idp/verifier/closing.py": "they do jobs whose errors are caught",
}


def starts_threads(tree: ast.Module) -> bool:
    names = {name for _, name in mentions(tree)}
    return bool(
        names
        & {
            "threading.Thread",
            "threading.Timer",
            "_thread.start_new_thread",
            "concurrent.futures.ThreadPoolExecutor",
            "asyncio.to_thread",
            "multiprocessing.Process",
        }
    )


def test_every_place_that_starts_a_thread_is_known() -> None:
    assert {path for path, tree in modules().items() if starts_threads(tree)} == set(THREADS)


def test_no_event_loop_uses_the_threads_that_keep_a_process_from_ending() -> None:
    """`run_in_executor(None, ...)` and `asyncio.to_thread` take six threads on two cores, and all wait for one that hangs."""
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and dotted(node.func).endswith("run_in_executor"):
                assert not (isinstance(node.args[0], ast.Constant) and node.args[0].value is None), f"{path}:{node.lineno}"


def test_a_signals_handler_does_nothing_but_put_into_a_simple_queue() -> None:
    """Anything else may take a lock that the interrupted code holds: to start a thread, to set an event, to log."""
    handlers = []
    for path, tree in modules().items():
        known = imported(tree)
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and dotted(node.func) == "signal.signal" and known.get("signal") == "signal":
                handler = node.args[1]
                if dotted(handler) == "signal.SIG_DFL":
                    continue
                body = functions.get(handler.id) if isinstance(handler, ast.Name) else handler
                handlers.append(f"{path}:{node.lineno}")
                calls = {dotted(call.func) for call in ast.walk(body) if isinstance(call, ast.Call)} if body else set()
                assert calls <= {"self._told.put", "self._heard.put", "callable", "before"}, f"{path}:{node.lineno}: {calls}"
    assert len(handlers) == 2
