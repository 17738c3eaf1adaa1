"""`AsyncVerifier`: for one event loop, in which its three tasks walk the flows."""

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from idp.verifier.errors import MissingError, TokenError
from idp.verifier.face import Face
from idp.verifier.options import Choices
from idp.verifier.received import Reply
from idp.verifier.rules import Claims
from idp.verifier.transport import send_async
from idp.verifier.wire import Answer, ExchangeError, Flow, Pause, Step

_T = TypeVar("_T")
_AFTER_A_FAULT = 1.0


class AsyncVerifier(Face):
    """Verifies the access tokens of one issuer for one audience, and follows what ends there.

    Made and used in one event loop.
    """

    def __init__(
        self,
        issuer: str,
        audience: str | Iterable[str],
        *,
        client: httpx.AsyncClient | None = None,
        **choices: Unpack[Choices],
    ) -> None:
        """`client` is for those who reach the provider by a proxy or with certificates of their own. Raises ValueError."""
        super().__init__(issuer, audience, **choices)
        self._given = client
        self._client = client or httpx.AsyncClient()
        self._tasks: list[asyncio.Task[None]] = []
        self._asking = asyncio.Lock()

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Begin to follow. Until the first proof, tokens are judged as stale: see `wait`."""
        if self._tasks:
            message = "a verifier is started once"
            raise RuntimeError(message)
        for name, flow in self._engine.flows().items():
            self._tasks.append(asyncio.create_task(self._run(name, flow), name=f"idp-verifier-{name}"))
        return self

    async def wait(self, seconds: float) -> bool:
        """Wait until it is fresh, at most so long; whether it is."""
        fresh = asyncio.Event()
        undo = self.on_stale(lambda staleness: None if staleness.is_stale else fresh.set())
        try:
            if self.is_stale:
                await asyncio.wait_for(fresh.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            undo()
        return True

    async def close(self) -> None:
        """Follow no more, and leave nothing behind at the provider."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._walk(self._engine.farewell())
        if self._given is None:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- tokens, and what is posted -------------------------------------------------------------------------------

    async def verify(self, token: str) -> Claims:
        """The claims of an access token that counts. Raises TokenError, whose `status` is what to answer."""
        try:
            return self._core.judge(token)
        except TokenError as error:
            return await self._reconsidered(token, error)

    async def receive(self, body: bytes) -> Reply:
        """Take in what the provider posted (`Push`, `BackChannel`); what to answer."""
        return await self._walk(self._engine.receive(body))

    async def _reconsidered(self, token: str, error: TokenError) -> Claims:
        for _ in range(2):  # its key may be missing, and then its status list
            if isinstance(error, MissingError):
                async with self._asking:  # one asks, and all that wait have the answer
                    await self._walk(self._engine.find(error))
                try:
                    return self._core.judge(token)
                except TokenError as again:
                    error = again
        return await self._walk(self._engine.decide(token, error))

    # -- flows ----------------------------------------------------------------------------------------------------

    async def _run(self, name: str, flow: Callable[[], Flow[None]]) -> None:
        """A task: what fails there is begun anew, and is seen as staleness meanwhile."""
        while True:
            try:
                await self._walk(flow())
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody would notice a task that is gone
                self._core.note(name, f"{name} failed ({type(error).__name__}: {error})")
                await asyncio.sleep(_AFTER_A_FAULT)
                self._core.note(name, "")
            else:
                return

    async def _walk(self, flow: Flow[_T]) -> _T:
        try:
            step = next(flow)
            while True:
                try:
                    taken = await self._take(step)
                except ExchangeError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(taken)
        except StopIteration as done:
            value: _T = done.value
            return value
        finally:
            flow.close()

    async def _take(self, step: Step) -> Answer | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await send_async(self._client, step, self._clock, self._core.counts)
