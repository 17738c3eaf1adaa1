"""What can only be seen from outside: whether the addresses of a client may be contacted, and who shares its sector."""

import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from idp.clients.members import Json, MetadataError
from idp.protocol import strict_json
from idp.runtime.outbound import Outbound, OutboundError

_CONTACTED = ("backchannel_logout_uri", "jwks_uri", "sector_identifier_uri")
#: Hosts that the request_uris of one client may name: each is looked up.
_MAXIMUM_HOSTS = 4
#: Registrations of one process that may wait for other servers at once: hanging ones must leave threads for everybody else.
_MAXIMUM_WAITING = 4
_OK = 200


class BusyError(Exception):
    """Too many registrations are waiting for other servers at this moment."""


class Outside:
    """Looks. Never call it inside a transaction: it may wait for somebody else's server."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._waiting = threading.BoundedSemaphore(_MAXIMUM_WAITING)

    def check(self, known: Mapping[str, Json]) -> None:
        """Raise MetadataError for what cannot be registered, and BusyError."""
        named = [(name, known[name]) for name in _CONTACTED if name in known]
        hosts = {urlsplit(uri).netloc: uri for uri in known.get("request_uris", [])}
        if len(hosts) > _MAXIMUM_HOSTS:
            message = f"request_uris: at most {_MAXIMUM_HOSTS} different hosts can be registered"
            raise MetadataError(message)
        named += [("request_uris", uri.partition("#")[0]) for uri in hosts.values()]
        if not named:
            return
        if not self._waiting.acquire(blocking=False):
            raise BusyError
        try:
            self._check_addresses(named)
            self._check_sector(known)
        finally:
            self._waiting.release()

    def _check_addresses(self, named: list[tuple[str, str]]) -> None:
        """Addresses that will never be contacted are refused now, where that is visible already."""
        for name, uri in named:
            refusal = self._outbound.refusal(uri)
            if refusal is not None:
                message = f"{name}: {refusal}"
                raise MetadataError(message)

    def _check_sector(self, known: Mapping[str, Json]) -> None:
        """The document of a sector names everybody in it: otherwise anybody could join one (OIDC Registration §5)."""
        uri = known.get("sector_identifier_uri")
        if uri is None:
            return
        members = self._sector(uri)
        missing = [each for each in known.get("redirect_uris", []) if each not in members]
        if missing:
            message = f"sector_identifier_uri: its document does not name {missing[0]}, which is one of the redirect_uris"
            raise MetadataError(message)

    def _sector(self, uri: str) -> list[str]:
        try:
            answer = self._outbound.get(uri, headers={"Accept": "application/json"})
            found = strict_json.loads(answer.body) if answer.status == _OK else None
        except OutboundError as error:
            message = f"sector_identifier_uri: it cannot be fetched: {error}"
            raise MetadataError(message) from None
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            message = "sector_identifier_uri: the answer must be 200 and a JSON array of redirect URIs"
            raise MetadataError(message)
        return found
