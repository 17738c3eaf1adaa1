"""A fresh outbox on each database, a clock that is moved by hand, and workers that are stopped at the end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from idp.delivery.models import DeliveryRow, LaneRow, PartyRow
from idp.delivery.rules import Composer, Delivery, Message, NewDelivery
from idp.delivery.service import DeliveryService
from idp.delivery.worker import Worker
from idp.runtime.database import Base, Database, table_of
from idp.runtime.outbound.client import Outbound
from tests.delivery.receivers import Receiver, eventually, receiving
from tests.support.databases import DIALECTS, fresh

EPOCH = 1_800_000_000.0
LIFETIME = 86_400.0
NEVER = 3600.0


@dataclass
class Clock:
    now: float = EPOCH

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Database]:
    database = Database(fresh(request, tmp_path), clock)
    Base.metadata.create_all(database.engine, [table_of(row) for row in (DeliveryRow, LaneRow, PartyRow)])
    yield database
    database.dispose()


@pytest.fixture(autouse=True)
def events() -> Iterator[list[EventDict]]:
    """What the audit records."""
    with capture_logs() as logs:
        yield logs


@pytest.fixture
def receiver() -> Iterator[Callable[[], Receiver]]:
    with receiving() as make:
        yield make


def compose(delivery: Delivery, now: float) -> Message:
    return Message(f"jti={delivery.payload['jti']}&at={now:.0f}".encode(), "application/x-www-form-urlencoded")


@dataclass
class Office:
    """One process's service and worker, with what a test needs to look at them."""

    database: Database
    clock: Clock
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service = DeliveryService(self.database)

    def open(
        self,
        *,
        composer: Composer = compose,
        concurrency: int = 16,
        poll_seconds: float = NEVER,
        lease: float | None = None,
        timeout: float = 5,
        service: DeliveryService | None = None,
        queue_limit: int = 1_000_000,
    ) -> Worker:
        """Start a worker. Its poll is so rare that only being woken explains a delivery."""
        worker = Worker(
            self.database,
            service or self.service,
            Outbound(allow_loopback=True, timeout=timeout),
            {"test": composer},
            concurrency=concurrency,
            poll_seconds=poll_seconds,
            lease=lease,
            queue_limit=queue_limit,
            jitter=lambda: 0.5,
        )
        self.workers.append(worker)
        worker.start()
        return worker

    def send(
        self,
        uri: str,
        *,
        client_id: str = "app",
        sid: str | None = "s1",
        once: str | None = None,
        lifetime: float = LIFETIME,
    ) -> None:
        new = NewDelivery("test", client_id, sid, once or sid, uri, {"jti": f"{client_id}-{sid}"}, self.clock() + lifetime)
        with self.database.writing() as tx:
            self.service.enqueue(tx, [new])

    def all(self) -> list[Delivery]:
        with self.database.reading() as tx:
            return self.service.listed(tx, limit=100_000)

    def only(self) -> Delivery:
        (one,) = self.all()
        return one

    def state(self) -> str:
        return self.only().state(self.clock()).value

    def until(self, condition: Callable[[Delivery], object]) -> Delivery:
        """Wait until the one delivery there is fulfils `condition`."""
        eventually(lambda: condition(self.only()), "what the delivery should become")
        return self.only()

    def move_to_next_attempt(self) -> None:
        """Move the clock to the moment at which the delivery is due again, and have the workers look."""
        self.clock.now = self.only().next_attempt_at
        self.service.wake()


@pytest.fixture
def office(database: Database, clock: Clock) -> Iterator[Office]:
    office = Office(database, clock)
    yield office
    stopped = [worker.stop(20) for worker in office.workers]
    assert all(stopped)
