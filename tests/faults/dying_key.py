"""`idp`, whose process kills itself at one step of what it does to keys: `python -m tests.faults.dying_key STEP ARGUMENTS`."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from idp import cli
from idp.keys import store
from idp.runtime.database import Database


def _die(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(function: Callable[..., Any]) -> Callable[..., Any]:
    return _die


def _after(function: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*arguments: Any) -> None:
        function(*arguments)
        _die()

    return dying


def arm(step: str) -> None:
    """`before revoke`, `after add`, … of a statement; `committed` for the moment after the commit that it belongs to."""
    when, _, name = step.partition(" ")
    if when == "committed":
        original = getattr(store, name)

        def armed(tx: Any, *arguments: Any) -> Any:
            tx.after_commit(_die)
            return original(tx, *arguments)

        setattr(store, name, armed)
    else:
        setattr(store, name, {"before": _before, "after": _after}[when](getattr(store, name)))


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    assert Database  # imported before anything dies
    cli.main()
