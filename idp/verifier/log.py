"""Why tokens are refused, for whoever runs the app: Python's own log, under the name `idp.verifier`."""

import logging

from idp.verifier.errors import ClaimError, TokenError

_log = logging.getLogger("idp.verifier")


def refused(error: TokenError) -> None:
    """One line, which never holds the token.

    What is for another party, or of the wrong kind, is somebody's configuration, and a warning. All else happens every day.
    """
    _log.log(logging.WARNING if isinstance(error, ClaimError) else logging.INFO, "token refused: %s", error.description)
