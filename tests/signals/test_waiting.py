"""The lane in which followers wait: what an answer rests on, and that who leaves is not waited for."""

import asyncio
import json
import time
from dataclasses import dataclass, field

from idp.runtime.inbound.long_poll import Answer, WaitingRequest
from idp.signals.poll import PollLane
from idp.signals.poll_service import Collected, PollRefusal
from idp.signals.sequencer import Look
from tests.signals.test_rules import signal, stream
from tests.support.pace import slowness


@dataclass
class Log:
    """Stands for the hub: the test says when it looks, and what it finds."""

    look: Look = field(default_factory=lambda: Look(float("-inf"), 0))
    followers: int = 0
    owed: list = field(default_factory=list)
    listeners: list = field(default_factory=list)
    wakes: int = 0

    def wake(self) -> None:
        self.wakes += 1

    def when_looked(self, listener) -> None:
        self.listeners.append(listener)

    def remembered(self, _stream, most: int):
        return self.owed[:most], len(self.owed) > most

    def looks(self, *, as_of: float | None = None) -> None:
        self.look = Look(time.monotonic() if as_of is None else as_of, len(self.owed))
        for listener in self.listeners:
            listener()


@dataclass
class Office:
    """Stands for the database's side."""

    log: Log
    fails: bool = False

    def admit(self, batch):
        if self.fails:
            raise RuntimeError("the database is away")
        return [stream() for _ in batch]

    def collect(self, batch):
        return [
            Collected({one.signal_id: "a.b.c" for one in self.log.owed[:most]}, len(self.log.owed) > most) for _, most in batch
        ]


async def never() -> None:
    await asyncio.Event().wait()


def request(*, gone=never, wait: float = 0.2, **body: object) -> WaitingRequest:
    headers = {"authorization": "Bearer x", "prefer": f"wait={wait:g}"}
    return WaitingRequest("POST", "/ssf/poll/one", headers, json.dumps(body).encode(), gone)


def lane(log: Log, *, fails: bool = False) -> PollLane:
    return PollLane(Office(log, fails), log, issuer_path="", secure=True, most=2, longest_wait=30)  # type: ignore[arg-type]


async def answer_of(waiting: PollLane, asked: WaitingRequest, *steps) -> Answer:
    """The answer, while steps of (after seconds, do) happen beside it."""
    task = asyncio.ensure_future(waiting.answer(asked))
    for after, do in steps:
        await asyncio.sleep(after)
        do()
    return await task


def test_without_a_look_there_is_no_answer_that_says_nothing_happened(monkeypatch) -> None:
    monkeypatch.setattr("idp.signals.poll._LOST_SECONDS", 0.3)
    log = Log()
    status, headers, content = asyncio.run(answer_of(lane(log), request(wait=0)))
    assert status == 503
    assert dict(headers)["Retry-After"]
    assert json.loads(content)["err"] == "temporarily_unavailable"
    assert log.wakes > 0


def test_a_look_that_began_before_the_request_came_proves_nothing(monkeypatch) -> None:
    monkeypatch.setattr("idp.signals.poll._LOST_SECONDS", 0.3)
    log = Log()
    old = time.monotonic()
    status, _, _ = asyncio.run(answer_of(lane(log), request(wait=0), (0.05, lambda: log.looks(as_of=old))))
    assert status == 503


def test_one_look_that_began_later_is_enough(monkeypatch) -> None:
    log = Log()
    status, _, content = asyncio.run(answer_of(lane(log), request(wait=0), (0.05, log.looks)))
    assert (status, json.loads(content)) == (200, {"sets": {}, "moreAvailable": False})


def test_events_without_a_fresh_look_are_given_and_more_is_promised(monkeypatch) -> None:
    monkeypatch.setattr("idp.signals.poll._LOOK_SECONDS", 0.1)
    log = Log(owed=[signal(1)])
    status, _, content = asyncio.run(answer_of(lane(log), request(wait=5)))
    assert (status, json.loads(content)) == (200, {"sets": {"j1": "a.b.c"}, "moreAvailable": True})


def test_what_a_look_brings_while_a_follower_looks_around_is_not_passed_over(monkeypatch) -> None:
    log = Log()
    remembered = log.remembered

    def preempted(stream, most: int):
        found = remembered(stream, most)
        if (
            not log.owed
        ):  # the hub's thread has its turn just here: an event from before the request, and a look that began later
            log.owed.append(signal(1))
            log.looks()
        return found

    monkeypatch.setattr(log, "remembered", preempted)
    status, _, content = asyncio.run(answer_of(lane(log), request(wait=0)))
    assert (status, json.loads(content)["sets"]) == (200, {"j1": "a.b.c"})


def test_a_look_that_changes_nothing_for_anybody_wakes_nobody(monkeypatch) -> None:
    log = Log()
    waiting = lane(log)
    woken: list[int] = []
    wake = waiting._wake
    monkeypatch.setattr(waiting, "_wake", lambda: (woken.append(1), wake()))
    looks = [(0.02, log.looks)] * 10
    status, _, _ = asyncio.run(answer_of(waiting, request(wait=1), *looks))
    assert (status, len(woken)) == (200, 1)


def test_who_waits_is_answered_when_something_is_there(monkeypatch) -> None:
    log = Log()

    def happens() -> None:
        log.owed.append(signal(1))
        log.looks()

    began = time.monotonic()
    status, _, content = asyncio.run(answer_of(lane(log), request(wait=20), (0.05, log.looks), (0.05, happens)))
    assert (status, json.loads(content)) == (200, {"sets": {"j1": "a.b.c"}, "moreAvailable": False})
    assert time.monotonic() - began < 5 * slowness()
    assert log.followers == 0


def test_who_leaves_gives_up_the_place(monkeypatch) -> None:
    log = Log()
    left = asyncio.Event()

    async def gone() -> None:
        await left.wait()

    status, _, _ = asyncio.run(answer_of(lane(log), request(gone=gone, wait=20), (0.05, left.set)))
    assert status == 408
    assert log.followers == 0


def test_a_database_that_is_away_is_a_time_to_come_again(monkeypatch) -> None:
    status, headers, _ = asyncio.run(answer_of(lane(Log(), fails=True), request()))
    assert (status, dict(headers)["Retry-After"]) == (503, "1")
    assert dict(headers)["Strict-Transport-Security"]


def test_a_place_too_many_is_refused() -> None:
    log = Log(followers=2)
    status, _, _ = asyncio.run(answer_of(lane(log), request()))
    assert status == 503
    assert log.followers == 2


def test_a_refusal_is_handed_on() -> None:
    refusing = lane(Log())
    refusing._admissions._work = lambda batch: [PollRefusal(403, "access_denied", "no") for _ in batch]  # type: ignore[assignment]
    status, _, content = asyncio.run(answer_of(refusing, request()))
    assert (status, json.loads(content)["err"]) == (403, "access_denied")
