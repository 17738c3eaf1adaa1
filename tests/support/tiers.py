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

#: Folders in which everything is proof.
PROOF = frozenset({"browser", "faults", "fuzz", "load", "packaging"})
_TESTS = Path(__file__).resolve().parents[1]


def folder_of(path: Path) -> str:
    """The folder of `tests/` that a test lies in."""
    return path.relative_to(_TESTS).parts[0]


def mark(items: Iterable[pytest.Item]) -> None:
    """Mark what lies in a folder of proof."""
    for item in items:
        if folder_of(item.path) in PROOF:
            item.add_marker(pytest.mark.proof)


def proof_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """What takes long begins first: at the end of a run there is only what is quick, for whichever test process is free."""
    return sorted(items, key=lambda item: item.get_closest_marker("proof") is None)


def chosen(items: Sequence[pytest.Item], *, quick: bool) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """What is run, and what is not."""
    kept, left = [], []
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
