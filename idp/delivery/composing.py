"""Making messages beside the event loop: a composer reads the database and may sign in an HSM, and either may hang.

In the loop it would hold up every lane, and the handshakes under way would run out of time: innocent parties would be charged
with it. Here it takes a thread. A few compose at a time, for they compete for the same cores; one that takes long gives its
turn to another and goes on. So as many may hang as there are lanes, and nobody else waits for them.
"""

import asyncio
from collections.abc import Callable

from idp.delivery.rules import Composer, Delivery, Message
from idp.runtime.clock import Instant
from idp.runtime.pool import Pool

_AT_ONCE = 4
#: One that takes longer, in seconds, no longer counts.
_PATIENCE = 0.1


class Composing:
    """Composes for one worker's event loop. `pool` has a thread for each lane; `seconds` is how long one waits for its message.

    A lane whose message hangs waits for that very one the next time: it never takes a second thread.
    """

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._hanging: dict[str, asyncio.Future[Message]] = {}

    async def compose(self, composer: Composer, delivery: Delivery, now: Instant) -> Message:
        """The message. Raises TimeoutError when it takes too long, and whatever its composer raises."""
        async with asyncio.timeout(self._seconds):
            hanging = self._hanging.get(delivery.lane)
            if hanging is not None:
                await asyncio.wait([hanging])
            await self._turns.acquire()
            return await self._begun(delivery.lane, lambda: _made(composer, delivery, now))

    async def _begun(self, lane: str, call: Callable[[], Message]) -> Message:
        """Begin in a thread, with a turn that is given back when it is done or takes long."""
        turn = _Turn(self._turns)
        loop = asyncio.get_running_loop()
        try:
            composed = loop.run_in_executor(self._pool, call)
        except BaseException:
            turn.give_back()
            raise
        self._hanging[lane] = composed
        alarm = loop.call_later(_PATIENCE, turn.give_back)

        def done(future: "asyncio.Future[Message]") -> None:
            alarm.cancel()
            turn.give_back()
            if self._hanging.get(lane) is future:
                del self._hanging[lane]
            if not future.cancelled():
                future.exception()  # nobody may be left who waits for it

        composed.add_done_callback(done)
        return await asyncio.shield(composed)  # it cannot be taken back: its thread goes on


def _made(composer: Composer, delivery: Delivery, now: Instant) -> Message:
    """The message. What an event loop does not take for an error, but for its own end, is one here."""
    try:
        return composer(delivery, now)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise RuntimeError(type(error).__name__) from error


class _Turn:
    """One of those who compose at a time, until it is given back."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns: asyncio.Semaphore | None = turns

    def give_back(self) -> None:
        """Let another one begin."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.release()
