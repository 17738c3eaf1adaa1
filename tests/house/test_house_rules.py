"""House rules as code (STYLE.md): one clock, one source of randomness, no drawers of helpers, no silence."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.code import ROOT, dotted, imported, mentions, modules

#: The one place that asks what time it is.
CLOCK = "idp/runtime/clock.py"
#: And that of the verifier, which knows nothing of the provider.
VERIFIERS_CLOCK = "idp/verifier/clock.py"
TIME_OF_DAY = {
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "time.ctime",
    "time.strftime",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff", "manager", "managers", "base"}


def asks_the_time(tree: ast.Module) -> Iterator[int]:
    return (line for line, name in mentions(tree) if name in TIME_OF_DAY)


def passes_over_everything(tree: ast.Module) -> Iterator[int]:
    """`except:`, and `except Exception:` that neither raises, records nor answers."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = [
            dotted(each) for each in (node.type.elts if isinstance(node.type, ast.Tuple) else [node.type] if node.type else [])
        ]
        wide = node.type is None or {"Exception", "BaseException"} & set(caught)
        silent = all(
            isinstance(each, ast.Pass | ast.Continue) or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            for each in node.body
        )
        if node.type is None or (wide and silent):
            yield node.lineno


def uses_weak_randomness(tree: ast.Module) -> Iterator[int]:
    weak = {"random", "uuid.uuid1"}
    names = {name for name, what in imported(tree).items() if what in weak or what.startswith("random.")}
    return (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in names)


def prints(tree: ast.Module) -> Iterator[int]:
    """`print` and the root logger: what happened goes through `audit`, what a command says through `console`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            by_name = isinstance(node.func, ast.Name) and node.func.id == "print"
            if by_name or re.fullmatch(r"logging\.(debug|info|warning|error|exception)", dotted(node.func)):
                yield node.lineno


def reads_the_environment(tree: ast.Module) -> Iterator[int]:
    return (line for line, name in mentions(tree) if name.startswith(("os.environ", "os.getenv")))


def builds_sql(tree: ast.Module) -> Iterator[int]:
    """`text(...)` and `exec_driver_sql(...)` over anything but a constant."""
    known = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = dotted(node.func)
            is_sql = known.get(called) in {"sqlalchemy.text", "sqlalchemy.sql.text"} or called.endswith("exec_driver_sql")
            if is_sql and any(isinstance(part, ast.JoinedStr | ast.BinOp) for part in ast.walk(node.args[0])):
                yield node.lineno


def reads_the_host(tree: ast.Module) -> Iterator[int]:
    """Addresses come from the settings, never from what a request says of its host (docs/threats.md 32)."""
    told = re.compile(r"request\.(host|host_url|url|url_root|base_url|root_url|scheme|is_secure|trusted_hosts)$")
    for line, name in mentions(tree):
        if told.search(name):
            yield line
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and dotted(node.func).endswith("url_for")
            and any(word.arg == "_external" for word in node.keywords)
        ):
            yield node.lineno
        if isinstance(node, ast.Constant) and node.value in {
            "HTTP_HOST",
            "HTTP_X_FORWARDED_HOST",
            "HTTP_X_FORWARDED_PROTO",
            "X-Forwarded-Host",
        }:
            yield node.lineno


def compares_secrets_openly(tree: ast.Module) -> Iterator[int]:
    """`==` on something that is called a secret, a hash, a tag or a signature: `hmac.compare_digest` is for that."""
    secretive = re.compile(r"(^|[._])(secret|password|signature|mac|tag|token|cookie|digest|verifier|challenge)$")
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
            if sum(bool(secretive.search(dotted(side))) for side in sides) == len(sides):
                yield node.lineno


def writes_in_a_loop(tree: ast.Module) -> Iterator[int]:
    """A loop that takes the writer's lock again and again: `runtime.batches` rests in between, so that others can write."""
    loops = (node for node in ast.walk(tree) if isinstance(node, ast.While | ast.For | ast.comprehension))
    for loop in loops:
        for node in ast.walk(loop):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "writing":
                yield node.lineno


