"""`idp`, whose processes check a password only when the file `go` is in the data directory, and whose queue is short."""

import os
import time
from pathlib import Path

from argon2 import PasswordHasher

from idp import cli
from idp.accounts import passwords
from idp.runtime.inbound import rsgi

SECONDS = 60
QUEUE = 64

_verify = PasswordHasher.verify


def _held(hasher: PasswordHasher, stored: str, password: str) -> bool:
    go = Path(os.environ["IDP_DATA_DIR"]) / "go"
    deadline = time.monotonic() + SECONDS
    while not go.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return _verify(hasher, stored, password)


if __name__ in {"__main__", "__mp_main__"}:  # the worker processes import this module anew, by the other name
    PasswordHasher.verify = _held  # type: ignore[method-assign, assignment]
    passwords.PATIENCE = SECONDS
    rsgi.QUEUE = QUEUE

if __name__ == "__main__":
    cli.main()
