"""The other side's library: verify tokens locally, and know within a stated bound of what has ended.

Usable by whoever installs `idp[verifier]`: it imports `idp.protocol` and nothing else of `idp`, no Flask, no SQLAlchemy.
Owns: the checks of a token, the keys it is verified with, what is known to have ended and how fresh that knowledge is.
Does not own: what the provider sends (`idp.signals`), who may do what in an app.
"""

from idp.verifier.asynchronous import AsyncVerifier
from idp.verifier.backchannel import BackChannel
from idp.verifier.bearer import bearer_token
from idp.verifier.errors import (
    BadSignatureError,
    ClaimError,
    DoubtError,
    EndedTokenError,
    ExpiredTokenError,
    KeysUnseenError,
    MalformedTokenError,
    MissingError,
    NoTokenError,
    StaleError,
    TokenError,
    UncertainError,
    UnknownKeyError,
    UnknownListError,
)
from idp.verifier.guard import SESSION_ENDED, Guard
from idp.verifier.holding import Handle, OtherSessionError, SocketEndedError
from idp.verifier.lists import StatusList
from idp.verifier.poll import Poll
from idp.verifier.push import Push
from idp.verifier.received import Reply
from idp.verifier.rules import Claims, Ending, Staleness, names
from idp.verifier.state import State
from idp.verifier.sync import Verifier

__all__ = [
    "SESSION_ENDED",
    "AsyncVerifier",
    "BackChannel",
    "BadSignatureError",
    "ClaimError",
    "Claims",
    "DoubtError",
    "EndedTokenError",
    "Ending",
    "ExpiredTokenError",
    "Guard",
    "Handle",
    "KeysUnseenError",
    "MalformedTokenError",
    "MissingError",
    "NoTokenError",
    "OtherSessionError",
    "Poll",
    "Push",
    "Reply",
    "SocketEndedError",
    "StaleError",
    "Staleness",
    "State",
    "StatusList",
    "TokenError",
    "UncertainError",
    "UnknownKeyError",
    "UnknownListError",
    "Verifier",
    "bearer_token",
    "names",
]