def counts_past_us(tree: ast.Module) -> Iterator[int]:
    """A figure of prometheus_client's own: before `runtime.figures` has its way, its file has holes (a full disk, SIGBUS)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "prometheus_client":
            yield from (node.lineno for name in node.names if name.name in {"Counter", "Gauge", "Histogram", "Summary", "Info"})
        if isinstance(node, ast.Import) and any(name.name == "prometheus_client" for name in node.names):
            yield node.lineno


def deletes_without_bound(tree: ast.Module) -> Iterator[int]:
    """A `DELETE` of everything that an instant is past: `runtime.deleting` takes so many rows at once."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func).endswith("where"):
            chain = ast.dump(node)
            compared = {
                each.attr
                for part in ast.walk(node)
                if isinstance(part, ast.Compare)
                for each in ast.walk(part.left)
                if isinstance(each, ast.Attribute)
            }
            if "id='delete'" in chain and any(name.endswith(("_at", "_until")) for name in compared):
                yield node.lineno


#: The one reader of what comes from outside; `protocol/jws.py`, which takes JWTs apart, calls it.
STRICT_READER = "idp/protocol/strict_json.py"
LENIENT = re.compile(
    r"^(json\.(load|loads|JSONDecoder|decoder\..*)|(orjson|ujson|simplejson|yaml|ast\.literal_eval)(\..*)?|"
    r"joserfc\.(jws\.(extract|deserialize)\w*|jwt\.decode|jwe\.decrypt\w*|rfc7515\..*)|authlib\.jose\..*|flask\.(json|request\.json)(\..*)?)$"
)


