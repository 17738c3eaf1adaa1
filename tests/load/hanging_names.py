"""`idp`, whose names under `.hangs.test` never resolve: `python -m tests.load.hanging_names ARGUMENTS`."""

import socket
import time
from typing import Any

from idp import cli

DOMAIN = ".hangs.test"
_resolve = socket.getaddrinfo


def _hang(host: Any, *arguments: Any, **named: Any) -> Any:
    if str(host).endswith(DOMAIN):
        time.sleep(600)
    return _resolve(host, *arguments, **named)


socket.getaddrinfo = _hang  # in each process that is born of this one, too: all of them import this module

if __name__ == "__main__":
    cli.main()
