"""Request objects by reference: fetched from where the client registered them (OIDC Core §6.2, RFC 9101 §5.2, §10.4).

Only what is registered is fetched, through the guarded client, and few at once: otherwise strangers could make this server
ask anybody anything, and keep all of its threads waiting. A fragment is the hash of the document, so one that fits it is
kept; any other is fetched each time.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from idp.authorization.errors import AuthorizationError
from idp.clients.rules import Client
from idp.runtime import audit
from idp.runtime.outbound.client import HttpReply, OutboundError
from idp.runtime.secrets import b64url, same

#: OIDC Core §6.2: in ASCII characters.
MAXIMUM_URI = 512
_MAXIMUM_KEPT = 256
_MAXIMUM_WAITING = 4
_OK = 200
_ERROR = "invalid_request_uri"


class Documents:
    """What stands at the `request_uri`s of clients. `get` is the guarded client's."""

    def __init__(self, get: Callable[[str], HttpReply]) -> None:
        self._get = get
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._guard = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MAXIMUM_WAITING)

    def fetch(self, uri: str, client: Client) -> str:
        """The document. Raises OAuth2Error. It may wait for the client's server: never call it inside a transaction."""
        if len(uri) > MAXIMUM_URI:
            raise AuthorizationError(_ERROR, f"request_uri is longer than {MAXIMUM_URI} characters.")
        address, _, promised = uri.partition("#")
        if address not in {registered.partition("#")[0] for registered in client.request_uris}:
            description = "request_uri is not one of the request_uris that the client registered; only its fragment may differ."
            raise AuthorizationError(_ERROR, description)
        with self._guard:
            kept = self._kept.get(uri)
        return kept if kept is not None else self._fetched(uri, address, promised)

    def _fetched(self, uri: str, address: str, promised: str) -> str:
        if not self._waiting.acquire(blocking=False):
            description = "Too many request objects are being fetched at this moment: try again in a few seconds."
            raise AuthorizationError("temporarily_unavailable", description)
        try:
            document = self._read(address)
        finally:
            self._waiting.release()
        text = document.decode("latin-1").strip()  # whatever is not ASCII is no JWT, and is refused as such
        if same(b64url(sha256(document).digest()), promised):
            with self._guard:
                self._kept[uri] = text
                if len(self._kept) > _MAXIMUM_KEPT:
                    self._kept.popitem(last=False)
        return text

    def _read(self, address: str) -> bytes:
        """What is there now. Why it cannot be had is for the log: it would tell strangers of the network that we are in."""
        try:
            answer = self._get(address)
            if answer.status == _OK:
                return answer.body
            reason = f"the answer was {answer.status}"
        except OutboundError as error:
            reason = str(error)
        audit.warn("authorization.request_uri_not_fetched", uri=address, reason=reason)
        description = "request_uri cannot be fetched: it must answer 200 with the request object, within a few seconds."
        raise AuthorizationError(_ERROR, description)
