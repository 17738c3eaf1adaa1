"""Requests that wait: answered in the event loop, so that nobody who waits holds a thread or a database connection."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request, read whole. Names of headers are in lower case; `gone` ends when the other side has left."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    gone: Callable[[], Awaitable[None]]


class LongPoll(Protocol):
    """Answers some paths in the event loop."""

    def serves(self, path: str) -> bool:
        """Whether the path is this lane's."""

    async def answer(self, request: WaitingRequest) -> Answer:
        """Answer, after however long. It must never block."""


class UndoneError(Exception):
    """The work of a batch failed, for each of those who asked by an error of its own: `cause` is what it failed with."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


class Desk(Generic[_Item, _Found]):
    """Blocking work for many at once: what comes while a batch is worked on is the next batch. For one event loop.

    `work` gives a result for each item, in order, or raises: UndoneError for all of them.
    """

    def __init__(self, executor: Executor, work: Callable[[Sequence[_Item]], Sequence[_Found]], *, most: int = 64) -> None:
        self._executor = executor
        self._work = work
        self._most = most
        self._waiting: list[tuple[_Item, asyncio.Future[_Found]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, item: _Item) -> _Found:
        """The result for `item`."""
        future: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._working is None:
            self._working = asyncio.create_task(self._go_on())
        return await future

    async def _go_on(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._do([(item, future) for item, future in batch if not future.done()])
        finally:
            self._working = None  # whatever ended it, the next one who asks begins anew

    async def _do(self, batch: Sequence[tuple[_Item, "asyncio.Future[_Found]"]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._executor, self._work, [item for item, _ in batch])
            answers = list(zip(batch, found, strict=True))
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            for _, future in batch:
                if not future.done():
                    future.set_exception(UndoneError(error))  # one of its own for each that raises it
            return
        for (_, future), one in answers:
            if not future.done():
                future.set_result(one)
