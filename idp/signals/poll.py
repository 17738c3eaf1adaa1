"""`POST /ssf/poll/{stream_id}` (RFC 8936), the long poll: followers wait in the event loop and hold nothing else.

What an answer proves: every event that was committed before the request came and was not acknowledged is in it, or
`moreAvailable` is true. So even an empty one rests on a look at the log that began later than the request came; where the
database does not answer, there is none, and the answer is 503.
"""

import asyncio
import json
import threading
import time
from contextlib import suppress
from typing import TypeVar

from idp.runtime import audit
from idp.runtime.availability import is_told
from idp.runtime.figures import Gauge
from idp.runtime.inbound.long_poll import Answer, Desk, UndoneError, WaitingRequest
from idp.runtime.pool import Pool
from idp.runtime.web.headers import HSTS, NO_STORE, STRICT
from idp.signals import requests, rules
from idp.signals.poll_service import Collected, PollRefusal, PollRequest, PollService, busy
from idp.signals.requests import MalformedError, PollBody
from idp.signals.rules import Stream
from idp.signals.sequencer import Sequencer

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

PATH = "/ssf/poll/"
#: With events at hand, a look that does not come is not waited for any longer: `moreAvailable` is true then.
_LOOK_SECONDS = 0.5
#: A look that does not come at all: the database does not answer.
_LOST_SECONDS = 5.0

_FOLLOWERS = Gauge("idp_signals_followers", "Polls that wait for events", multiprocess_mode="livesum")


class _Waiter:
    """A follower that waits. `is_sure`: a look began after it came. It is woken by a look, or when it has left."""

    def __init__(self, came: float, gone: asyncio.Future[None]) -> None:
        self.came = came
        self.gone = gone
        self.is_sure = False
        self._future: asyncio.Future[None] | None = None
        gone.add_done_callback(lambda _: self.wake())

    def wake(self) -> None:
        """Have it look around."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, or for so long. Raises PollRefusal when it has left."""
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        alarm = loop.call_later(seconds, self.wake)
        try:
            if not self.gone.done():
                await self._future
        finally:
            alarm.cancel()
            self._future = None
        if self.gone.done():
            raise PollRefusal(408, "invalid_request", "The follower has left.")


