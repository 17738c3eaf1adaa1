"""Where files stand that go with the process: a folder that can be written, or a sentence that says that there is none."""

import tempfile

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
