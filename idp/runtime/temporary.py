"""Where files stand that go with the process: a folder that can be written, or a sentence that says that there is none."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from idp.config import OperatorError


def temporary_folder(prefix: str) -> "tempfile.TemporaryDirectory[str]":
    """A folder of one's own, for its owner alone. Raises OperatorError."""
    try:
        return tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        message = (
            f"No folder for temporary files can be written ({error.strerror or 'none is usable'}): mount one at /tmp, in memory"
            " perhaps, or set TMPDIR to one that can be."
        )
        raise OperatorError(message) from None


@contextmanager
def folder_of_figures() -> Iterator[str]:
    """The folder in which all processes of a server add up their figures. Raises OperatorError.

    prometheus_client looks for it once, when it is imported: so it must be there before that, and before any process is forked.
    """
    with temporary_folder("idp-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield folder
