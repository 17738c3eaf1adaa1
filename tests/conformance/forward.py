"""`idp`, whose clock can be put forward while it runs: by as many seconds as the file `forward` in its data folder says."""

import os
import time
from pathlib import Path

from idp import app, cli
from idp.runtime import database

FILE = "forward"


def clock() -> float:
    """Now, and what was put forward."""
    try:
        return time.time() + float((Path(os.environ["IDP_DATA_DIR"]) / FILE).read_text())
    except FileNotFoundError:
        return time.time()


# Workers are born anew, and import this module as their parent's main one.
if __name__ in {"__main__", "__mp_main__"}:
    for function in (app.build, database.Database.__init__):
        function.__defaults__ = tuple(
            clock if getattr(each, "__name__", "") == "system_clock" else each for each in function.__defaults__ or ()
        )

if __name__ == "__main__":
    cli.main()
