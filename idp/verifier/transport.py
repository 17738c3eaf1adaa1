"""The steps of a flow taken with httpx: one request at a time, bounded in time and size, and never redirected."""

import httpx

from idp.verifier.clock import Clock
from idp.verifier.core import Counts
from idp.verifier.wire import MAXIMUM_ANSWER, Answer, ExchangeError, Request

_CONNECTING = 5.0


def send(client: httpx.Client, request: Request, clock: Clock, counts: Counts) -> Answer:
    """The answer. Raises ExchangeError."""
    reading = _Reading(request, clock, counts)
    try:
        with client.stream(
            request.method,
            request.address,
            headers=dict(request.headers),
            content=request.body,
            timeout=reading.timeout,
            follow_redirects=False,
        ) as response:
            for part in response.iter_bytes():
                reading.add(part)
            return reading.answer(response)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, RuntimeError) as error:
        raise reading.failed(error) from None


async def send_async(client: httpx.AsyncClient, request: Request, clock: Clock, counts: Counts) -> Answer:
    """The answer. Raises ExchangeError."""
    reading = _Reading(request, clock, counts)
    try:
        async with client.stream(
            request.method,
            request.address,
            headers=dict(request.headers),
            content=request.body,
            timeout=reading.timeout,
            follow_redirects=False,
        ) as response:
            async for part in response.aiter_bytes():
                reading.add(part)
            return reading.answer(response)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, RuntimeError) as error:
        raise reading.failed(error) from None


class _Reading:
    """An answer as it comes: one that drips, or never ends, is given up."""

    def __init__(self, request: Request, clock: Clock, counts: Counts) -> None:
        counts.requests += 1
        self._counts = counts
        self._request = request
        self._clock = clock
        self._deadline = clock.elapsed() + request.seconds
        self._parts: list[bytes] = []
        self._left = MAXIMUM_ANSWER
        self.timeout = httpx.Timeout(request.seconds, connect=min(_CONNECTING, request.seconds))

    def add(self, part: bytes) -> None:
        """Another part has come."""
        self._left -= len(part)
        if self._left < 0 or self._clock.elapsed() > self._deadline:
            message = f"the answer of {self._request.address} is too long, or takes too long"
            raise ExchangeError(message)
        self._parts.append(part)

    def answer(self, response: httpx.Response) -> Answer:
        """All of it has come."""
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, b"".join(self._parts))

    def failed(self, error: Exception) -> ExchangeError:
        """It will not come."""
        self._counts.failures += 1
        return ExchangeError(f"{self._request.address} cannot be reached ({type(error).__name__})")