class PollLane:
    """One process's followers. At most `most` wait at once, each for `longest_wait` seconds at the most."""

    def __init__(
        self,
        answers: PollService,
        hub: Sequencer,
        *,
        issuer_path: str,
        secure: bool,
        most: int,
        longest_wait: float,
    ) -> None:
        self._hub = hub
        self._prefix = issuer_path + PATH
        self._headers = [*STRICT.items(), *NO_STORE.items(), *([HSTS] if secure else [])]
        self._most = most
        self._longest_wait = longest_wait
        # One thread: what followers need of the database is small, and a second one would only fight for the same core.
        self._pool = Pool(1, "idp-followers")
        self._admissions: Desk[PollRequest, Stream | PollRefusal] = Desk(self._pool, answers.admit)
        self._collections: Desk[tuple[str, int], Collected | PollRefusal] = Desk(self._pool, answers.collect)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[_Waiter] = set()
        self._unsure: set[_Waiter] = set()
        self._told = 0
        self._telling = threading.Lock()
        self._is_told = False
        hub.when_looked(self._tell)

    @property
    def pool(self) -> Pool:
        """The thread in which the database is asked, for whoever looks whether it still works."""
        return self._pool

    def serves(self, path: str) -> bool:
        """Whether it is a poll."""
        return path.startswith(self._prefix)

    async def answer(self, request: WaitingRequest) -> Answer:
        """Answer a poll when there is something to say, or when its time is over."""
        came = time.monotonic()
        self._loop = asyncio.get_running_loop()
        try:
            if self._hub.followers >= self._most:
                raise busy("Too many followers wait here.")
            asked = self._read(request)
            self._follow(1)
            try:
                found = await self._found(asked, came, request)
            finally:
                self._follow(-1)
        except PollRefusal as refusal:
            return self._refused(refusal)
        return self._json(200, {"sets": found.sets, "moreAvailable": found.more})

    def _follow(self, change: int) -> None:
        self._hub.followers += change
        _FOLLOWERS.inc(change)
        if self._hub.followers == 1:
            self._hub.wake()  # it looks more often now

    def _read(self, request: WaitingRequest) -> PollRequest:
        stream_id = request.path.removeprefix(self._prefix)
        if request.method != "POST":
            raise PollRefusal(405, "invalid_request", "A poll is a POST.", (("Allow", "POST"),))
        if not rules.is_name(stream_id):
            raise PollRefusal(404, "access_denied", "This client has no such stream.")
        try:
            sent = requests.body(request.body) if request.body else {}
            poll = requests.poll(sent, request.headers.get("prefer", ""), self._longest_wait)
        except MalformedError as error:
            raise PollRefusal(400, "invalid_request", str(error)) from None
        return PollRequest(stream_id, request.headers.get("authorization", ""), poll)

    async def _found(self, asked: PollRequest, came: float, request: WaitingRequest) -> Collected:
        stream = await _of(self._admissions, asked)
        if asked.poll.most == 0:
            return Collected({}, more=True)
        is_owed, is_sure = await self._until_there_is_news(stream, asked.poll, came, request)
        if not is_owed:
            if is_sure:
                return Collected({}, more=False)
            raise busy("The log cannot be read just now.")
        found = await _of(self._collections, (asked.stream_id, asked.poll.most))
        return found if is_sure else Collected(found.sets, more=True)

    async def _until_there_is_news(
        self, stream: Stream, poll: PollBody, came: float, request: WaitingRequest
    ) -> tuple[bool, bool]:
        """Wait until the stream is owed something, and it is known that this is all; at most as long as the poll allows.

        Whether it is owed something, and whether that is known of all that was there when it came.
        """
        waiter = _Waiter(came, asyncio.ensure_future(request.gone()))
        self._waiters.add(waiter)
        self._unsure.add(waiter)  # before the look is asked for: the next one is heard of if this one is too old
        try:
            while True:
                # In this order: the hub remembers first and says then that it has looked, and may do both between these lines.
                if self._hub.look.as_of >= came:
                    waiter.is_sure = True
                    self._unsure.discard(waiter)
                remembered = self._hub.remembered(stream, 1)
                is_owed = remembered is None or bool(remembered[0])
                waited = time.monotonic() - came
                limit = poll.wait if waiter.is_sure else _LOOK_SECONDS if is_owed else max(poll.wait, _LOST_SECONDS)
                if (is_owed and waiter.is_sure) or waited >= limit:
                    return is_owed, waiter.is_sure
                if not waiter.is_sure and (is_owed or poll.wait == 0):
                    self._hub.wake()
                await waiter.wait(limit - waited)
        finally:
            self._waiters.discard(waiter)
            self._unsure.discard(waiter)
            waiter.gone.cancel()

    # -- the hub's news -------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """The hub has looked. Called in its thread; a loop that has not heard of the last look yet is not told twice.

        Nor is it told of a look that changes nothing for anybody, as most of them: it would wake up for it all the time.
        """
        if not self._unsure and self._hub.look.last == self._told:
            return
        with self._telling:
            if self._loop is None or self._is_told or not self._waiters:
                return
            self._is_told = True
        with suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        """Wake those for whom the look may change something: most looks find nothing, and most followers know that."""
        with self._telling:
            self._is_told = False
        look, is_new = self._hub.look, self._hub.look.last != self._told
        self._told = look.last
        for waiter in self._waiters if is_new else self._unsure:
            waiter.wake()

    # -- answers --------------------------------------------------------------------------------------------------

    def _refused(self, refusal: PollRefusal) -> Answer:
        status, headers, content = self._json(refusal.status, {"err": refusal.err, "description": refusal.description})
        return status, [*headers, *refusal.headers], content

    def _json(self, status: int, body: object) -> Answer:
        content = json.dumps(body, separators=(",", ":")).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(content)))]
        return status, [*headers, *self._headers], content


async def _of(desk: Desk[_Item, _Found | PollRefusal], item: _Item) -> _Found:
    """What the desk finds. Whatever failed there, the follower hears of it as a time to come again."""
    try:
        found = await desk.ask(item)
    except UndoneError as error:  # the database, most of the time; its text may hold more than is good
        if not is_told(error.cause):
            audit.warn("signals.poll_failed", error=type(error.cause).__name__)
        raise busy("The log cannot be read just now.") from None
    if isinstance(found, PollRefusal):
        raise found
    return found
