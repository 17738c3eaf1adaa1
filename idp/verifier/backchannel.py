"""Hearing of ended sessions by back-channel logout alone, which every provider can do, and which proves nothing by silence."""

from dataclasses import dataclass

from idp.verifier.core import Core
from idp.verifier.errors import EventError, UnknownKeyError
from idp.verifier.events import Addressee
from idp.verifier.following import Follower
from idp.verifier.jwks import KeyFetcher
from idp.verifier.logout_token import LogoutTokens, posted
from idp.verifier.received import TRY_AGAIN, Reply, refused
from idp.verifier.wire import Flow


@dataclass(frozen=True, slots=True)
class BackChannel:
    """Be told at the client's `backchannel_logout_uri`, whose handler calls `receive(body)`. Demands `max_staleness=None`.

    An ended session is remembered for `token_lifetime` seconds: no access token may live longer.
    """

    client_id: str
    token_lifetime: float = 86_400.0


class BackChannelReceiver(Follower):
    """The reading of what comes."""

    def __init__(self, core: Core, keys: KeyFetcher, config: BackChannel) -> None:
        self._core = core
        self._keys = keys
        self._tokens = LogoutTokens(Addressee(core.expected.issuer, config.client_id), config.token_lifetime)

    def receive(self, body: bytes) -> Flow[Reply]:
        """Take in what was posted; what to answer (OIDC Back-Channel Logout 1.0 §2.8)."""
        try:
            text, now = posted(body), self._core.clock.wall()
            ended = yield from self._keys.reading(lambda keys: self._tokens.read(text, keys, now), trusted=False)
        except UnknownKeyError:
            return TRY_AGAIN
        except EventError as error:
            return refused(error.code, str(error))
        self._core.take_in([ended])
        return Reply(200)
