"""`Verifier`: for threads. Three threads of its own walk the flows; `verify` needs none of them."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from idp.verifier.errors import MissingError, TokenError
from idp.verifier.face import Face
from idp.verifier.options import Choices
from idp.verifier.received import Reply
from idp.verifier.rules import Claims
from idp.verifier.transport import send
from idp.verifier.wire import Answer, ExchangeError, Flow, Pause, Step

_T = TypeVar("_T")
#: How long `close` waits for its threads, together. One that is in the middle of a request dies with the process.
_CLOSING = 1.0
_AFTER_A_FAULT = 1.0


class _StoppedError(Exception):
    """Nobody follows any more."""


class Verifier(Face):
    """Verifies the access tokens of one issuer for one audience, and follows what ends there.

    `verify` may be called by any number of threads. Start it after a fork, in each process: each has its own memory.
    """

    def __init__(
        self,
        issuer: str,
        audience: str | Iterable[str],
        *,
        client: httpx.Client | None = None,
        **choices: Unpack[Choices],
    ) -> None:
        """`client` is for those who reach the provider by a proxy or with certificates of their own. Raises ValueError."""
        super().__init__(issuer, audience, **choices)
        self._given = client
        self._client = client or httpx.Client()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._asking = threading.Lock()

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin to follow. Until the first proof, tokens are judged as stale: see `wait`."""
        if self._threads:
            message = "a verifier is started once"
            raise RuntimeError(message)
        for name, flow in self._engine.flows().items():
            thread = threading.Thread(target=self._run, args=(name, flow), name=f"idp-verifier-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def wait(self, seconds: float) -> bool:
        """Wait until it is fresh, at most so long; whether it is."""
        fresh = threading.Event()
        undo = self.on_stale(lambda staleness: None if staleness.is_stale else fresh.set())
        try:
            return not self.is_stale or fresh.wait(seconds)
        finally:
            undo()

    def close(self) -> None:
        """Follow no more, and leave nothing behind at the provider."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._walk(self._engine.farewell())  # which also answers the poll that waits
        deadline = self._clock.elapsed() + _CLOSING
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.elapsed()))
        self._walk(self._engine.farewell())  # for the stream that was being made just then
        if self._given is None:
            self._client.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- tokens, and what is posted -------------------------------------------------------------------------------

    def verify(self, token: str) -> Claims:
        """The claims of an access token that counts. Raises TokenError, whose `status` is what to answer."""
        try:
            return self._core.judge(token)
        except TokenError as error:
            return self._reconsidered(token, error)

    def receive(self, body: bytes) -> Reply:
        """Take in what the provider posted (`Push`, `BackChannel`); what to answer."""
        return self._walk(self._engine.receive(body))

    def _reconsidered(self, token: str, error: TokenError) -> Claims:
        for _ in range(2):  # its key may be missing, and then its status list
            if isinstance(error, MissingError):
                with self._asking:  # one asks, and all that wait have the answer
                    self._walk(self._engine.find(error))
                try:
                    return self._core.judge(token)
                except TokenError as again:
                    error = again
        return self._walk(self._engine.decide(token, error))

    # -- flows ----------------------------------------------------------------------------------------------------

    def _run(self, name: str, flow: Callable[[], Flow[None]]) -> None:
        """A thread: what fails there is begun anew, and is seen as staleness meanwhile."""
        while not self._stopping.is_set():
            try:
                self._walk(flow(), for_long=True)
            except _StoppedError:
                return
            except BaseException as error:  # noqa: BLE001 - whatever it was, nobody would notice a thread that is gone
                self._core.note(name, f"{name} failed ({type(error).__name__}: {error})")
                self._stopping.wait(_AFTER_A_FAULT)
                self._core.note(name, "")
            else:
                return

    def _walk(self, flow: Flow[_T], *, for_long: bool = False) -> _T:
        """The outcome of a flow. One that is walked `for_long` ends with the verifier: _StoppedError."""
        try:
            step = next(flow)
            while True:
                if for_long and self._stopping.is_set():
                    raise _StoppedError
                try:
                    taken = self._take(step)
                except ExchangeError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(taken)
        except StopIteration as done:
            value: _T = done.value
            return value
        finally:
            flow.close()

    def _take(self, step: Step) -> Answer | None:
        if isinstance(step, Pause):
            self._stopping.wait(step.seconds)
            return None
        return send(self._client, step, self._clock, self._core.counts)
