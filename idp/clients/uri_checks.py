"""What can only be seen from outside: whether the addresses of a client may be contacted, and who shares its sector."""

import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from idp.clients.metadata_fields import Json, MetadataError
from idp.protocol import strict_json
from idp.protocol.strict_json import JsonError
from idp.runtime import audit
from idp.runtime.outbound.client import Outbound, OutboundBusyError, OutboundError

_CONTACTED = ("backchannel_logout_uri", "jwks_uri", "sector_identifier_uri")
#: Hosts that the request_uris of one client may name: each is looked up.
_MAXIMUM_HOSTS = 4
#: Registrations of one process that may wait for other servers at once: hanging ones must leave threads for everybody else.
_MAXIMUM_WAITING = 4
_OK = 200
#: What a stranger is told of a host, whatever is wrong with it: the log says more.
NOT_CONTACTED = "its host is not one that can be contacted from here: it must have a name, and public addresses only"


class RegistrationBusyError(Exception):
    """Too many registrations are waiting for other servers at this moment."""


class Outside:
    """Looks. Never call it inside a transaction: it may wait for somebody else's server."""

    def __init__(self, client: Outbound) -> None:
        self._outbound = client
        self._waiting = threading.BoundedSemaphore(_MAXIMUM_WAITING)

    def check(self, known: Mapping[str, Json], *, by_operator: bool) -> None:
        """Raise MetadataError for what cannot be registered, and RegistrationBusyError. An operator is told why."""
        named = [(name, known[name]) for name in _CONTACTED if name in known]
        hosts = {urlsplit(uri).netloc: uri for uri in known.get("request_uris", [])}
        if len(hosts) > _MAXIMUM_HOSTS:
            message = f"request_uris: at most {_MAXIMUM_HOSTS} different hosts can be registered"
            raise MetadataError(message)
        named += [("request_uris", uri.partition("#")[0]) for uri in hosts.values()]
        if not named:
            return
        if not self._waiting.acquire(blocking=False):
            raise RegistrationBusyError
        try:
            self._check_addresses(named, by_operator=by_operator)
            self._check_sector(known, by_operator=by_operator)
        except OutboundBusyError:
            raise RegistrationBusyError from None
        finally:
            self._waiting.release()

    def _check_addresses(self, named: list[tuple[str, str]], *, by_operator: bool) -> None:
        """Addresses that will never be contacted are refused now, where that is visible already.

        Strangers get one sentence for every host, there or not: they could draw a map of our network by asking for names.
        An operator may register a name that will only be there tomorrow.
        """
        for name, uri in named:
            refusal = self._outbound.refusal(uri) if by_operator else self._outbound.obstacle(uri)
            if refusal is None:
                continue
            if by_operator:
                message = f"{name}: {refusal}"
                raise MetadataError(message)
            audit.warn("client.address_refused", member=name, host=urlsplit(uri).netloc, reason=refusal)
            message = f"{name}: {NOT_CONTACTED}"
            raise MetadataError(message)

    def _check_sector(self, known: Mapping[str, Json], *, by_operator: bool) -> None:
        """The document of a sector names everybody in it: otherwise anybody could join one (OIDC Registration §5)."""
        uri = known.get("sector_identifier_uri")
        if uri is None:
            return
        members = self._sector(uri, by_operator=by_operator)
        missing = [each for each in known.get("redirect_uris", []) if each not in members]
        if missing:
            message = f"sector_identifier_uri: its document does not name {missing[0]}, which is one of the redirect_uris"
            raise MetadataError(message)

    def _sector(self, uri: str, *, by_operator: bool) -> list[str]:
        try:
            answer = self._outbound.get(uri, headers={"Accept": "application/json"})
            if answer.status == _OK:
                found = strict_json.loads(answer.body)
                if isinstance(found, list) and all(isinstance(each, str) for each in found):
                    return found
            reason = f"the answer was {answer.status}, or no array of strings"
        except OutboundBusyError:
            raise
        except (OutboundError, JsonError) as error:
            reason = str(error)
        audit.warn("client.sector_not_fetched", uri=uri, reason=reason)
        why = f" ({reason})" if by_operator else ""
        message = f"sector_identifier_uri: it must answer 200 with a JSON array of redirect URIs, within a few seconds{why}"
        raise MetadataError(message)
