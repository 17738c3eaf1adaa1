"""A stream of our own at the provider (SSF 1.0 §8.1): made when it is needed, deleted when it is not."""

import json
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlencode

from idp.protocol import events
from idp.verifier.provider import Access, ProviderMetadata, listed, parsed
from idp.verifier.wire import Answer, ExchangeError, Flow, Request, expect

POLL, PUSH = "urn:ietf:rfc:8936", "urn:ietf:rfc:8935"
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
#: When the app closes, it is not held up for longer, in seconds.
_FAREWELL_SECONDS = 2.0


def post(url: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None, seconds: float = 5.0) -> Request:
    """A JSON request."""
    return Request("POST", url, {**_JSON, **(headers or {})}, json.dumps(body).encode(), seconds)


class StreamClient:
    """One stream. Each process that verifies has its own, since each has a memory of its own."""

    def __init__(self, provider: ProviderMetadata, access: Access, client_id: str, delivery: Mapping[str, str]) -> None:
        """`delivery` is what the stream is asked to be delivered by."""
        self._provider = provider
        self._access = access
        self._client_id = client_id
        self._delivery = delivery
        self.stream_id: str | None = None
        self.endpoint_url = ""
        #: Seconds between two verifications, as the provider allows.
        self.min_verification_interval = 0.0

    def open(self) -> Flow[None]:
        """Make it, if there is none: it begins with every ending that can still matter. Raises ExchangeError."""
        if self.stream_id is not None:
            return
        url = yield from self._provider.ssf("configuration_endpoint")
        if self._delivery["method"] == PUSH:
            yield from self._clear(url)
        wanted = {
            "delivery": dict(self._delivery),
            "events_requested": sorted(events.DEADLY),
            "description": f"idp.verifier {socket.gethostname()} {os.getpid()}",
        }
        answer = yield from self._access.ask(post(url, wanted))
        expect(answer, "the request for a stream", 200, 201)
        self._take(parsed(answer, url))

    def _clear(self, url: str) -> Flow[None]:
        """Delete the streams that earlier processes of this app left when they were killed.

        What is pushed to this endpoint comes to this process alone, so they are nobody else's. Without that, each start
        would leave one more behind, to which every event is posted, until the provider makes no other.
        """
        answer = yield from self._access.ask(Request("GET", url, {"Accept": "application/json"}))
        expect(answer, "the request for our streams", 200)
        for each in listed(answer, url):
            delivery, stream_id = each.get("delivery"), each.get("stream_id")
            if isinstance(delivery, dict) and delivery.get("endpoint_url") == self._delivery["endpoint_url"]:
                yield from self._access.ask(_deletion(url, str(stream_id)))

    def _take(self, found: Mapping[str, object]) -> None:
        stream_id, delivery, delivered = found.get("stream_id"), found.get("delivery"), found.get("events_delivered")
        endpoint = delivery.get("endpoint_url") if isinstance(delivery, dict) else None
        if not isinstance(stream_id, str) or not isinstance(endpoint, str) or not isinstance(delivered, list):
            message = "the provider made a stream that cannot be understood"
            raise ExchangeError(message)
        silent = sorted(events.DEADLY.difference(each for each in delivered if isinstance(each, str)))
        if silent:
            message = f"the stream would not tell of {', '.join(silent)}"
            raise ExchangeError(message)
        self.endpoint_url = self._provider.check_address(endpoint) if self._delivery["method"] == POLL else endpoint
        interval = found.get("min_verification_interval")
        self.min_verification_interval = float(interval) if isinstance(interval, int | float) else 0.0
        self.stream_id = stream_id

    def ask(self, request: Request) -> Flow[Answer]:
        """Send a request about it. Where the provider does not know it any more, the next `open` makes another."""
        answer = yield from self._access.ask(request)
        if answer.status in {403, 404, 410}:
            yield from self.abandon()  # one that is paused is still there
            self._provider.forget()
            message = f"the provider does not have our stream any more ({answer.status})"
            raise ExchangeError(message)
        return answer

    def abandon(self) -> Flow[None]:
        """Delete it; another one will tell everything anew."""
        if self.stream_id is None:
            return
        url = yield from self._provider.ssf("configuration_endpoint")
        deletion, self.stream_id = _deletion(url, self.stream_id), None
        yield from self._access.ask(deletion)


def _deletion(url: str, stream_id: str) -> Request:
    return Request("DELETE", f"{url}?{urlencode({'stream_id': stream_id})}", seconds=_FAREWELL_SECONDS)
