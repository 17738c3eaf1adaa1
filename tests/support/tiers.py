"""Which tests a run is made of: all of them, or those that are quick on one database.

`proof` is what kills processes, loads, fuzzes, builds and installs, or starts a JVM, a browser or programs of Node.
`one_database` is for what no database has a part in: of the two runs of such a test one is left out, by a hash of its name,
so that each database has half of them.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

import pytest

from tests.support.databases import DIALECTS

#: Where everything is proof, by why it is.
PROOF = {
    "a browser": ("browser",),
    "processes that are killed, and their signals": ("faults", "cli/test_serving.py", "cli/test_start_up.py"),
    "load, and very much of something": (
        "load",
        "endings/test_large.py",
        "endings/test_scale.py",
        "attacks/test_slow_connections.py",
    ),
    "everything that could be sent": ("fuzz",),
    "wheels, and fresh interpreters": (
        "packaging",
        "cli/test_start.py",
        "cli/test_deployment.py",
        "documentation/test_deploying.py",
    ),
    "programs of Node or the JVM": ("examples", "conformance/test_openid_client.py", "signals/test_keycloak_reader.py"),
    "servers and libraries of others": (
        "proxies/test_nginx.py",
        "conformance/test_idpyoidc.py",
        "documentation/test_readme.py",
    ),
    "verifiers as programs": (
        "verifier/test_real_provider.py",
        "verifier/test_real_status_list.py",
        "verifier/test_guarded_app.py",
    ),
}
_TESTS = Path(__file__).resolve().parents[1]


def mark(items: Iterable[pytest.Item]) -> None:
    """Mark what is proof by where it lies."""
    places = {place for each in PROOF.values() for place in each}
    for item in items:
        path = item.path.relative_to(_TESTS)
        if {path.parts[0], path.as_posix()} & places:
            item.add_marker(pytest.mark.proof)


def proof_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """What takes long begins first: at the end of a run there is only what is quick, for whichever test process is free."""
    return sorted(items, key=lambda item: item.get_closest_marker("proof") is None)


def chosen(items: Sequence[pytest.Item], *, quick: bool) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """What is run, and what is not."""
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        is_out = quick and item.get_closest_marker("proof") is not None
        (left if is_out or not _is_on_its_database(item, quick=quick) else kept).append(item)
    return kept, left


def _is_on_its_database(item: pytest.Item, *, quick: bool) -> bool:
    dialect = dialect_of(item)
    if dialect is None or not (quick or item.get_closest_marker("one_database") is not None):
        return True
    name = item.nodeid.replace(dialect, "")
    return DIALECTS[crc32(name.encode()) % len(DIALECTS)] == dialect


def dialect_of(item: pytest.Item) -> str | None:
    """The database that a test is run on; None for one that is run only once."""
    parameters = getattr(item, "callspec", None)
    return None if parameters is None else next((each for each in parameters.params.values() if each in DIALECTS), None)
