"""A transmitter, and verifiers that are closed at the end."""

import time
from collections.abc import Callable, Iterator

import pytest

from idp.verifier import Poll, Verifier
from tests.verifier.clocks import Clock
from tests.verifier.signing import AUDIENCE, CLIENT
from tests.verifier.transmitter import Transmitter

Make = Callable[..., Verifier]


@pytest.fixture
def transmitter() -> Iterator[Transmitter]:
    made = Transmitter()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier_of(clock: Clock) -> Iterator[Make]:
    """Makes verifiers of an issuer, started and fresh unless asked otherwise."""
    made: list[Verifier] = []

    def make(issuer: str, *, fresh: bool = True, **choices: object) -> Verifier:
        follow = choices.pop("follow", Poll(CLIENT, "secret"))
        whole = {"follow": follow, "max_staleness": 30.0, "clock": clock} | choices
        made.append(Verifier(issuer, whole.pop("audience", AUDIENCE), **whole))
        made[-1].start()
        assert not fresh or made[-1].wait(10), made[-1].state
        return made[-1]

    yield make
    for each in made:
        each.close()


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.002)
