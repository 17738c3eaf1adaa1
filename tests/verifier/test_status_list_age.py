"""How old a list gets before the next one is there: simulated second by second, with the provider's looks and whole seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate

import pytest

from idp.verifier.claims import Expected
from idp.verifier.core import Core
from idp.verifier.lists import ListFetcher, StatusLists
from idp.verifier.provider import ProviderMetadata
from idp.verifier.status_list import FetchedStatusList
from idp.verifier.wire import Answer, Flow, Pause, Request

ISSUER = "http://localhost:8000"
URI = f"{ISSUER}/status/0"
TTL = 15
EPOCH = 1_800_000_000.0
#: A request takes so long, in seconds; half of it each way.
REQUEST = 0.05
LONG = 900.0


@dataclass
class Time:
    """The one clock of the simulation."""

    now: float

    def wall(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.now


@dataclass
class Served:
    """A provider that looks anew when it is asked and its last look is a `ttl` old. What it serves needs no key here."""

    time: Time
    looked_at: float

    def answer(self) -> Answer:
        if self.time.now >= self.looked_at + TTL:
            self.looked_at = self.time.now
        return Answer(200, {"date": formatdate(int(self.time.now), usegmt=True)}, b"")

    def reading(self, _read: object, *, trusted: bool) -> Flow[FetchedStatusList]:
        """In the place of `KeyFetcher`: the list that was just answered."""
        assert trusted
        yield from ()
        return FetchedStatusList(2, b"\0", float(int(self.looked_at)), None, float(TTL))


def ages(max_staleness: float, offset: float) -> Iterator[tuple[float, float]]:
    """At every moment of a quarter of an hour: how old the list is taken for, and how old it is."""
    time = Time(EPOCH + offset)
    provider = Served(time, EPOCH)
    lists = StatusLists(max_staleness)
    core = Core(Expected(ISSUER, frozenset({"api"}), "at+jwt", 0.0, 16384), time, lists)
    fetcher = ListFetcher(core, ProviderMetadata(ISSUER), provider, lists)  # type: ignore[arg-type]

    def walk(flow: Flow[None], until: float) -> Iterator[None]:
        answer: Answer | None = None
        while time.now < until:
            try:
                step = flow.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Request):
                time.now += REQUEST / 2
                answer = provider.answer()
                time.now += REQUEST / 2
                yield
            elif isinstance(step, Pause):
                end = time.now + step.seconds
                while time.now < end:
                    time.now = min(end, time.now + 0.1)
                    yield

    for _ in walk(fetcher.find_list(URI), EPOCH + LONG):
        pass
    for _ in walk(fetcher.follow(), EPOCH + offset + LONG):
        for kept in lists.kept.values():
            kept.used_at = time.now  # tokens of it are seen all the time
        yield lists.age(time.now), time.now - provider.looked_at


@pytest.mark.parametrize("offset", [0.01, 0.5, 3.99, 7.3, 14.95])
@pytest.mark.parametrize("margin", [3.0, 5.0, 20.0])
def test_no_list_is_stale_where_the_bound_is_as_far_above_the_ttl_as_is_written(margin: float, offset: float) -> None:
    taken_for, truly = zip(*ages(TTL + margin, offset), strict=True)
    assert max(taken_for) <= TTL + margin
    assert max(truly) > TTL - 1, "the provider kept each list for as long as it may"
