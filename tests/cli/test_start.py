"""What a command imports before it does anything: only what it needs. Modules are counted, never seconds."""

import json
import subprocess
import sys

import pytest

from idp.cli import _NOUNS, cli
from tests.support.serving import RunningProvider

#: What only a server needs, or who migrates.
_SERVERS = {"alembic", "flask", "flask_login", "flask_wtf", "granian", "jinja2", "uvloop", "werkzeug", "wtforms"}
_HEAVY = _SERVERS | {
    "argon2",
    "authlib",
    "httptools",
    "joserfc",
    "prometheus_client",
    "pydantic",
    "rich",
    "sqlalchemy",
    "structlog",
}
#: So many modules a command of ours may import: what there was when this was written, and a tenth more.
#: Without it `idp --help` imported 830, and any other command 1,245.
_MOST = {"help": 150, "a room's help": 600, "reading": 860, "ending": 930}

_COUNTING = """
import io, json, sys
from idp.__main__ import main
said, sys.stdout = sys.stdout, io.StringIO()
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=said)
"""

PASSWORD = "correct horse battery staple"
CLIENT = json.dumps({"redirect_uris": ["http://localhost:5001/cb"]})


def imported(provider: RunningProvider, *arguments: str, stdin: str = "", code: int = 0) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _COUNTING, *arguments],
        env=provider.environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert answer["code"] == code, done.stderr
    return set(answer["modules"])


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def rooms(modules: set[str]) -> set[str]:
    """Whose service, pages or store is there: their rules are words that others use."""
    return {
        name.split(".")[1] for name in modules if name.startswith("idp.") and name.endswith((".service", ".pages", ".store"))
    }


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> RunningProvider:
    provider = RunningProvider(tmp_path_factory.mktemp("start"))
    provider.cli("migrate")
    provider.cli("key", "list")
    return provider


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("serve", "--help"), ("migrate", "--help")])
def test_help_imports_nothing_that_it_does_not_print(deployment: RunningProvider, arguments: tuple[str, ...]) -> None:
    modules = imported(deployment, *arguments)
    assert packages(modules) & _HEAVY == set()
    assert rooms(modules) == set()
    assert "--version" in arguments or len(modules) <= _MOST["help"], len(modules)


@pytest.mark.parametrize("noun", _NOUNS)
def test_the_help_of_a_noun_imports_no_service(deployment: RunningProvider, noun: str) -> None:
    modules = imported(deployment, noun, "--help")
    assert packages(modules) & (_SERVERS | {"argon2", "authlib", "structlog"}) == set()
    assert {name for name in modules if name.startswith("idp.") and name.endswith((".service", ".pages"))} == set()
    assert len(modules) <= _MOST["a room's help"], len(modules)


@pytest.mark.parametrize(
    ("arguments", "stdin", "its_rooms"),
    [
        (("migrate", "--json"), "", set()),
        (("user", "add", "bob", "--password-stdin"), PASSWORD, {"accounts"}),
        (("user", "list"), "", {"accounts"}),
        (("client", "add", "--file", "-"), CLIENT, {"clients"}),
        (("client", "list"), "", {"clients"}),
        (("key", "list"), "", set()),
        (("session", "list"), "", {"sessions"}),
        (("delivery", "list"), "", {"delivery"}),
        (("delivery", "parties"), "", {"delivery"}),
        (("signals", "list"), "", {"clients", "delivery", "signals"}),
        (("doctor",), "", None),  # it looks at everything
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_command_imports_its_own_rooms_and_no_server(
    deployment: RunningProvider, arguments: tuple[str, ...], stdin: str, its_rooms: set[str] | None
) -> None:
    modules = imported(deployment, *arguments, stdin=stdin)
    assert packages(modules) & (_SERVERS | {"authlib"}) == set()
    # Every command sees that the deployment's secret opens the newest key.
    assert its_rooms is None or rooms(modules) - {"keys"} <= its_rooms, rooms(modules)
    assert len(modules) <= _MOST["reading"], len(modules)


@pytest.mark.parametrize(
    "arguments", [("session", "end", "nobody's"), ("client", "remove", "nobody's"), ("user", "sign-out", "nobody")]
)
def test_what_ends_something_needs_no_server_either(deployment: RunningProvider, arguments: tuple[str, ...]) -> None:
    modules = imported(deployment, *arguments, code=1)
    assert packages(modules) & (_SERVERS | {"authlib"}) == set()
    assert len(modules) <= _MOST["ending"], len(modules)


def test_what_the_list_of_all_commands_says_of_a_noun_is_what_the_noun_says() -> None:
    with cli.make_context("idp", ["--help"], resilient_parsing=True) as context:
        for name, noun in _NOUNS.items():
            command = cli.get_command(context, name)
            assert command is not None
            assert noun.summary == command.help, name


def test_the_newest_revision_is_the_one_that_alembic_names() -> None:
    from alembic.script import ScriptDirectory

    from idp.runtime import migrations

    assert migrations.head() == ScriptDirectory.from_config(migrations.configuration()).get_current_head()
