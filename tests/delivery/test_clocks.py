"""Workers on machines whose clocks differ: a lease is judged by the clock of the database's server (docs/threats.md 52)."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from idp.delivery.rules import NewDelivery
from idp.delivery.service import DeliveryService
from idp.runtime.database import Database
from tests.delivery.receivers import Receiver, eventually
from tests.delivery.skewed import TIMEOUT

Receivers = Callable[[], Receiver]
#: More than a lease lasts.
AHEAD = 10 * TIMEOUT


@contextmanager
def working(url: str, ahead: float, lanes: int) -> Iterator[None]:
    """A worker in a process of its own."""
    with subprocess.Popen([sys.executable, "-m", "tests.delivery.skewed", url, str(ahead), str(lanes)], stdin=subprocess.PIPE):
        yield


@pytest.fixture
def machines(database: Database) -> Iterator[Database]:
    """The database, as a machine sees it whose clock is right."""
    ours = Database(database.engine.url.render_as_string(hide_password=False))
    yield ours
    ours.dispose()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("ahead", [AHEAD, -AHEAD])
def test_a_worker_whose_clock_is_wrong_takes_no_lane_that_another_holds(
    machines: Database, receiver: Receivers, ahead: float
) -> None:
    held, quick, service = receiver(), receiver(), DeliveryService(machines)
    held.hold()

    def send(client_id: str, uri: str) -> None:
        with machines.writing() as tx:
            new = NewDelivery("test", client_id, "s1", client_id, uri, {"jti": client_id}, tx.now + 86_400)
            service.enqueue(tx, [new])
            tx.connection.exec_driver_sql("UPDATE deliveries SET next_attempt_at = 0 WHERE attempts = 0")

    with working(machines.url, 0, lanes=1):
        send("held", held.url())
        eventually(lambda: held.requests, "the first worker's only place is taken")
        with working(machines.url, ahead, lanes=16):
            for number in range(3):  # the other one does this
                send(f"quick-{number}", quick.url())
                eventually(lambda: len(quick.requests) == number + 1)  # noqa: B023 - it is asked at once
            held.release()
            eventually(lambda: all(one.delivered_at is not None for one in every(machines, service)))
    assert (len(held.requests), len(quick.requests)) == (1, 3)


def every(database: Database, service: DeliveryService):
    with database.reading() as tx:
        return service.listed(tx)


def test_a_clock_that_is_handed_in_counts_and_the_machines_own_is_not_corrected(database: Database, machines: Database) -> None:
    with database.reading() as moved, machines.reading() as own:
        assert abs(moved.now - moved.shift - time.time()) < AHEAD
        assert own.shift == 0.0