def reads_json_by_itself(tree: ast.Module) -> Iterator[int]:
    """JSON and JWTs that strangers wrote are read by `strict_json` and `jws` alone: every other reader lets something pass."""
    yield from (line for line, name in mentions(tree) if LENIENT.match(name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"get_json", "json"}:
            yield node.lineno
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [f"{getattr(node, 'module', None) or ''}.{alias.name}".lstrip(".") for alias in node.names]
            if any(LENIENT.match(name) for name in names):
                yield node.lineno


RULES = {
    "reads JSON by itself": (
        reads_json_by_itself,
        {STRICT_READER},
        "import json\njson.loads(x)",
        "import json\njson.dumps(x)",
    ),
    "reads JSON by another name": (
        reads_json_by_itself,
        {STRICT_READER},
        "from json import loads as read\nread(x)",
        "from idp.protocol.strict_json import loads\nloads(x)",
    ),
    "lets the framework read JSON": (
        reads_json_by_itself,
        {STRICT_READER},
        "from flask import request\nrequest.get_json(silent=True)",
        "from flask import request\nrequest.get_data()",
    ),
    "lets a library read JWTs": (
        reads_json_by_itself,
        {STRICT_READER},
        "from joserfc.jws import extract_compact\nextract_compact(b'')",
        "from joserfc.jws import JWSRegistry\nJWSRegistry.algorithms",
    ),
    "writes in a loop": (
        writes_in_a_loop,
        {"idp/runtime/batches.py", "idp/keys/schedule.py"},  # a few lines of keys, each closed once in years
        "while left:\n  with database.writing() as tx:\n    x(tx)",
        "with database.writing() as tx:\n  for each in x:\n    y(tx)",
    ),
    "counts past us": (
        counts_past_us,
        {"idp/runtime/figures.py"},
        "from prometheus_client import Gauge, Histogram",
        "from idp.runtime.figures import Counter\nfrom prometheus_client import REGISTRY",
    ),
    "deletes without a bound": (
        deletes_without_bound,
        set(),
        "delete(t).where(t.c.expires_at <= bindparam('now'))",
        "delete(t).where(t.c.client_id == bindparam('of'))",
    ),
    "asks the time of day": (
        asks_the_time,
        {CLOCK, VERIFIERS_CLOCK},
        "import time\nnow = time.time()",
        "from time import monotonic\nnow = monotonic()",
    ),
    "asks the time of day by datetime": (
        asks_the_time,
        {CLOCK, VERIFIERS_CLOCK},
        "from datetime import datetime as d\nd.now()",
        "from datetime import datetime\ndatetime.fromtimestamp(1)",
    ),
    "passes over everything": (
        passes_over_everything,
        set(),
        "try:\n  x()\nexcept Exception:\n  pass",
        "try:\n  x()\nexcept KeyError:\n  pass",
    ),
    "has a bare except": (
        passes_over_everything,
        set(),
        "try:\n  x()\nexcept:\n  raise",
        "try:\n  x()\nexcept Exception:\n  raise",
    ),
    "uses weak randomness": (
        uses_weak_randomness,
        {"idp/delivery/worker.py", "idp/delivery/rules.py"},
        "import random\nrandom.random()",
        "import secrets\nsecrets.token_bytes(8)",
    ),
    "prints": (prints, set(), "print(1)", "click.echo(1)"),
    "reads the environment": (
        reads_the_environment,
        {"idp/config.py", "idp/runtime/temporary.py", "idp/discovery/endpoints.py"},
        "import os\nos.environ['X']",
        "import os\nos.getpid()",
    ),
    "builds SQL": (
        builds_sql,
        set(),
        "from sqlalchemy import text\ntext(f'SELECT {x}')",
        "from sqlalchemy import text\ntext('SELECT 1')",
    ),
    "reads the host": (
        reads_the_host,
        {"idp/runtime/inbound/documents.py"},  # which overwrites it, ahead of everybody
        "from flask import request\nrequest.host_url",
        "from flask import request\nrequest.path",
    ),
    "compares secrets openly": (compares_secrets_openly, set(), "given.secret == kept.secret", "method == 'none'"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_catches_what_it_is_for(name: str) -> None:
    rule, _, bad, good = RULES[name]
    assert list(rule(ast.parse(bad)))
    assert not list(rule(ast.parse(good)))


@pytest.mark.parametrize("name", RULES)
def test_no_module_of_ours(name: str) -> None:
    rule, excepted, _, _ = RULES[name]
    demo = name in {"reads the environment", "prints"}
    found = [
        f"{path}:{line}"
        for path, tree in modules().items()
        if path not in excepted and not (demo and path.startswith("idp/demo"))
        for line in rule(tree)
    ]
    assert found == [], f"{name}: {', '.join(found)}"


def test_there_is_no_drawer_of_helpers() -> None:
    for path in modules():
        assert DRAWERS.isdisjoint(path.removesuffix(".py").split("/")), path


def test_nothing_is_called_a_manager() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                assert not re.search(r"(?i)manager$|^(util|helper)s?$", node.name), f"{path}:{node.lineno} {node.name}"


def test_every_room_has_a_door_plate() -> None:
    for path, tree in modules().items():
        if path.endswith("/__init__.py"):
            assert ast.get_docstring(tree), f"{path} says nothing"


def test_only_the_one_door_ends_anything() -> None:
    for path, tree in modules().items():
        if not path.startswith("idp/logout/"):
            endings = [name for name in imported(tree).values() if re.search(r"idp\.\w+\.ending(\.|$)", name)]
            assert endings == [], f"{path} imports {endings}: only idp/logout may"


def test_services_and_stores_never_commit() -> None:
    for path, tree in modules().items():
        if path != "idp/runtime/database.py":
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    assert node.func.attr not in {"commit", "rollback"}, f"{path}:{node.lineno}"


def test_no_module_is_longer_than_can_be_read() -> None:
    for path in modules():
        assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= 500, path


def test_no_class_name_is_given_twice() -> None:
    """One name, one meaning: a traceback, a log and a search find one thing."""
    named: dict[str, list[str]] = {}
    for path in sorted((ROOT / "idp").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                named.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: where for name, where in named.items() if len(where) > 1} == {}
